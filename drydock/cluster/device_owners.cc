// SPDX-License-Identifier: Apache-2.0
#include "drydock/cluster/device_owners.h"

#include <utility>

#include "drydock/cluster/field_check.h"

namespace drydock {
namespace {

std::string entry_key(const Json& entry) {
  return text_at(entry, "driver") + "/" + text_at(entry, "device") + "/" + text_at(entry, "pool") + "/" +
         text_at(entry, "shareID");
}

ApiError owner_conflict(const std::string& manager, const Json& entry) {
  const std::string field = ".status.devices[driver=\"" + text_at(entry, "driver") + "\",device=\"" +
                            text_at(entry, "device") + "\",pool=\"" + text_at(entry, "pool") + "\"]";
  return {.code = 409,
          .reason = "Conflict",
          .message = "Apply failed with 1 conflict: conflict with \"" + manager + "\": " + field,
          .causes = {{.field = field,
                      .message = "conflict with \"" + manager + "\"",
                      .reason = "FieldManagerConflict"}}};
}

/// The applying manager becomes an owner of the entry; others stay owners only of what they would have
/// written too.
ApiResult<> take_over(Managers& managers, const Json& stored, const Json& applied, const Store::Apply& how) {
  for (const std::string& other : Managers(managers)) {
    if (other == how.manager || applied == stored) {
      continue;
    }
    if (!how.force) {
      return owner_conflict(other, stored);
    }
    managers.erase(other);
  }
  managers.insert(how.manager);
  return {};
}

}  // namespace

ApiResult<MergedDevices> merge_devices(const Json& stored, const Json& applied, EntryOwners owners,
                                       const Store::Apply& how) {
  MergedDevices merged;
  std::map<std::string, const Json*> given;
  for (const Json& entry : applied) {
    given[entry_key(entry)] = &entry;
  }
  for (const Json& entry : stored) {
    const std::string key = entry_key(entry);
    Managers& managers = owners[key];
    if (const auto mine = given.find(key); mine != given.end()) {
      if (auto taken = take_over(managers, entry, *mine->second, how); !taken) {
        return std::move(taken).error();
      }
      merged.entries.push_back(*mine->second);
      given.erase(mine);
      continue;
    }
    const bool was_mine = managers.erase(how.manager) > 0;
    if (was_mine && managers.empty()) {
      owners.erase(key);
      continue;  // not needed any more
    }
    merged.entries.push_back(entry);
  }
  for (const Json& entry : applied) {
    const std::string key = entry_key(entry);
    if (given.contains(key)) {
      merged.entries.push_back(entry);
      owners[key] = {how.manager};
    }
  }
  merged.owners = std::move(owners);
  return merged;
}

}  // namespace drydock
