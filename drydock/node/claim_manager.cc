// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/claim_manager.h"

#include <algorithm>
#include <utility>

namespace drydock {
namespace {

std::string key_of(const ClaimId& id) { return id.namespace_ + "/" + id.name; }

const ClaimId* find_claim(const std::vector<ClaimId>& claims, const std::string& uid) {
  const auto found =
      std::find_if(claims.begin(), claims.end(), [&](const ClaimId& c) { return c.uid == uid; });
  return found == claims.end() ? nullptr : &*found;
}

/// The kubelet's checks of a response: no claim that was not asked for, no error, none missing.
Result<> check_answers(const std::string& method, const std::vector<ClaimId>& claims,
                       const ClaimAnswers& answers) {
  for (const auto& [uid, answer] : answers) {
    const auto* claim = find_claim(claims, uid);
    if (claim == nullptr) {
      return Error(Code::kInvalid, method + " returned result for unknown claim UID " + uid);
    }
    if (!answer.error.empty()) {
      return Error(Code::kInternal,
                   method + " failed for ResourceClaim " + claim->name + ": " + answer.error);
    }
  }
  if (answers.size() < claims.size()) {
    return Error(Code::kInvalid,
                 method + " skipped " + std::to_string(claims.size() - answers.size()) + " ResourceClaims");
  }
  return {};
}

bool is_for(const PreparedDevice& device, const std::string& request) {
  return request.empty() || device.requests.empty() ||
         std::find(device.requests.begin(), device.requests.end(), request) != device.requests.end();
}

void add_once(std::vector<std::string>& out, const std::vector<std::string>& ids) {
  for (const auto& id : ids) {
    if (std::find(out.begin(), out.end(), id) == out.end()) {
      out.push_back(id);
    }
  }
}

}  // namespace

Result<ClaimManager::Batches> ClaimManager::enter(const std::string& pod_uid,
                                                  const std::vector<AllocatedClaim>& claims) {
  // A driver must be there even if all its claims are prepared already.
  for (const auto& claim : claims) {
    for (const auto& driver : claim.drivers) {
      if (plugins_.plugin(driver) == nullptr) {
        return Error(Code::kUnavailable, "DRA driver " + driver + " is not registered");
      }
    }
  }
  const fairlead::Lock lock(mutex_);
  Batches out;
  for (const auto& claim : claims) {
    auto& record = records_[key_of(claim.id)];
    if (!record.id.uid.empty() && record.id.uid != claim.id.uid) {
      return Error(Code::kBusy, "old ResourceClaim with same name " + claim.id.name + " and different UID " +
                                    record.id.uid + " still exists (previous pod force-deleted?!)");
    }
    record.id = claim.id;
    record.pods.insert(pod_uid);
    if (record.prepared) {
      continue;
    }
    for (const auto& driver : claim.drivers) {
      record.devices.try_emplace(driver);
      auto& batch = out[driver];
      if (find_claim(batch, claim.id.uid) == nullptr) {
        batch.push_back(claim.id);
      }
    }
  }
  return out;
}

Result<> ClaimManager::prepare_batch(const std::string& driver, const std::vector<ClaimId>& claims) {
  const auto plugin = plugins_.plugin(driver);
  if (plugin == nullptr) {
    return Error(Code::kUnavailable, "DRA driver " + driver + " is not registered");
  }
  FL_ASSIGN(const auto answers, plugin->prepare(claims));
  FL_TRY(check_answers("NodePrepareResources", claims, answers));
  const fairlead::Lock lock(mutex_);
  for (const auto& claim : claims) {
    records_[key_of(claim)].devices[driver] = answers.at(claim.uid).devices;
  }
  return {};
}

Result<> ClaimManager::prepare(const std::string& pod_uid, const std::vector<AllocatedClaim>& claims) {
  FL_ASSIGN(const auto batches, enter(pod_uid, claims));
  for (const auto& [driver, batch] : batches) {
    FL_TRY(prepare_batch(driver, batch));
  }
  const fairlead::Lock lock(mutex_);
  for (const auto& claim : claims) {
    records_[key_of(claim.id)].prepared = true;
  }
  return {};
}

std::vector<std::string> ClaimManager::cdi_devices(const ContainerSpec& container,
                                                   const std::vector<AllocatedClaim>& claims) const {
  const fairlead::Lock lock(mutex_);
  std::vector<std::string> out;
  for (const auto& wanted : container.claims) {
    for (const auto& claim : claims) {
      const auto record = records_.find(key_of(claim.id));
      if (claim.pod_claim != wanted.name || record == records_.end()) {
        continue;
      }
      for (const auto& [driver, devices] : record->second.devices) {
        for (const auto& device : devices) {
          if (is_for(device, wanted.request)) {
            add_once(out, device.cdi_ids);
          }
        }
      }
    }
  }
  return out;
}

ClaimManager::Batches ClaimManager::leave(const std::string& pod_uid, const std::vector<ClaimId>& claims) {
  const fairlead::Lock lock(mutex_);
  Batches out;
  for (const auto& claim : claims) {
    const auto found = records_.find(key_of(claim));
    if (found == records_.end() || found->second.id.uid != claim.uid) {
      continue;
    }
    auto& record = found->second;
    if (!record.pods.contains(pod_uid)) {
      continue;
    }
    // The last pod stays in the record until the driver has answered, as in the kubelet.
    if (record.pods.size() > 1) {
      record.pods.erase(pod_uid);
      continue;
    }
    if (record.devices.empty()) {
      records_.erase(found);
      continue;
    }
    record.prepared = false;
    for (const auto& [driver, devices] : record.devices) {
      out[driver].push_back(record.id);
    }
  }
  return out;
}

Result<> ClaimManager::unprepare_batch(const std::string& driver, const std::vector<ClaimId>& claims) {
  const auto plugin = plugins_.plugin(driver);
  if (plugin == nullptr) {
    return Error(Code::kUnavailable, "DRA driver " + driver + " is not registered");
  }
  FL_ASSIGN(const auto answers, plugin->unprepare(claims));
  FL_TRY(check_answers("NodeUnprepareResources", claims, answers));
  const fairlead::Lock lock(mutex_);
  for (const auto& claim : claims) {
    const auto found = records_.find(key_of(claim));
    if (found != records_.end()) {
      found->second.devices.erase(driver);
      if (found->second.devices.empty()) {
        records_.erase(found);
      }
    }
  }
  return {};
}

Result<> ClaimManager::unprepare(const std::string& pod_uid, const std::vector<ClaimId>& claims) {
  for (const auto& [driver, batch] : leave(pod_uid, claims)) {
    FL_TRY(unprepare_batch(driver, batch));
  }
  return {};
}

std::vector<ClaimId> ClaimManager::in_use() const {
  const fairlead::Lock lock(mutex_);
  std::vector<ClaimId> out;
  for (const auto& [key, record] : records_) {
    if (!record.devices.empty()) {
      out.push_back(record.id);
    }
  }
  return out;
}

}  // namespace drydock
