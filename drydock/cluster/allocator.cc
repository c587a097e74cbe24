// SPDX-License-Identifier: Apache-2.0
// The search among the devices that match, and the allocation that a claim gets for what was chosen.
#include "drydock/cluster/allocator.h"

#include <algorithm>
#include <utility>

#include "drydock/cluster/allocation_explain.h"
#include "drydock/cluster/allocation_plan.h"
#include "drydock/cluster/device_pool.h"
#include "drydock/cluster/field_check.h"
#include "drydock/cluster/ids.h"
#include "drydock/cluster/object_write.h"

namespace drydock {
namespace allocation {
namespace {

/// A search longer than this is given up: the pod is tried again when something changes.
constexpr std::size_t kMaxSteps = 200'000;
constexpr std::size_t kMaxResults = 32;  // per claim

struct Choice {
  std::size_t claim = 0;
  const Alternative* alternative = nullptr;
  const Candidate* candidate = nullptr;
};

class Search {
 public:
  Search(const DevicePools& pools, DeviceUsage usage, const std::vector<ClaimPlan>& plans)
      : pools_(pools), usage_(std::move(usage)), plans_(plans) {}

  bool run() { return place_request(0, 0); }
  [[nodiscard]] bool gave_up() const { return steps_ > kMaxSteps; }
  [[nodiscard]] const std::vector<Choice>& choices() const { return choices_; }

 private:
  bool place_request(std::size_t claim, std::size_t request) {
    if (claim == plans_.size()) {
      return true;
    }
    if (request == plans_[claim].requests.size()) {
      return place_request(claim + 1, 0);
    }
    return std::ranges::any_of(
        plans_[claim].requests[request].alternatives, [&](const Alternative& alternative) {
          return alternative.all ? place_all(claim, request, alternative)
                                 : place_some(claim, request, alternative, 0, alternative.count);
        });
  }

  /// Every matching device, at least one, and each must be free.
  bool place_all(std::size_t claim, std::size_t request, const Alternative& alternative) {
    const std::size_t before = choices_.size();
    bool fits = !alternative.candidates.empty() && alternative.candidates.size() == alternative.matched &&
                pools_.incomplete_pools.empty();
    for (std::size_t i = 0; fits && i < alternative.candidates.size(); ++i) {
      fits = take(claim, alternative, alternative.candidates[i]);
    }
    if (fits && place_request(claim, request + 1)) {
      return true;
    }
    while (choices_.size() > before) {
      give_back();
    }
    return false;
  }

  bool place_some(std::size_t claim, std::size_t request, const Alternative& alternative, std::size_t from,
                  std::size_t left) {
    if (left == 0) {
      return place_request(claim, request + 1);
    }
    for (std::size_t i = from; i < alternative.candidates.size() && !gave_up(); ++i) {
      const Candidate& candidate = alternative.candidates[i];
      if (!take(claim, alternative, candidate)) {
        continue;
      }
      // The devices of one request are alike: never try the same set in another order. A shared device may
      // serve the request twice.
      const std::size_t next = pools_.devices[candidate.device].shared ? i : i + 1;
      if (place_some(claim, request, alternative, next, left - 1)) {
        return true;
      }
      give_back();
    }
    return false;
  }

  bool take(std::size_t claim, const Alternative& alternative, const Candidate& candidate) {
    ++steps_;
    const PoolDevice& device = pools_.devices[candidate.device];
    const auto of_claim =
        std::ranges::count_if(choices_, [&](const Choice& choice) { return choice.claim == claim; });
    if (static_cast<std::size_t>(of_claim) >= kMaxResults || !constraints_hold(claim, alternative, device)) {
      return false;
    }
    if (!alternative.admin) {
      if (!usage_.is_free(device, candidate.amounts)) {
        return false;
      }
      usage_.take(device, candidate.amounts);
    }
    choices_.push_back({claim, &alternative, &candidate});
    return true;
  }

  void give_back() {
    const Choice choice = choices_.back();
    choices_.pop_back();
    if (!choice.alternative->admin) {
      usage_.give_back(pools_.devices[choice.candidate->device], choice.candidate->amounts);
    }
  }

  static bool concerns(const Constraint& constraint, const Alternative& alternative) {
    const std::string main = alternative.name.substr(0, alternative.name.find('/'));
    return constraint.requests.empty() ||
           std::ranges::any_of(constraint.requests, [&](const std::string& name) {
             return name == main || name == alternative.name;
           });
  }

  [[nodiscard]] bool constraints_hold(std::size_t claim, const Alternative& alternative,
                                      const PoolDevice& device) const {
    return std::ranges::all_of(plans_[claim].constraints, [&](const Constraint& constraint) {
      return !concerns(constraint, alternative) || fits(constraint, claim, device);
    });
  }

  [[nodiscard]] bool fits(const Constraint& constraint, std::size_t claim, const PoolDevice& device) const {
    const Json& value = attribute_of(device, constraint.attribute);
    if (value.is_null()) {
      return false;
    }
    return std::ranges::all_of(choices_, [&](const Choice& other) {
      if (other.claim != claim || !concerns(constraint, *other.alternative)) {
        return true;
      }
      const bool same = attribute_of(pools_.devices[other.candidate->device], constraint.attribute) == value;
      return same != constraint.distinct;
    });
  }

