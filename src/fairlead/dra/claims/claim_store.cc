// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/claims/claim_store.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>
#include <thread>
#include <utility>

#include <nlohmann/json.hpp>

#include "fairlead/core/hash.h"
#include "fairlead/sys/files.h"

namespace fairlead::dra {
namespace {

using nlohmann::json;

constexpr int kVersion = 1;
constexpr std::string_view kSuffix = ".json";
constexpr const char* kFolder = "";  // the folder's key among the uids of unreadable files

// ---- text of a record ----

json edits_to_json(const cdi::ContainerEdits& edits) {
  json out = json::object();
  out["env"] = edits.env;
  out["additionalGids"] = edits.additional_gids;
  for (const auto& node : edits.device_nodes) {
    json item{{"path", node.path},
              {"hostPath", node.host_path},
              {"type", node.type},
              {"permissions", node.permissions}};
    const auto put = [&item](const char* key, const auto& value) {
      if (value) {
        item[key] = *value;
      }
    };
    put("major", node.major);
    put("minor", node.minor);
    put("fileMode", node.file_mode);
    put("uid", node.uid);
    put("gid", node.gid);
    out["deviceNodes"].push_back(std::move(item));
  }
  for (const auto& device : edits.net_devices) {
    out["netDevices"].push_back({{"hostInterfaceName", device.host_interface_name}, {"name", device.name}});
  }
  for (const auto& hook : edits.hooks) {
    json item{{"hookName", hook.hook_name}, {"path", hook.path}, {"args", hook.args}, {"env", hook.env}};
    if (hook.timeout_seconds) {
      item["timeout"] = *hook.timeout_seconds;
    }
    out["hooks"].push_back(std::move(item));
  }
  for (const auto& mount : edits.mounts) {
    out["mounts"].push_back({{"hostPath", mount.host_path},
                             {"containerPath", mount.container_path},
                             {"options", mount.options},
                             {"type", mount.type}});
  }
  return out;
}

template <class T>
std::optional<T> optional_of(const json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() ? std::optional<T>() : std::optional<T>(found->get<T>());
}

json array_of(const json& object, const char* key) { return object.value(key, json::array()); }

cdi::ContainerEdits edits_from_json(const json& in) {
  cdi::ContainerEdits edits;
  edits.env = in.at("env").get<std::vector<std::string>>();
  edits.additional_gids = in.at("additionalGids").get<std::vector<std::uint32_t>>();
  for (const json& item : array_of(in, "deviceNodes")) {
    edits.device_nodes.push_back({.path = item.at("path"),
                                  .host_path = item.at("hostPath"),
                                  .type = item.at("type"),
                                  .major = optional_of<std::int64_t>(item, "major"),
                                  .minor = optional_of<std::int64_t>(item, "minor"),
                                  .file_mode = optional_of<std::uint32_t>(item, "fileMode"),
                                  .permissions = item.at("permissions"),
                                  .uid = optional_of<std::uint32_t>(item, "uid"),
                                  .gid = optional_of<std::uint32_t>(item, "gid")});
  }
  for (const json& item : array_of(in, "netDevices")) {
    edits.net_devices.push_back(
        {.host_interface_name = item.at("hostInterfaceName"), .name = item.at("name")});
  }
  for (const json& item : array_of(in, "hooks")) {
    edits.hooks.push_back({.hook_name = item.at("hookName"),
                           .path = item.at("path"),
                           .args = item.at("args").get<std::vector<std::string>>(),
                           .env = item.at("env").get<std::vector<std::string>>(),
                           .timeout_seconds = optional_of<int>(item, "timeout")});
  }
  for (const json& item : array_of(in, "mounts")) {
    edits.mounts.push_back({.host_path = item.at("hostPath"),
                            .container_path = item.at("containerPath"),
                            .options = item.at("options").get<std::vector<std::string>>(),
                            .type = item.at("type")});
  }
  return edits;
}

/// A parameter text is written at its first occurrence; later occurrences are written as "sameAs" with its
/// number, in order of occurrence. A program that does not know that (0.1) reads an empty text there, which
/// is harmless: the plan is made by then.
class TextsWritten {
 public:
  void put(json& entry, const std::string& text) {
    const auto [known, is_new] = numbers_.try_emplace(text, numbers_.size());
    entry["parameters"] = is_new ? text : std::string();
    if (!is_new) {
      entry["sameAs"] = known->second;
    }
  }

