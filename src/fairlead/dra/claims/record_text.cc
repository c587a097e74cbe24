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

namespace fairlead::dra {
namespace {

using nlohmann::json;

constexpr int kVersion = 1;

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

}  // namespace fairlead::dra