  const DevicePools& pools_;
  DeviceUsage usage_;
  const std::vector<ClaimPlan>& plans_;
  std::vector<Choice> choices_;
  std::size_t steps_ = 0;
};

Json result_of(const Choice& choice, const DevicePools& pools) {
  const PoolDevice& device = pools.devices[choice.candidate->device];
  Json result = {{"request", choice.alternative->name},
                 {"driver", device.id.driver},
                 {"pool", device.id.pool},
                 {"device", device.id.device}};
  if (choice.alternative->admin) {
    result["adminAccess"] = true;
  }
  if (choice.alternative->request->contains("tolerations")) {
    result["tolerations"] = (*choice.alternative->request)["tolerations"];
  }
  for (const char* key : {"bindingConditions", "bindingFailureConditions"}) {
    if (device.device->contains(key)) {
      result[key] = (*device.device)[key];
    }
  }
  if (device.shared) {
    result["shareID"] = new_uuid();
    for (const auto& [key, amount] : choice.candidate->amounts) {
      result["consumedCapacity"][key] = amount.to_string();
    }
  }
  return result;
}

/// The alternatives that were chosen, in the order of the requests.
std::vector<const Alternative*> chosen_alternatives(const std::vector<Choice>& choices, std::size_t claim) {
  std::vector<const Alternative*> chosen;
  for (const Choice& choice : choices) {
    if (choice.claim == claim && std::ranges::find(chosen, choice.alternative) == chosen.end()) {
      chosen.push_back(choice.alternative);
    }
  }
  return chosen;
}

bool is_relevant(const Json& config, const std::vector<const Alternative*>& chosen) {
  const Json& requests = value_at(config, "requests");
  return requests.empty() || std::ranges::any_of(requests, [&](const Json& entry) {
           const auto name = entry.get<std::string>();
           return std::ranges::any_of(chosen, [&](const Alternative* alternative) {
             return alternative->name == name || alternative->name.starts_with(name + "/");
           });
         });
}

Json config_of(const Json& claim, const std::vector<const Alternative*>& chosen) {
  Json config = Json::array();
  for (const Alternative* alternative : chosen) {
    for (const Json& entry : value_at(value_at(*alternative->device_class, "spec"), "config")) {
      config.push_back(
          {{"source", "FromClass"}, {"requests", {alternative->name}}, {"opaque", entry["opaque"]}});
    }
  }
  for (const Json& entry : value_at(claim["spec"]["devices"], "config")) {
    if (!is_relevant(entry, chosen)) {
      continue;
    }
    Json out = {{"source", "FromClaim"}, {"opaque", entry["opaque"]}};
    if (entry.contains("requests")) {
      out["requests"] = entry["requests"];
    }
    config.push_back(std::move(out));
  }
  return config;
}

Json allocation_of(const ClaimPlan& plan, std::size_t index, const std::vector<Choice>& choices,
                   const DevicePools& pools, const std::string& node) {
  Json results = Json::array();
  bool bound_to_node = false;
  for (const Choice& choice : choices) {
    if (choice.claim == index) {
      results.push_back(result_of(choice, pools));
      bound_to_node = bound_to_node || !pools.devices[choice.candidate->device].on_every_node;
    }
  }
  Json allocation = {{"devices", {{"results", std::move(results)}}}, {"allocationTimestamp", now_rfc3339()}};
  Json config = config_of(*plan.claim, chosen_alternatives(choices, index));
  if (!config.empty()) {
    allocation["devices"]["config"] = std::move(config);
  }
  if (bound_to_node) {
    const Json field = {{"key", "metadata.name"}, {"operator", "In"}, {"values", Json::array({node})}};
    const Json term = {{"matchFields", Json::array({field})}};
    allocation["nodeSelector"]["nodeSelectorTerms"] = Json::array({term});
  }
  return allocation;
}

}  // namespace
}  // namespace allocation

fairlead::Result<std::vector<Json>> allocate(const AllocationInput& input, std::span<const Json> wanted) {
  const DevicePools pools = gather_devices(input);
  const DeviceUsage usage(input.claims);
  const std::string node = object_name(input.node);
  FL_ASSIGN(const auto plans, allocation::make_plans(input, pools, wanted));
  allocation::Search search(pools, usage, plans);
  if (!search.run()) {
    return search.gave_up() ? allocation::denied("the search for devices was given up after " +
                                                 std::to_string(allocation::kMaxSteps) + " steps")
                            : allocation::explain_all(plans, pools, usage, node);
  }
  std::vector<Json> allocations;
  allocations.reserve(plans.size());
  for (std::size_t i = 0; i < plans.size(); ++i) {
    allocations.push_back(allocation::allocation_of(plans[i], i, search.choices(), pools, node));
  }
  return allocations;
}

}  // namespace drydock
