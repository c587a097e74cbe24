// SPDX-License-Identifier: Apache-2.0
#include "fairlead/policy/field_policy.h"

#include <algorithm>
#include <set>

#include "fairlead/core/text.h"
#include "fairlead/formats/strict_json.h"
#include "fairlead/policy/policy_file.h"

namespace fairlead::policy {
namespace {

constexpr std::string_view kKind = "FieldPolicy";
constexpr std::size_t kMaxFields = 256;
constexpr std::size_t kMaxNamespaces = 1'000;

std::set<std::string> known_names(const devices::Registry& kinds) {
  std::set<std::string> names;
  for (const fields::TypeFields& type : kinds.fields()) {
    const std::string begin = std::string(type.type) + ".";
    names.insert(begin + "kind");
    for (const fields::KindFields& kind : type.kinds) {
      for (const fields::Field& field : kind.fields) {
        if (!field.is_part) {
          names.insert(begin + std::string(field.name));
        }
      }
    }
  }
  return names;
}

void check_fields(const strict_json::Object& root, const FieldPolicy& policy,
                  const devices::Registry& kinds) {
  if (policy.claim_may.empty()) {
    root.fail("claimMay", "must list at least one field, such as netdev.vlanId");
  }
  const std::set<std::string> known = known_names(kinds);
  for (std::size_t i = 0; i < policy.claim_may.size(); ++i) {
    if (!known.contains(policy.claim_may[i])) {
      root.fail_item("claimMay", i,
                     "this version knows no field " + quoted(policy.claim_may[i]) +
                         " (a name is TYPE.FIELD, such as netdev.vlanId, or TYPE.kind)");
    }
  }
}

void check_namespaces(const strict_json::Object& root, const FieldPolicy& policy) {
  if (policy.namespaces.empty()) {
    root.fail("namespaces", R"(must list at least one namespace; ["*"] is every namespace)");
  }
  for (std::size_t i = 0; i < policy.namespaces.size(); ++i) {
    const std::string& name = policy.namespaces[i];
    if (name == "*" && policy.namespaces.size() > 1) {
      root.fail_item("namespaces", i, "\"*\" is every namespace; leave the others out");
    } else if (name != "*" && !is_dns_label(name)) {
      root.fail_item("namespaces", i, quoted(name) + " cannot be the name of a namespace; names are exact");
    }
  }
}

void read_bounds(const strict_json::Object& root, Bounds& bounds) {
  const auto object = root.optional_object("bounds");
  if (!object) {
    return;
  }
  for (const std::string_view key : kBoundKeys) {
    if (!object->has(key)) {
      continue;
    }
    const auto items = object->optional_strings(key, kMaxBoundItems);
    if (object->failed()) {
      return;
    }
    if (const auto bad = set_bound(bounds, key, items)) {
      object->fail_item(key, bad->at, bad->why);
    }
  }
}

}  // namespace

bool FieldPolicy::opens(std::string_view field, std::string_view claim_namespace) const {
  const bool is_for = std::ranges::any_of(
      namespaces, [&](const std::string& name) { return name == "*" || name == claim_namespace; });
  return is_for && std::ranges::find(claim_may, field) != claim_may.end();
}

bool is_field_policy(std::string_view parameters) {
  // Most parameters are no FieldPolicy. One whose word is escaped is refused as parameters with unknown fields.
  if (parameters.find(kKind) == std::string_view::npos) {
    return false;
  }
  const auto document = strict_json::Document::parse(parameters);
  return document && document->root().has("apiVersion") &&
         document->root().optional_string("kind").value_or("") == kKind;
}

Result<FieldPolicy> read_field_policy(const dra::DeviceConfig& config, const devices::Registry& kinds) {
  FL_ASSIGN(const auto document, strict_json::Document::parse(config.parameters, config.path));
  const strict_json::Object root = document.root();
  FieldPolicy policy{.path = config.path};
  (void)root.required_word("apiVersion", {kApiVersion});
  (void)root.required_word("kind", {kKind});
  root.require("claimMay");
  root.require("namespaces");
  policy.claim_may = root.optional_strings("claimMay", kMaxFields);
  policy.namespaces = root.optional_strings("namespaces", kMaxNamespaces);
  if (!root.failed()) {
    check_fields(root, policy, kinds);
    check_namespaces(root, policy);
    read_bounds(root, policy.bounds);
  }
  FL_TRY(document.finish());
  return policy;
}

}  // namespace fairlead::policy
