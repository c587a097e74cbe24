// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/claims/claim_store.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "fairlead/formats/json_writer.h"
#include "fairlead/sys/files.h"

namespace fairlead::dra {
namespace {

constexpr std::string_view kSuffix = ".json";
constexpr const char* kFolder = "";  // the folder's key among the uids of unreadable files

/// The uid whose record has this file name; empty: it is not a record.
std::string uid_of(const std::string& name) {
  return !name.starts_with(".") && name.ends_with(kSuffix) ? name.substr(0, name.size() - kSuffix.size())
                                                           : std::string();
}

}  // namespace

Result<std::string> current_boot_id() {
  FL_ASSIGN(std::string id, sys::read_file("/proc/sys/kernel/random/boot_id"));
  id.erase(std::find_if(id.begin(), id.end(), [](char c) { return c == '\n'; }), id.end());
  return id;
}

ClaimStore::ClaimStore(Options options)
    : options_(std::move(options)),
      claims_dir_(options_.state_dir + "/claims"),
      locks_(options_.state_dir + "/lock"),
      quarantine_(options_.state_dir + "/quarantine", options_.on_quarantine) {}

Result<std::unique_ptr<ClaimStore>> ClaimStore::open(Options options) {
  if (options.boot_id.empty()) {
    FL_ASSIGN(options.boot_id, current_boot_id());
  }
  FL_TRY(sys::make_dirs(options.state_dir + "/claims", 0750));
  return std::unique_ptr<ClaimStore>(new ClaimStore(std::move(options)));
}

ClaimStore::RecordPtr ClaimStore::last_read(const std::string& uid) const {
  const Lock lock(mutex_);
  const auto found = cache_.find(uid);
  return found == cache_.end() ? nullptr : found->second.record;
}

Result<ClaimStore::View> ClaimStore::last_view(const Error& why) const {
  const Lock lock(mutex_);
  if (!listed_) {
    return why;
  }
  View view;
  for (const auto& [uid, entry] : cache_) {
    view.records.push_back(entry.record);
    view.unreadable.emplace(uid, why);
  }
  return view;
}

/// What another instance removed.
void ClaimStore::forget_all_but(const std::vector<std::string>& uids) const {
  const Lock lock(mutex_);
  listed_ = true;
  std::erase_if(cache_, [&](const auto& entry) { return !std::ranges::binary_search(uids, entry.first); });
  std::erase_if(unreadable_, [&](const std::string& uid) { return !std::ranges::binary_search(uids, uid); });
}

void ClaimStore::note_unreadable(const std::string& name, const Error& why) const {
  {
    const Lock lock(mutex_);
    if (!unreadable_.insert(name).second) {
      return;
    }
  }
  if (options_.on_unreadable) {
    options_.on_unreadable(name == kFolder ? claims_dir_ : file_of(name), why);
  }
}

void ClaimStore::note_readable(const std::string& name) const {
  const Lock lock(mutex_);
  unreadable_.erase(name);
}

Result<std::optional<ClaimStore::Cached>> ClaimStore::load(const std::string& uid) const {
  const std::string path = file_of(uid);
  struct stat info = {};
  if (::lstat(path.c_str(), &info) != 0) {
    const int e = errno;
    if (e != ENOENT) {
      return Error::from_errno(e, "stat " + path);
    }
    const Lock lock(mutex_);
    cache_.erase(uid);
    return std::optional<Cached>();
  }
  {
    const Lock lock(mutex_);
    const auto found = cache_.find(uid);
    if (found != cache_.end() && found->second.stamp == sys::FileStamp(info)) {
      return std::optional<Cached>(found->second);
    }
  }
  const auto text = sys::read_file_if_exists(path);
  if (!text && text.error().code() == Code::kOverflow) {
    quarantine_.put(uid, path, "", text.error());  // no program of ours writes such a record any more
    return std::optional<Cached>();
  }
  if (!text) {
    return text.error();
  }
  if (!*text) {
    return std::optional<Cached>();
  }
  auto decoded = decode_record(**text);
  if (decoded && decoded->record.claim.uid != uid) {
    decoded = Error(Code::kCorrupt, "the record is of claim " + decoded->record.claim.uid);
  }
  if (!decoded) {
    quarantine_.put(uid, path, **text, decoded.error());
    return std::optional<Cached>();
  }
  // If the file was replaced between stat and read, the newer content is kept under the older inode: the next
  // load sees another inode and reads again.
  Cached entry{.stamp = sys::FileStamp(info),
               .record = std::make_shared<const ClaimRecord>(std::move(decoded->record)),
               .boot_id = std::move(decoded->boot_id)};
  const Lock lock(mutex_);
  cache_[uid] = entry;
  if (::lstat(path.c_str(), &info) != 0) {  // removed since it was read: it will not be requested again
    cache_.erase(uid);
  }
  return std::optional<Cached>(std::move(entry));
}

Result<ClaimStore::RecordPtr> ClaimStore::read(const std::string& uid) const {
  FL_ASSIGN(auto entry, load(uid));
  return entry ? std::move(entry->record) : nullptr;
}

Result<ClaimStore::View> ClaimStore::read_all() const {
  const Lock lock(view_mutex_);
  if (const auto done = refresh(); !done) {
    return last_view(done.error());
  }
  return View{.records = history_.records(), .unreadable = unreadable_uids_};
}

Result<RecordChanges> ClaimStore::changes_since(std::uint64_t generation) const {
  const Lock lock(view_mutex_);
  if (const auto done = refresh(); !done) {
    FL_ASSIGN(auto last, last_view(done.error()));
    return RecordChanges{.generation = 0, .all = true, .changed = std::move(last.records), .removed = {}};
  }
  return history_.since(generation);
}

Result<> ClaimStore::refresh() const {
  const auto changes = watch_ ? watch_->take() : sys::FolderWatch::Changes{.all = true, .names = {}};
  if (changes.all) {
    return scan_folder();
  }
  std::set<std::string> uids;
  for (const auto& [uid, why] : unreadable_uids_) {
    uids.insert(uid);
  }
  for (const std::string& name : changes.names) {
    if (std::string uid = uid_of(name); !uid.empty()) {
      uids.insert(std::move(uid));
    }
  }
  for (const std::string& uid : uids) {
    refresh_record(uid);
  }
  return {};
}

Result<> ClaimStore::scan_folder() const {
  watch_.reset();
  auto watch = sys::FolderWatch::open(claims_dir_);  // before the list, so that no change is missed
  const auto names = sys::list_dir(claims_dir_);
  if (!names) {
    note_unreadable(kFolder, names.error());
    return names.error();
  }
  note_readable(kFolder);
  std::vector<std::string> uids;
  for (const std::string& name : *names) {
    if (std::string uid = uid_of(name); !uid.empty()) {
      uids.push_back(std::move(uid));
    }
  }
  std::ranges::sort(uids);
  forget_all_but(uids);
  history_.keep_only(uids);
  unreadable_uids_.clear();
  for (const std::string& uid : uids) {
    refresh_record(uid);
  }
  if (watch) {
    watch_ = *std::move(watch);
  }
  return {};
}

void ClaimStore::refresh_record(const std::string& uid) const {
  unreadable_uids_.erase(uid);
  auto entry = load(uid);
  RecordPtr record;
  if (!entry) {
    note_unreadable(uid, entry.error());
    unreadable_uids_.emplace(uid, entry.error());
    record = last_read(uid);
  } else {
    note_readable(uid);
    record = *entry ? std::move((*entry)->record) : nullptr;
  }
  if (record) {
    history_.put(std::move(record));
  } else {
    history_.remove(uid);
  }
}

/// A record is written several times with one plan, and finding this out costs as much as the rest of its text.
bool ClaimStore::plan_is_object(const ClaimRecord& record) const {
  {
    const Lock lock(mutex_);
    const auto last = cache_.find(record.claim.uid);
    if (last != cache_.end() && last->second.plan_is_object && last->second.record->plan == record.plan) {
      return *last->second.plan_is_object;
    }
  }
  return is_canonical_object(record.plan);
}

Result<> ClaimStore::write(const ClaimRecord& record) const {
  const bool is_object = plan_is_object(record);
  FL_ASSIGN(const std::string text, encode_record(record, options_.boot_id, is_object));
  FL_ASSIGN(const auto stamp,
            sys::replace_file_stamped(claims_dir_, record.claim.uid + std::string(kSuffix), text, 0600));
  quarantine_.forget(record.claim.uid);
  // Spares the next load() the reading. If another instance has replaced the file since, that sees another stamp.
  auto written = std::make_shared<const ClaimRecord>(record);
  const Lock lock(mutex_);
  cache_[record.claim.uid] = {
      .stamp = stamp, .record = std::move(written), .boot_id = options_.boot_id, .plan_is_object = is_object};
  return {};
}

Result<> ClaimStore::remove(const std::string& uid) const {
  FL_TRY(sys::remove_file(file_of(uid)));
  const Lock lock(mutex_);
  cache_.erase(uid);
  return {};
}

std::size_t ClaimStore::cached() const {
  const Lock lock(mutex_);
  return cache_.size();
}

Result<std::vector<ClaimRecord>> ClaimStore::drop_records_of_other_boots() const {
  FL_ASSIGN(const View view, read_all());
  std::vector<ClaimRecord> dropped;
  for (const RecordPtr& record : view.records) {
    const auto entry = load(record->claim.uid);
    if (!entry || !*entry || (*entry)->boot_id == options_.boot_id) {
      continue;
    }
    if (const auto removed = remove(record->claim.uid); !removed) {
      note_unreadable(record->claim.uid, removed.error());
      continue;
    }
    dropped.push_back(*record);
  }
  return dropped;
}

}  // namespace fairlead::dra
