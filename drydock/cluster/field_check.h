// SPDX-License-Identifier: Apache-2.0
// Collects the causes of a 422 in the API server's words. Inside drydock_cluster only.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "drydock/cluster/api_error.h"

namespace drydock {

class FieldCheck {
 public:
  void invalid(const std::string& path, const Json& value, std::string_view why);
  void required(const std::string& path, std::string_view why = "");
  void forbidden(const std::string& path, std::string_view why);
  void duplicate(const std::string& path, const Json& value);
  void too_many(const std::string& path, std::size_t count, std::size_t max);
  void too_long(const std::string& path, std::size_t max);
  void unsupported(const std::string& path, const Json& value, const std::vector<std::string_view>& words);

  /// Adds a cause when the value breaks the rule; an empty value is `required`.
  void dns_label(const std::string& path, const std::string& value);
  void dns_subdomain(const std::string& path, const std::string& value, std::size_t max = 253);
  void driver_name(const std::string& path, const std::string& value);
  /// A C identifier of at most 32, or driver-like domain / identifier.
  void qualified_name(const std::string& path, const std::string& value);
  void label_name(const std::string& path, const std::string& value);
  void label_value(const std::string& path, const std::string& value);
  void one_of(const std::string& path, const std::string& value, const std::vector<std::string_view>& words);

  std::vector<Cause> causes;
};

bool is_semver(std::string_view text);
bool is_uuid(std::string_view text);

/// The string at a key, empty when absent. Types were checked by normalise_fields before.
std::string text_at(const Json& object, std::string_view key);
/// The value at a key, or a null that lives for ever.
const Json& value_at(const Json& object, std::string_view key);
/// "path[3]"
std::string item(const std::string& path, std::size_t index);

void check_slice(FieldCheck& check, const Json& slice);
void check_slice_update(FieldCheck& check, const Json& before, const Json& after);
void check_device_class(FieldCheck& check, const Json& object);
void check_claim_spec(FieldCheck& check, const Json& spec, const std::string& path);
void check_claim_status(FieldCheck& check, const Json& before, const Json& after);
void check_pod(FieldCheck& check, const Json& pod);
void check_node_selector(FieldCheck& check, const Json& selector, const std::string& path);
void check_toleration(FieldCheck& check, const Json& toleration, const std::string& path);

}  // namespace drydock
