// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/cluster_view.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

namespace drydock {
namespace {

constexpr std::size_t kTellingLength = 96;

const Json& at(const Json& object, const char* pointer) {
  static const Json nothing;
  const Json::json_pointer where(pointer);
  return object.contains(where) ? object[where] : nothing;
}
std::string text(const Json& object, const char* pointer) {
  const auto& value = at(object, pointer);
  return value.is_string() ? value.get<std::string>() : std::string();
}

bool is_reserved_for(const Json& claim, const std::string& pod_uid) {
  const auto& consumers = at(claim, "/status/reservedFor");
  return std::any_of(consumers.begin(), consumers.end(),
                     [&](const Json& consumer) { return text(consumer, "/uid") == pod_uid; });
}

Result<AllocatedClaim> allocated_claim(const Json& pod, const Cluster::PodClaim& entry) {
  const std::string pod_name = text(pod, "/metadata/namespace") + "/" + text(pod, "/metadata/name");
  if (!entry.claim) {
    return Error(Code::kUnavailable,
                 "pod " + pod_name + ": the ResourceClaim for \"" + entry.entry + "\" is not there");
  }
  const auto& claim = *entry.claim;
  AllocatedClaim out;
  out.pod_claim = entry.entry;
  out.id = {.namespace_ = text(claim, "/metadata/namespace"),
            .name = text(claim, "/metadata/name"),
            .uid = text(claim, "/metadata/uid")};
  if (!is_reserved_for(claim, text(pod, "/metadata/uid"))) {
    return Error(Code::kUnavailable, "pod " + pod_name + " is not allowed to use ResourceClaim " +
                                         out.id.namespace_ + "/" + out.id.name +
                                         " (it is not in status.reservedFor)");
  }
  if (at(claim, "/status/allocation").is_null()) {
    return Error(Code::kUnavailable, "ResourceClaim " + out.id.name + " is not allocated");
  }
  for (const auto& result : at(claim, "/status/allocation/devices/results")) {
    out.drivers.insert(text(result, "/driver"));
  }
  return out;
}

/// {"string": "netdev"} -> netdev
std::string attribute_value(const Json& value) {
  if (!value.is_object() || value.empty()) {
    return value.dump();
  }
  const auto& inner = *value.begin();
  return inner.is_string() ? inner.get<std::string>() : inner.dump();
}

std::string without_domain(const std::string& key, const std::string& driver) {
  return key.starts_with(driver + "/") ? key.substr(driver.size() + 1) : key;
}

std::string telling(const Json& device, const std::string& driver) {
  std::string out;
  const auto add = [&](const std::string& word) {
    if (out.size() + word.size() < kTellingLength) {
      out += (out.empty() ? "" : " ") + word;
    } else if (!out.ends_with("...")) {
      out += " ...";
    }
  };
  const auto& attributes = at(device, "/attributes");
  for (const auto& [key, value] : attributes.items()) {
    add(without_domain(key, driver) + "=" + attribute_value(value));
  }
  const auto& capacity = at(device, "/capacity");
  for (const auto& [key, value] : capacity.items()) {
    add(without_domain(key, driver) + ":" + text(value, "/value"));
  }
  const auto& shared = at(device, "/allowMultipleAllocations");
  if (shared.is_boolean() && shared.get<bool>()) {
    add("shared");
  }
  return out;
}

/// The identity of one allocated device of a claim.
std::string device_of(const Json& entry) {
  return text(entry, "/driver") + "/" + text(entry, "/pool") + "/" + text(entry, "/device") + "/" +
         text(entry, "/shareID");
}

/// "Ready (Attached: made in the pod by NRI)", "not Ready (...)".
std::string describe_condition(const Json& condition) {
  const auto status = text(condition, "/status");
  std::string out =
      (status == "True" ? "" : (status == "False" ? "not " : "perhaps ")) + text(condition, "/type");
  const auto reason = text(condition, "/reason");
  const auto message = text(condition, "/message");
  if (!reason.empty() || !message.empty()) {
    out += " (" + reason + (reason.empty() || message.empty() ? "" : ": ") + message + ")";
  }
  return out;
}

}  // namespace

Result<std::vector<AllocatedClaim>> allocated_claims(const Cluster& cluster, const Json& pod) {
  std::vector<AllocatedClaim> out;
  for (const auto& entry : cluster.pod_claims(pod)) {
    FL_ASSIGN(auto claim, allocated_claim(pod, entry));
    out.push_back(std::move(claim));
  }
  return out;
}

std::vector<std::string> describe_allocation(const Json& claim) {
  std::vector<std::string> out;
  for (const auto& result : at(claim, "/status/allocation/devices/results")) {
    std::string line = text(result, "/request") + " → " + text(result, "/device") + " (" +
                       text(result, "/driver") + ", pool " + text(result, "/pool");
    if (const auto share = text(result, "/shareID"); !share.empty()) {
      line += ", share " + share.substr(0, 8);
    }
    const auto& consumed = at(result, "/consumedCapacity");
    for (const auto& [key, value] : consumed.items()) {
      line += ", " + without_domain(key, text(result, "/driver")) + " " +
              (value.is_string() ? value.get<std::string>() : value.dump());
    }
    out.push_back(line + ")");
  }
  return out;
}

std::vector<std::string> describe_device_status(const Json& claim) {
  std::map<std::string, std::string> requests;
  for (const auto& result : at(claim, "/status/allocation/devices/results")) {
    requests[device_of(result)] = text(result, "/request");
  }
  std::vector<std::string> out;
  for (const auto& entry : at(claim, "/status/devices")) {
    const auto request = requests.find(device_of(entry));
    std::vector<std::string> words;
    for (const auto* pointer : {"/networkData/interfaceName", "/networkData/hardwareAddress"}) {
      if (auto word = text(entry, pointer); !word.empty()) {
        words.push_back(std::move(word));
      }
    }
    for (const auto& ip : at(entry, "/networkData/ips")) {
      words.push_back(ip.is_string() ? ip.get<std::string>() : ip.dump());
    }
    for (const auto& condition : at(entry, "/conditions")) {
      words.push_back(describe_condition(condition));
    }
    std::string line = request == requests.end() ? text(entry, "/device") : request->second;
    for (std::size_t i = 0; i < words.size(); ++i) {
      line += (i == 0 ? ": " : ", ") + words[i];
    }
    out.push_back(std::move(line));
  }
  return out;
}

bool has_full_status(const Json& claim) {
  std::set<std::string> known;
  for (const auto& entry : at(claim, "/status/devices")) {
    known.insert(device_of(entry));
  }
  const auto& results = at(claim, "/status/allocation/devices/results");
  return std::all_of(results.begin(), results.end(),
                     [&](const Json& result) { return known.contains(device_of(result)); });
}

std::size_t complete_pools(const std::vector<Json>& slices, const std::string& driver) {
  struct Pool {
    std::int64_t generation = -1, wanted = 0, seen = 0;
  };
  std::map<std::string, Pool> pools;
  for (const auto& slice : slices) {
    if (text(slice, "/spec/driver") != driver) {
      continue;
    }
    auto& pool = pools[text(slice, "/spec/pool/name")];
    const auto& spec = at(slice, "/spec/pool");
    const auto generation = spec.value("generation", std::int64_t{0});
    if (generation > pool.generation) {
      pool = {
          .generation = generation, .wanted = spec.value("resourceSliceCount", std::int64_t{1}), .seen = 0};
    }
    pool.seen += generation == pool.generation ? 1 : 0;
  }
  return static_cast<std::size_t>(std::count_if(pools.begin(), pools.end(), [](const auto& entry) {
    return entry.second.seen == entry.second.wanted;
  }));
}

std::size_t device_count(const std::vector<Json>& slices, const std::string& driver) {
  std::size_t out = 0;
  for (const auto& slice : slices) {
    if (text(slice, "/spec/driver") == driver) {
      out += at(slice, "/spec/devices").size();
    }
  }
  return out;
}

Console::Table device_table(const std::vector<Json>& slices) {
  Console::Table out{.header = {"DRIVER", "POOL", "DEVICE", "WHAT IT SAYS"}, .rows = {}};
  for (const auto& slice : slices) {
    const auto driver = text(slice, "/spec/driver");
    for (const auto& device : at(slice, "/spec/devices")) {
      out.rows.push_back(
          {driver, text(slice, "/spec/pool/name"), text(device, "/name"), telling(device, driver)});
    }
  }
  return out;
}

ListQuery slices_of(const std::string& node, const std::string& driver) {
  ListQuery out;
  out.selector.fields.push_back({.path = "spec.nodeName", .value = node});
  if (!driver.empty()) {
    out.selector.fields.push_back({.path = "spec.driver", .value = driver});
  }
  return out;
}

}  // namespace drydock
