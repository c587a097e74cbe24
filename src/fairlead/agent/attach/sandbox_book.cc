// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/attach/sandbox_book.h"

#include <algorithm>

namespace fairlead::agent {

namespace {

constexpr std::size_t kEndedLimit = 1024;

}  // namespace

void SandboxBook::remember(const std::string& sandbox, sys::NetnsId netns, const dra::Pod& pod) {
  const Lock lock(mutex_);
  // A namespace has one sandbox: an older entry is of one whose end was not reported.
  std::erase_if(sandboxes_, [&](const auto& entry) { return entry.second.netns == netns; });
  sandboxes_[sandbox] = {.netns = netns, .pod = pod};
  std::erase(ended_, sandbox);
}

void SandboxBook::forget_all() {
  const Lock lock(mutex_);
  sandboxes_.clear();
}

void SandboxBook::ended(const std::string& sandbox) {
  const Lock lock(mutex_);
  sandboxes_.erase(sandbox);
  if (std::ranges::find(ended_, sandbox) != ended_.end()) {
    return;
  }
  ended_.push_back(sandbox);
  if (ended_.size() > kEndedLimit) {
    ended_.pop_front();
  }
}

bool SandboxBook::has_ended(const std::string& sandbox) const {
  const Lock lock(mutex_);
  return std::ranges::find(ended_, sandbox) != ended_.end();
}

std::optional<SandboxBook::Entry> SandboxBook::find(const sys::NetnsId& netns) const {
  const Lock lock(mutex_);
  const auto found =
      std::ranges::find_if(sandboxes_, [&](const auto& entry) { return entry.second.netns == netns; });
  return found == sandboxes_.end() ? std::nullopt
                                   : std::optional(Entry{.sandbox = found->first, .pod = found->second.pod});
}

}  // namespace fairlead::agent
