// SPDX-License-Identifier: Apache-2.0
#include "drydock/cluster/authorization.h"

#include <algorithm>
#include <map>

#include "drydock/cluster/field_check.h"

namespace drydock {
namespace {

ApiResult<> review_slice(const Identity& who, const Json& before, const Json& after) {
  for (const Json* object : {&before, &after}) {
    const std::string node = text_at(value_at(*object, "spec"), "nodeName");
    if (!node.empty() && node != who.node) {
      // Without a reason of its own a policy's denial is 422.
      return ApiError{.code = 422,
                      .reason = "Invalid",
                      .message = "resourceslices.resource.k8s.io \"" +
                                 text_at(value_at(*object, "metadata"), "name") +
                                 "\" is forbidden: ValidatingAdmissionPolicy 'own-node' with binding "
                                 "'own-node' denied request: this user may only modify resourceslices that "
                                 "belong to its node " +
                                 who.node + ", not those of node " + node,
                      .causes = {}};
    }
  }
  return {};
}

std::map<std::string, Json> devices_by_key(const Json& claim) {
  std::map<std::string, Json> out;
  for (const Json& entry : value_at(value_at(claim, "status"), "devices")) {
    out[text_at(entry, "driver") + "/" + text_at(entry, "pool") + "/" + text_at(entry, "device") + "/" +
        text_at(entry, "shareID")] = entry;
  }
  return out;
}

/// The drivers whose entries differ.
std::set<std::string> changed_drivers(const Json& before, const Json& after) {
  const auto old_entries = devices_by_key(before);
  const auto new_entries = devices_by_key(after);
  std::set<std::string> out;
  for (const auto& [these, others] :
       {std::pair(&old_entries, &new_entries), std::pair(&new_entries, &old_entries)}) {
    for (const auto& [key, entry] : *these) {
      const auto other = others->find(key);
      if (other == others->end() || other->second != entry) {
        out.insert(text_at(entry, "driver"));
      }
    }
  }
  return out;
}

/// The nodes that the claim's allocation names; empty: it can be used on any.
std::set<std::string> allocated_nodes(const Json& claim) {
  std::set<std::string> out;
  const Json& allocation = value_at(value_at(claim, "status"), "allocation");
  for (const Json& term : value_at(value_at(allocation, "nodeSelector"), "nodeSelectorTerms")) {
    for (const Json& field : value_at(term, "matchFields")) {
      for (const Json& value : value_at(field, "values")) {
        out.insert(value.is_string() ? value.get<std::string>() : value.dump());
      }
    }
  }
  return out;
}

ApiError forbidden(const Json& claim, const std::string& field, const std::string& why) {
  return ApiError::invalid(
      "ResourceClaim.resource.k8s.io", text_at(value_at(claim, "metadata"), "name"),
      {{.field = field, .message = "Forbidden: " + why, .reason = "FieldValueForbidden"}});
}

ApiResult<> review_claim_status(const Identity& who, const Json& before, const Json& after) {
  for (const char* key : {"allocation", "reservedFor"}) {
    if (value_at(value_at(before, "status"), key) != value_at(value_at(after, "status"), key)) {
      return forbidden(after, "status." + std::string(key),
                       "user " + who.user +
                           " may not change it: that needs permission for the resource "
                           "resourceclaims/binding");
    }
  }
  const auto drivers = changed_drivers(before, after);
  for (const std::string& driver : drivers) {
    if (!who.drivers.empty() && !who.drivers.contains(driver)) {
      return forbidden(after, "status.devices",
                       "user " + who.user + " may not change devices of driver " + driver +
                           ": that needs permission for the resource resourceclaims/driver named " + driver);
    }
  }
  const auto nodes = allocated_nodes(before);
  if (!drivers.empty() && !nodes.empty() && nodes != std::set{who.node}) {
    return forbidden(after, "status.devices",
                     "user " + who.user + " is on node " + who.node +
                         ", but the claim is allocated to node " + *nodes.begin() +
                         ": that needs the verb arbitrary-node:patch or arbitrary-node:update");
  }
  return {};
}

}  // namespace

ApiResult<> review_write(const Identity& who, const Kind& kind, const Json& before, const Json& after,
                         Part part) {
  if (&kind == &kinds::kResourceSlice) {
    return review_slice(who, before, after);
  }
  if (&kind == &kinds::kResourceClaim && part == Part::kStatus && !after.is_null()) {
    return review_claim_status(who, before, after);
  }
  return {};
}

}  // namespace drydock
