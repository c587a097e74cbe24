// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/holder_index.h"

#include <sys/stat.h>

#include <cerrno>

#include "fairlead/sys/files.h"

namespace fairlead::agent {
namespace {

constexpr std::string_view kWhole = ".whole";
constexpr std::string_view kShared = ".shared";

bool take_suffix(std::string_view& name, std::string_view suffix) {
  if (!name.ends_with(suffix)) {
    return false;
  }
  name.remove_suffix(suffix.size());
  return true;
}

}  // namespace

std::string HolderEntry::file() const {
  return nic + "_" + driver + "_" + uid + std::string(whole ? kWhole : kShared);
}

std::optional<HolderEntry> HolderEntry::parse(std::string_view name) {
  HolderEntry entry;
  entry.is_intent = take_suffix(name, kIntentSuffix);
  entry.whole = take_suffix(name, kWhole);
  const bool is_known = entry.whole || take_suffix(name, kShared);
  // None of the three parts can have a "_": DNS labels, a DNS subdomain, a uid.
  const auto first = name.find('_');
  const auto second = first == std::string_view::npos ? first : name.find('_', first + 1);
  if (!is_known || name.starts_with(".") || second == std::string_view::npos) {
    return std::nullopt;
  }
  entry.nic = name.substr(0, first);
  entry.driver = name.substr(first + 1, second - first - 1);
  entry.uid = name.substr(second + 1);
  return entry;
}

HolderIndex::HolderIndex(std::string folder, std::string own_driver)
    : folder_(std::move(folder)), own_driver_(std::move(own_driver)) {}

// ---- questions ----

Result<HolderIndex::Entries> HolderIndex::intents() {
  const Lock lock(mutex_);
  FL_TRY(refresh());
  return Entries(intents_.begin(), intents_.end());
}

Result<HolderIndex::Entries> HolderIndex::own_of(const std::string& claim_uid) {
  const Lock lock(mutex_);
  FL_TRY(refresh());
  const auto found = own_.find(claim_uid);
  return found == own_.end() ? Entries() : Entries(found->second.begin(), found->second.end());
}

Result<HolderIndex::Entries> HolderIndex::own() {
  const Lock lock(mutex_);
  FL_TRY(refresh());
  Entries entries;
  for (const auto& [uid, of_claim] : own_) {
    entries.insert(entries.end(), of_claim.begin(), of_claim.end());
  }
  return entries;
}

Result<HolderIndex::Entries> HolderIndex::others_against(const std::string& nic, bool whole) {
  const Lock lock(mutex_);
  FL_TRY(refresh());
  Entries entries;
  for (auto use = others_.lower_bound({.nic = nic, .driver = {}}); use != others_.end(); ++use) {
    const auto& [key, uids] = *use;
    if (key.nic != nic) {
      break;
    }
    if (!whole && !key.whole) {
      continue;
    }
    for (const std::string& uid : uids) {
      entries.push_back({.nic = key.nic, .driver = key.driver, .uid = uid, .whole = key.whole});
    }
  }
  return entries;
}

Result<HolderIndex::Entries> HolderIndex::first_others() {
  const Lock lock(mutex_);
  FL_TRY(refresh());
  Entries entries;
  for (const auto& [key, uids] : others_) {
    entries.push_back({.nic = key.nic, .driver = key.driver, .uid = *uids.begin(), .whole = key.whole});
  }
  return entries;
}

std::optional<HolderEntry> HolderIndex::next_other(const HolderEntry& entry) const {
  const Lock lock(mutex_);
  const auto use = others_.find({.nic = entry.nic, .driver = entry.driver, .whole = entry.whole});
  if (use == others_.end()) {
    return std::nullopt;
  }
  const auto next = use->second.upper_bound(entry.uid);
  if (next == use->second.end()) {
    return std::nullopt;
  }
  HolderEntry other = entry;
  other.uid = *next;
  return other;
}

std::uint64_t HolderIndex::listings() const {
  const Lock lock(mutex_);
  return listings_;
}

// ---- what is on disk ----

/// nullopt: it does not exist, or cannot be reached.
std::optional<HolderIndex::FolderId> HolderIndex::folder_id() const {
  struct stat info = {};
  if (::stat(folder_.c_str(), &info) != 0) {
    return std::nullopt;
  }
  return FolderId(info.st_dev, info.st_ino);
}

Result<> HolderIndex::refresh() {
  // A folder above it may have been replaced, or a mount hides it: no event says so.
  if (!watch_ || folder_id() != watched_) {
    return list_folder();
  }
  const sys::FolderWatch::Changes changes = watch_->take();
  if (changes.all) {
    return list_folder();
  }
  for (const std::string& name : changes.names) {
    if (!look_at(name)) {
      return list_folder();
    }
  }
  return {};
}

Result<> HolderIndex::list_folder() {
  watch_.reset();
  ++listings_;
  const auto before = folder_id();
  auto watch = sys::FolderWatch::open(folder_);  // before the list, so that no change is missed
  FL_ASSIGN(const auto names, sys::list_dir(folder_));
  intents_.clear();
  own_.clear();
  others_.clear();
  for (const std::string& name : names) {
    if (auto entry = HolderEntry::parse(name)) {
      add(*std::move(entry));
    }
  }
  // Both are of one folder only if none took its place meanwhile.
  if (watch && before && before == folder_id()) {
    watch_ = *std::move(watch);
    watched_ = before;
  }
  return {};
}

bool HolderIndex::look_at(const std::string& name) {
  auto entry = HolderEntry::parse(name);
  if (!entry) {
    return true;
  }
  struct stat info = {};
  if (::lstat((folder_ + "/" + name).c_str(), &info) == 0) {
    add(*std::move(entry));
    return true;
  }
  if (errno != ENOENT) {
    return false;
  }
  remove(*entry);
  return true;
}

void HolderIndex::add(HolderEntry entry) {
  if (entry.is_intent) {
    intents_.insert(entry);
  }
  if (entry.driver == own_driver_) {
    own_[entry.uid].insert(std::move(entry));
  } else if (!entry.is_intent) {
    others_[{.nic = entry.nic, .driver = entry.driver, .whole = entry.whole}].insert(entry.uid);
  }
}

void HolderIndex::remove(const HolderEntry& entry) {
  if (entry.is_intent) {
    intents_.erase(entry);
  }
  if (entry.driver == own_driver_) {
    const auto found = own_.find(entry.uid);
    if (found != own_.end() && found->second.erase(entry) != 0 && found->second.empty()) {
      own_.erase(found);
    }
  } else if (!entry.is_intent) {
    const auto found = others_.find({.nic = entry.nic, .driver = entry.driver, .whole = entry.whole});
    if (found != others_.end() && found->second.erase(entry.uid) != 0 && found->second.empty()) {
      others_.erase(found);
    }
  }
}

}  // namespace fairlead::agent
