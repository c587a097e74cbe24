// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/claims/record_text.h"

#include <array>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "fairlead/formats/json_writer.h"

namespace fairlead::dra {
namespace {

using nlohmann::json;

constexpr int kVersion = 1;

// Every writer gives the keys of an object in order: the checksum is of the text that dump() makes of it.

void write_node(JsonWriter& out, const cdi::DeviceNode& node) {
  out.member("fileMode", node.file_mode);
  out.member("gid", node.gid);
  out.member("hostPath", node.host_path);
  out.member("major", node.major);
  out.member("minor", node.minor);
  out.member("path", node.path).member("permissions", node.permissions).member("type", node.type);
  out.member("uid", node.uid);
}

void write_hook(JsonWriter& out, const cdi::Hook& hook) {
  out.member("args", hook.args).member("env", hook.env).member("hookName", hook.hook_name);
  out.member("path", hook.path);
  out.member("timeout", hook.timeout_seconds);
}

void write_mount(JsonWriter& out, const cdi::Mount& mount) {
  out.member("containerPath", mount.container_path).member("hostPath", mount.host_path);
  out.member("options", mount.options).member("type", mount.type);
}

void write_net_device(JsonWriter& out, const cdi::NetDevice& device) {
  out.member("hostInterfaceName", device.host_interface_name).member("name", device.name);
}

void write_edits(JsonWriter& out, const cdi::ContainerEdits& edits) {
  out.begin_object();
  out.member("additionalGids", edits.additional_gids);
  out.objects("deviceNodes", edits.device_nodes, write_node);
  out.member("env", edits.env);
  out.objects("hooks", edits.hooks, write_hook);
  out.objects("mounts", edits.mounts, write_mount);
  out.objects("netDevices", edits.net_devices, write_net_device);
  out.end_object();
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
  void write(JsonWriter& out, const DeviceConfig& entry) {
    const auto [known, is_new] = numbers_.try_emplace(entry.parameters, numbers_.size());
    out.begin_object();
    out.member("fromClass", entry.from_class);
    out.member("parameters", is_new ? known->first : std::string_view());
    out.member("path", entry.path);
    if (!is_new) {
      out.member("sameAs", known->second);
    }
    out.end_object();
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

void write_device(JsonWriter& out, const AllocatedDevice& device, TextsWritten& texts) {
  out.begin_object();
  out.member("adminAccess", device.admin_access);
  out.key("config").begin_array();
  for (const DeviceConfig& entry : device.config) {
    texts.write(out, entry);
  }
  out.end_array();
  out.member("consumedCapacity", device.consumed_capacity).member("device", device.device);
  out.member("pool", device.pool).member("request", device.request).member("shareID", device.share_id);
  out.end_object();
}

void write_claim(JsonWriter& out, const Claim& claim) {
  out.begin_object();
  out.key("devices").begin_array();
  TextsWritten texts;
  for (const AllocatedDevice& device : claim.devices) {
    write_device(out, device, texts);
  }
  out.end_array();
  out.member("name", claim.name).member("namespace", claim.namespace_);
  out.member("podClaimName", claim.pod_claim_name);
  out.key("reservedFor").begin_array();
  for (const Pod& pod : claim.reserved_for) {
    out.begin_object().member("name", pod.name).member("uid", pod.uid).end_object();
  }
  out.end_array();
  out.member("uid", claim.uid);
  out.end_object();
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

/// The driver's texts as the JSON objects that they are, so that people and jq can read them; not one that is something
/// else, or would not come back byte by byte. Version 0.1 reads "plan" and "prepared.state", which are texts, and drops
/// "driver" when it writes: so a "driver" that is there was written last.
void write_driver_objects(JsonWriter& out, const ClaimRecord& record) {
  out.key("driver").begin_object();
  out.key("plan").raw(record.plan);
  if (is_canonical_object(record.prepared.state)) {
    out.key("state").raw(record.prepared.state);
  }
  out.end_object();
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

void write_record(JsonWriter& out, const ClaimRecord& record, std::string_view boot_id, bool plan_is_object) {
  out.begin_object();
  out.member("bootID", boot_id);
  write_claim(out.key("claim"), record.claim);
  if (plan_is_object) {
    write_driver_objects(out, record);
  }
  out.member("plan", record.plan_for_previous.empty() ? record.plan : record.plan_for_previous);
  out.key("prepared").begin_object();
  write_edits(out.key("claimEdits"), record.prepared.claim_edits);
  out.key("deviceEdits").begin_array();
  for (const cdi::ContainerEdits& entry : record.prepared.device_edits) {
    write_edits(out, entry);
  }
  out.end_array();
  out.member("state", record.prepared.state);
  out.end_object();
  out.member("state", to_string(record.state));
  out.end_object();
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
  return encode_record(record, boot_id, is_canonical_object(record.plan));
}

Result<std::string> encode_record(const ClaimRecord& record, std::string_view boot_id, bool plan_is_object) {
  const auto refused = [&](const std::string& why) {
    return Error(Code::kInvalid, "claim " + record.claim.namespace_ + "/" + record.claim.name + " (uid " +
                                     record.claim.uid + ") cannot be recorded: " + why);
  };
  JsonWriter out;
  write_record(out, record, boot_id, plan_is_object);
  if (!plan_is_object && record.plan.starts_with('{') && !json::accept(record.plan)) {
    // The driver could not read it again, and what it made by it would stay.
    return refused("its plan begins as a JSON object and is not valid JSON");
  }
  if (!out.is_utf8()) {  // only a driver's plan or state can be
    return refused("its plan or state is not valid UTF-8");
  }
  const std::string body = std::move(out).take();
  if (body.size() > kMaxRecord) {
    return refused("with its parameters, plan and state it would be " + std::to_string(body.size()) +
                   " bytes, and a record has at most " + std::to_string(kMaxRecord));
  }
  return R"({"crc32":")" + crc32(body) + R"(","record":)" + body + R"(,"version":)" +
         std::to_string(kVersion) + "}";
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

}  // namespace fairlead::dra
