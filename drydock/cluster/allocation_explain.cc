// SPDX-License-Identifier: Apache-2.0
#include "drydock/cluster/allocation_explain.h"

#include <algorithm>
#include <cstddef>

#include "drydock/cluster/field_check.h"
#include "drydock/cluster/object_write.h"

namespace drydock::allocation {
namespace {

using fairlead::Error;

std::string plural(std::size_t count) {
  return std::to_string(count) + (count == 1 ? " device" : " devices");
}

std::string selector_text(const Alternative& alternative) {
  std::string text;
  for (const Json& selector : value_at(*alternative.request, "selectors")) {
    text += text.empty() ? " and selector `" : "` and `";
    text += text_at(value_at(selector, "cel"), "expression");
  }
  return text.empty() ? text : text + "`";
}

/// Says why one alternative alone cannot be had; empty when it could be.
std::string explain(const Alternative& alternative, const DevicePools& pools, const DeviceUsage& usage,
                    const std::string& node) {
  DeviceUsage scratch = usage;
  std::size_t free = 0;
  for (const Candidate& candidate : alternative.candidates) {
    const PoolDevice& device = pools.devices[candidate.device];
    while (free < std::max<std::size_t>(alternative.count, alternative.candidates.size()) &&
           (alternative.admin || scratch.is_free(device, candidate.amounts))) {
      ++free;
      scratch.take(device, candidate.amounts);
      if (!device.shared || alternative.admin) {
        break;
      }
    }
  }
  const std::size_t needed =
      alternative.all ? std::max<std::size_t>(1, alternative.matched) : alternative.count;
  if (free >= needed) {
    return "";
  }
  std::string text =
      (alternative.all ? "all matching devices are" : plural(needed) + (needed == 1 ? " is" : " are")) +
      std::string(" needed, but ") + std::to_string(alternative.matched) + " of " +
      plural(pools.devices.size()) + " on node " + node + " match deviceclass " +
      in_quotes(object_name(*alternative.device_class)) + selector_text(alternative);
  if (alternative.tolerable < alternative.matched) {
    text += ", " + std::to_string(alternative.matched - alternative.tolerable) + " of them tainted";
  }
  if (alternative.candidates.size() < alternative.tolerable) {
    text += ", " + std::to_string(alternative.tolerable - alternative.candidates.size()) +
            " of them without the requested capacity";
  }
  if (!alternative.candidates.empty()) {
    text += ", and " + std::to_string(free) + " can be had now (the rest is in use)";
  }
  return text;
}

std::string explain_constraints(const ClaimPlan& plan) {
  std::string text;
  for (const Constraint& constraint : plan.constraints) {
    text += (text.empty() ? "" : ", ") +
            std::string(constraint.distinct ? "distinctAttribute " : "matchAttribute ") +
            in_quotes(constraint.attribute);
  }
  return text;
}

}  // namespace

Error explain_all(const std::vector<ClaimPlan>& plans, const DevicePools& pools, const DeviceUsage& usage,
                  const std::string& node) {
  std::string updating;
  for (const std::string& pool : pools.incomplete_pools) {
    updating += "; pool " + pool + " is being updated and not used";
  }
  for (const ClaimPlan& plan : plans) {
    for (const Request& request : plan.requests) {
      std::string why;
      bool possible = false;
      for (const Alternative& alternative : request.alternatives) {
        const std::string one = explain(alternative, pools, usage, node);
        possible = possible || one.empty();
        why += why.empty() ? "request " : "; request ";
        why += in_quotes(alternative.name) + ": " + one;
      }
      if (!possible) {
        return denied(plan.title().append(", ").append(why).append(updating));
      }
    }
  }
  std::string names;
  for (const ClaimPlan& plan : plans) {
    const std::string constraints = explain_constraints(plan);
    names += names.empty() ? "" : ", ";
    names += plan.title();
    names += constraints.empty() ? "" : " (" + constraints + ")";
  }
  return denied(names + ": each request alone could be served, but not all together" + updating);
}

}  // namespace drydock::allocation