 private:
  std::map<std::string_view, std::size_t> numbers_;
};

class TextsRead {
 public:
  SharedText get(const json& entry) {
    const auto same = entry.find("sameAs");
    if (same != entry.end()) {
      return texts_.at(same->get<std::size_t>());
    }
    texts_.emplace_back(entry.at("parameters").get<std::string>());
    return texts_.back();
  }

 private:
  std::vector<SharedText> texts_;
};

json device_to_json(const AllocatedDevice& device, TextsWritten& texts) {
  json config = json::array();
  for (const DeviceConfig& entry : device.config) {
    json item{{"fromClass", entry.from_class}, {"path", entry.path}};
    texts.put(item, entry.parameters);
    config.push_back(std::move(item));
  }
  return {{"request", device.request},
          {"pool", device.pool},
          {"device", device.device},
          {"shareID", device.share_id},
          {"adminAccess", device.admin_access},
          {"consumedCapacity", device.consumed_capacity},
          {"config", std::move(config)}};
}

AllocatedDevice device_from_json(const json& in, TextsRead& texts) {
  AllocatedDevice device;
  device.request = in.at("request");
  device.pool = in.at("pool");
  device.device = in.at("device");
  device.share_id = in.at("shareID");
  device.admin_access = in.at("adminAccess");
  device.consumed_capacity = in.at("consumedCapacity").get<std::map<std::string, std::string>>();
  for (const json& entry : in.at("config")) {
    device.config.push_back(
        {.from_class = entry.at("fromClass"), .parameters = texts.get(entry), .path = entry.at("path")});
  }
  return device;
}

/// A driver's text as the JSON object that it is, so that people and jq can read it; null when it is something else,
/// or would not come back byte by byte.
json nested(const std::string& text) {
  json value = json::parse(text, nullptr, false);
  return value.is_object() && value.dump() == text ? std::move(value) : json();
}

/// The driver's texts. Version 0.1 reads "plan" and "prepared.state", which are texts, and drops "driver" when it
/// writes: so a "driver" that is there was written last.
void put_driver_texts(const ClaimRecord& record, json& out) {
  out["plan"] = record.plan_for_previous.empty() ? record.plan : record.plan_for_previous;
  out["prepared"]["state"] = record.prepared.state;
  json plan = nested(record.plan);
  if (!plan.is_null()) {
    out["driver"]["plan"] = std::move(plan);
    json state = nested(record.prepared.state);
    if (!state.is_null()) {
      out["driver"]["state"] = std::move(state);
    }
  }
}

void get_driver_texts(const json& in, ClaimRecord& record) {
  record.plan = in.at("plan");
  record.prepared.state = in.at("prepared").at("state");
  const auto driver = in.find("driver");
  if (driver == in.end()) {
    return;
  }
  std::string plan = driver->at("plan").dump();
  if (plan != record.plan) {
    record.plan_for_previous = std::exchange(record.plan, std::move(plan));
  }
  if (const auto state = driver->find("state"); state != driver->end()) {
    record.prepared.state = state->dump();
  }
}

json record_to_json(const ClaimRecord& record, std::string_view boot_id) {
  json reserved = json::array();
  for (const Pod& pod : record.claim.reserved_for) {
    reserved.push_back({{"name", pod.name}, {"uid", pod.uid}});
  }
  json devices = json::array();
  TextsWritten texts;
  for (const AllocatedDevice& device : record.claim.devices) {
    devices.push_back(device_to_json(device, texts));
  }
  json edits = json::array();
  for (const cdi::ContainerEdits& entry : record.prepared.device_edits) {
    edits.push_back(edits_to_json(entry));
  }
  json out = {
      {"bootID", boot_id},
      {"state", to_string(record.state)},
      {"claim",
       {{"namespace", record.claim.namespace_},
        {"name", record.claim.name},
        {"uid", record.claim.uid},
        {"podClaimName", record.claim.pod_claim_name},
        {"reservedFor", std::move(reserved)},
        {"devices", std::move(devices)}}},
      {"prepared",
       {{"deviceEdits", std::move(edits)}, {"claimEdits", edits_to_json(record.prepared.claim_edits)}}}};
  put_driver_texts(record, out);
  return out;
}

std::optional<ClaimState> state_from(const std::string& word) {
  for (const ClaimState state : {ClaimState::kPreparing, ClaimState::kPrepared, ClaimState::kUnpreparing}) {
    if (word == to_string(state)) {
      return state;
    }
  }
  return std::nullopt;
}

Result<DecodedRecord> record_from_json(const json& in) {
  DecodedRecord decoded;
  decoded.boot_id = in.at("bootID");
  ClaimRecord& record = decoded.record;
  const std::string word = in.at("state");
  const auto state = state_from(word);
  if (!state) {
    return Error(Code::kUnsupported, "unknown state \"" + word + "\"");
  }
  record.state = *state;
  const json& claim = in.at("claim");
  record.claim.namespace_ = claim.at("namespace");
  record.claim.name = claim.at("name");
  record.claim.uid = claim.at("uid");
  record.claim.pod_claim_name = claim.value("podClaimName", record.claim.name);  // 0.1 wrote none
  for (const json& pod : claim.at("reservedFor")) {
    record.claim.reserved_for.push_back({.name = pod.at("name"), .uid = pod.at("uid")});
  }
  TextsRead texts;
  for (const json& device : claim.at("devices")) {
    record.claim.devices.push_back(device_from_json(device, texts));
  }
  get_driver_texts(in, record);
  const json& prepared = in.at("prepared");
  for (const json& edits : prepared.at("deviceEdits")) {
    record.prepared.device_edits.push_back(edits_from_json(edits));
  }
  record.prepared.claim_edits = edits_from_json(prepared.at("claimEdits"));
  return decoded;
}

/// CRC-32 as in IEEE 802.3, eight hex digits.
std::string crc32(std::string_view text) {
  static const auto table = [] {
    std::array<std::uint32_t, 256> made{};
    for (std::uint32_t i = 0; i < made.size(); ++i) {
      std::uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) {
        value = (value >> 1U) ^ ((value & 1U) != 0 ? 0xEDB88320U : 0U);
      }
      made.at(i) = value;
    }
    return made;
  }();
  std::uint32_t sum = 0xFFFFFFFFU;
  for (const char c : text) {
    sum = (sum >> 8U) ^ table.at((sum ^ static_cast<unsigned char>(c)) & 0xFFU);
  }
  std::array<char, 9> digits{};
  (void)std::snprintf(digits.data(), digits.size(), "%08x", ~sum);
  return digits.data();
}

// ---- locks ----

/// The byte of the lock file for a key: FNV-1a, 62 bits so that it is a valid off_t. Two keys that share a
/// byte only wait for each other.
off_t byte_of(std::string_view key) { return static_cast<off_t>(fnv1a_64(key) >> 2U); }

/// False: another instance has it. Locks of the open file description, not of the process (POSIX locks would
/// vanish when any thread closes the file).
Result<bool> try_lock_byte(int fd, off_t byte) {
  struct flock range = {};
  range.l_type = F_WRLCK;
  range.l_whence = SEEK_SET;
  range.l_start = byte;
  range.l_len = 1;
  if (::fcntl(fd, F_OFD_SETLK, &range) == 0) {
    return true;
  }
  const int e = errno;
  if (e == EAGAIN || e == EACCES || e == EINTR) {
    return false;
  }
  return Error::from_errno(e, "lock the claim records");
}

/// There is no lock call with a timeout, so it asks again, in growing steps up to 20 ms. Only the short time
/// in which two instances overlap ever comes here twice.
Result<> lock_byte(int fd, off_t byte, ClaimStore::Deadline deadline, const std::stop_token& stop) {
  for (std::chrono::milliseconds pause{1};; pause = std::min(pause * 2, std::chrono::milliseconds{20})) {
    FL_ASSIGN(const bool taken, try_lock_byte(fd, byte));
    if (taken) {
      return {};
    }
    if (stop.stop_requested()) {
      return Error(Code::kCancelled, "the caller went away");
    }
    if (std::chrono::steady_clock::now() >= deadline) {
      return Error(Code::kTimeout, "another instance of the driver is at work on this claim or its devices");
    }
    std::this_thread::sleep_for(pause);
  }
}

bool same_time(const timespec& a, const timespec& b) {
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

}  // namespace

std::string_view to_string(ClaimState state) {
  switch (state) {
    case ClaimState::kPreparing:
      return "preparing";
    case ClaimState::kPrepared:
      return "prepared";
    case ClaimState::kUnpreparing:
      return "unpreparing";
  }
  return "?";
}

Result<std::string> encode_record(const ClaimRecord& record, std::string_view boot_id) {
  try {
    // Serialized once, for both the checksum and the file, since every attach waits for this. The keys are in
    // dump()'s own order.
    const std::string body = record_to_json(record, boot_id).dump();
    if (body.size() > kMaxRecord) {
      return Error(Code::kInvalid, "claim " + record.claim.namespace_ + "/" + record.claim.name + " (uid " +
                                       record.claim.uid +
                                       ") cannot be recorded: with its parameters, plan and " +
                                       "state it would be " + std::to_string(body.size()) +
                                       " bytes, and a record has at most " + std::to_string(kMaxRecord));
    }
    return R"({"crc32":")" + crc32(body) + R"(","record":)" + body + R"(,"version":)" +
           std::to_string(kVersion) + "}";
  } catch (const json::exception& e) {
    // Text that is no UTF-8: only a driver's plan or state can be.
    return Error(Code::kInvalid, "claim " + record.claim.uid + " cannot be recorded: " + e.what());
  }
}

Result<DecodedRecord> decode_record(std::string_view text) {
  const json file = json::parse(text, nullptr, false);
  if (file.is_discarded() || !file.is_object()) {
    return Error(Code::kCorrupt, "not a JSON object");
  }
  try {
    if (const int version = file.at("version"); version != kVersion) {
      return Error(Code::kUnsupported, "version " + std::to_string(version) +
                                           " of the format; this program reads " + std::to_string(kVersion));
    }
    const json& body = file.at("record");
    if (file.at("crc32").get<std::string>() != crc32(body.dump())) {
      return Error(Code::kCorrupt, "the checksum does not match the content");
    }
    return record_from_json(body);
  } catch (const std::exception& e) {  // nlohmann's, or a "sameAs" without its text
    return Error(Code::kCorrupt, e.what());
  }
}

Result<std::string> current_boot_id() {
  FL_ASSIGN(std::string id, sys::read_file("/proc/sys/kernel/random/boot_id"));
  id.erase(std::find_if(id.begin(), id.end(), [](char c) { return c == '\n'; }), id.end());
  return id;
}

Result<> ClaimStore::Keys::add(std::vector<std::string> keys, Deadline deadline,
                               const std::stop_token& stop) {
  std::sort(keys.begin(), keys.end());
  for (const std::string& key : keys) {
    FL_TRY(lock_byte(fd_.get(), byte_of(key), deadline, stop));
  }
  return {};
}

ClaimStore::ClaimStore(Options options)
    : options_(std::move(options)), claims_dir_(options_.state_dir + "/claims") {}

Result<std::unique_ptr<ClaimStore>> ClaimStore::open(Options options) {
  if (options.boot_id.empty()) {
    FL_ASSIGN(options.boot_id, current_boot_id());
  }
  FL_TRY(sys::make_dirs(options.state_dir + "/claims", 0750));
  return std::unique_ptr<ClaimStore>(new ClaimStore(std::move(options)));
}

Result<ClaimStore::Keys> ClaimStore::lock(std::vector<std::string> keys, Deadline deadline,
                                          const std::stop_token& stop) const {
  FL_ASSIGN(UniqueFd fd, sys::open_file(options_.state_dir + "/lock", O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  Keys held(std::move(fd));
  FL_TRY(held.add(std::move(keys), deadline, stop));
  return held;
}

void ClaimStore::quarantine(const std::string& uid, const std::string& text, const Error& why) const {
  const std::string dir = options_.state_dir + "/quarantine";
  const std::string target =
      dir + "/" + uid + std::string(kSuffix) + "." + std::to_string(std::time(nullptr));
  const bool moved =
      sys::make_dirs(dir, 0750).has_value() && ::rename(file_of(uid).c_str(), target.c_str()) == 0;
  {
    const Lock lock(mutex_);
    put_aside_[uid] = {.text = text, .file = moved ? target : file_of(uid), .why = why.what()};
  }
  if (options_.on_quarantine) {
    options_.on_quarantine(moved ? target : file_of(uid),
                           moved ? why : Error(why).with("cannot be moved to " + dir));
  }
}

std::optional<Error> ClaimStore::put_aside_that_mentions(const std::string& pod_uid) const {
  const Lock lock(mutex_);
  for (const auto& [uid, record] : put_aside_) {
    if (!pod_uid.empty() && record.text.find("\"" + pod_uid + "\"") != std::string::npos) {
      return Error(Code::kCorrupt, "the record of claim " + uid + ", which this pod uses, is damaged (" +
                                       record.why + ") and was quarantined as " + record.file +
                                       "; delete the pod, so that the claim is prepared again");
    }
  }
  return std::nullopt;
}

void ClaimStore::forget_put_aside(const std::string& uid) const {
  const Lock lock(mutex_);
  put_aside_.erase(uid);
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
    if (found != cache_.end() && found->second.inode == info.st_ino && found->second.size == info.st_size &&
        same_time(found->second.changed, info.st_ctim)) {
      return std::optional<Cached>(found->second);
    }
  }
  const auto text = sys::read_file_if_exists(path);
  if (!text && text.error().code() == Code::kOverflow) {
    quarantine(uid, "", text.error());  // no program of ours writes such a record any more
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
    quarantine(uid, **text, decoded.error());
    return std::optional<Cached>();
  }
  // If the file was replaced between stat and read, the newer content is kept under the older inode: the next
  // load sees another inode and reads again.
  Cached entry{.inode = info.st_ino,
               .size = info.st_size,
               .changed = info.st_ctim,
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

namespace {

/// The uid whose record has this file name; empty: it is not a record.
std::string uid_of(const std::string& name) {
  return !name.starts_with(".") && name.ends_with(kSuffix) ? name.substr(0, name.size() - kSuffix.size())
                                                           : std::string();
}

}  // namespace

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

Result<> ClaimStore::write(const ClaimRecord& record) const {
  FL_ASSIGN(const std::string text, encode_record(record, options_.boot_id));
  FL_TRY(sys::replace_file(claims_dir_, record.claim.uid + std::string(kSuffix), text, 0600));
  forget_put_aside(record.claim.uid);
  remember(record, text);
  return {};
}

/// Spares the next read() the decoding, if what is there now is what was written: another instance may have
/// been faster.
void ClaimStore::remember(const ClaimRecord& record, const std::string& text) const {
  const std::string path = file_of(record.claim.uid);
  struct stat before = {};
  struct stat after = {};
  if (::lstat(path.c_str(), &before) != 0) {
    return;
  }
  const auto there = sys::read_file_if_exists(path);
  if (!there || *there != text || ::lstat(path.c_str(), &after) != 0 || before.st_ino != after.st_ino ||
      !same_time(before.st_ctim, after.st_ctim)) {
    return;
  }
  const Lock lock(mutex_);
  cache_[record.claim.uid] = {.inode = after.st_ino,
                              .size = after.st_size,
                              .changed = after.st_ctim,
                              .record = std::make_shared<const ClaimRecord>(record),
                              .boot_id = options_.boot_id};
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
