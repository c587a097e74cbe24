// SPDX-License-Identifier: Apache-2.0
// Parts that objects of all kinds have: metadata, conditions (meta/v1), and lists.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "fairlead/core/result.h"
#include "fairlead/formats/json_reader.h"

namespace fairlead::kube {

struct OwnerReference {
  std::string api_version, kind, name, uid;
  bool controller = false;
  bool operator==(const OwnerReference&) const = default;
};

struct ObjectMeta {
  std::string name, generate_name, namespace_, uid, resource_version;
  std::map<std::string, std::string> annotations, labels;
  std::vector<OwnerReference> owner_references;
  bool operator==(const ObjectMeta&) const = default;
};

/// One metav1.Condition.
struct Condition {
  std::string type;    // "Ready"
  std::string status;  // "True", "False", "Unknown"
  std::string reason;  // CamelCase word, required
  std::string message;
  std::string last_transition_time;  // RFC 3339, seconds, UTC: "2026-01-31T12:00:00Z"; required
  bool operator==(const Condition&) const = default;
};

/// One page of a list: pass `continue_token` to read the next one, empty on the last page.
template <class T>
struct ListOf {
  std::string resource_version;
  std::string continue_token;
  std::vector<T> items;
};

/// The `metadata` object of an object.
ObjectMeta read_meta(const JsonReader& metadata);
std::vector<Condition> read_conditions(const std::vector<JsonReader>& conditions);

/// The metadata of an object of any kind.
Result<ObjectMeta> parse_meta(std::string_view json);

}  // namespace fairlead::kube
