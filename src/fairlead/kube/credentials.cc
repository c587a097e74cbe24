// SPDX-License-Identifier: Apache-2.0
#include "fairlead/kube/credentials.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "fairlead/core/log.h"
#include "fairlead/sys/files.h"

namespace fairlead::kube {
namespace {

constexpr std::size_t kMaxPem = std::size_t{4} << 20;
constexpr std::size_t kMaxToken = std::size_t{64} << 10;

/// A token goes into a header line: a line break would let it write headers of its own.
Result<std::string> checked_token(std::string token, const std::string& origin) {
  while (!token.empty() && std::string_view(" \t\r\n").find(token.back()) != std::string_view::npos) {
    token.pop_back();
  }
  if (token.empty()) {
    return Error(Code::kInvalid, origin + " is empty");
  }
  if (std::ranges::any_of(token, [](char c) { return c <= ' ' || c == '\x7f'; })) {
    return Error(Code::kInvalid, origin + " holds white space or control characters");
  }
  return token;
}

}  // namespace

Credentials::Credentials(const ClientConfig& config, Clock& clock)
    : token_file_(config.token_file),
      clock_(clock),
      ca_{.source = config.ca, .stamp = {}},
      certificate_{.source = config.client_certificate, .stamp = {}},
      key_{.source = config.client_key, .stamp = {}},
      current_(std::make_shared<CredentialSet>(CredentialSet{.ca = config.ca.text,
                                                             .certificate = config.client_certificate.text,
                                                             .key = config.client_key.text,
                                                             .token = config.token})) {}

Result<std::unique_ptr<Credentials>> Credentials::open(const ClientConfig& config, Clock& clock) {
  std::unique_ptr<Credentials> credentials(new Credentials(config, clock));
  const Lock lock(credentials->mutex_);
  FL_TRY(credentials->load_all(), config.origin);
  return credentials;
}

Result<> Credentials::load_all() {
  CredentialSet set = *current_;
  const std::pair<Watched*, std::string*> files[] = {
      {&ca_, &set.ca}, {&certificate_, &set.certificate}, {&key_, &set.key}};
  for (const auto& [watched, text] : files) {
    FL_ASSIGN(auto fresh, reread(*watched));
    if (fresh) {
      *text = *std::move(fresh);
    }
  }
  if (!token_file_.empty()) {
    FL_ASSIGN(set.token, read_token());
    token_read_ = clock_.now();
  } else if (!set.token.empty()) {
    FL_ASSIGN(set.token, checked_token(std::move(set.token), "the token"));
  }
  current_ = std::make_shared<const CredentialSet>(std::move(set));
  return {};
}

std::shared_ptr<const CredentialSet> Credentials::get() {
  const Lock lock(mutex_);
  CredentialSet set = *current_;
  bool changed = false;
  const std::pair<Watched*, std::string*> files[] = {
      {&ca_, &set.ca}, {&certificate_, &set.certificate}, {&key_, &set.key}};
  for (const auto& [watched, text] : files) {
    auto fresh = reread(*watched);
    if (!fresh) {
      log::debug("credential file cannot be read, the last content stays in use",
                 {{"error", fresh.error().what()}});
    } else if (*fresh && **fresh != *text) {
      *text = **std::move(fresh);
      changed = true;
    }
  }
  if (!token_file_.empty() && clock_.now() - token_read_ >= kTokenAge) {
    auto token = read_token();
    token_read_ = clock_.now();
    if (!token) {
      log::debug("token file cannot be read, the last token stays in use", {{"error", token.error().what()}});
    } else if (*token != set.token) {
      set.token = *std::move(token);
      changed = true;
    }
  }
  if (changed) {
    current_ = std::make_shared<const CredentialSet>(std::move(set));
  }
  return current_;
}

bool Credentials::refresh_token(const CredentialSet& used) {
  if (token_file_.empty()) {
    return false;
  }
  const Lock lock(mutex_);
  if (current_->token != used.token) {
    return true;  // another request was refused too, and has read it
  }
  auto token = read_token();
  if (!token || *token == used.token) {
    return false;
  }
  CredentialSet set = *current_;
  set.token = *std::move(token);
  token_read_ = clock_.now();
  current_ = std::make_shared<const CredentialSet>(std::move(set));
  return true;
}

std::optional<Credentials::Stamp> Credentials::stamp_of(const std::string& path) {
  struct stat info{};
  // Follows links: the kubelet swaps projected files by a symbolic link of their folder.
  if (::stat(path.c_str(), &info) != 0) {
    return std::nullopt;
  }
  return Stamp{.device = info.st_dev,
               .inode = info.st_ino,
               .size = info.st_size,
               .mtime_ns = std::int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec};
}

Result<std::optional<std::string>> Credentials::reread(Watched& watched) {
  const std::string& path = watched.source.path;
  if (path.empty()) {
    return std::optional<std::string>();
  }
  const auto stamp = stamp_of(path);
  if (stamp && stamp == watched.stamp) {
    return std::optional<std::string>();
  }
  FL_ASSIGN(std::string text, sys::read_file(path, kMaxPem));
  if (text.find("-----BEGIN ") == std::string::npos) {
    return Error(Code::kInvalid, path + " holds no PEM block (-----BEGIN ...)");
  }
  watched.stamp = stamp;
  return std::optional(std::move(text));
}

Result<std::string> Credentials::read_token() const {
  FL_ASSIGN(std::string token, sys::read_file(token_file_, kMaxToken));
  return checked_token(std::move(token), "token file " + token_file_);
}

}  // namespace fairlead::kube
