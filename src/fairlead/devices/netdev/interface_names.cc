// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/netdev/interface_names.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "fairlead/devices/netdev/netdev_kind.h"

namespace fairlead::devices::netdev {
namespace {

/// A name that several devices of the claim ask for: of several requests, or of one for several devices; or
/// several parts of a device.
Error name_asked_for_twice(const std::vector<DevicePlan>& devices, const DevicePlan& first,
                           const DevicePlan& second) {
  const NetdevPlan* plan = find_netdev_plan(second);
  const std::string begin = plan->interface_name_path + ": \"" + plan->interface_name + "\" ";
  if (first.request != second.request) {
    return {Code::kInvalid, begin + "is the interface name of two devices (requests " + first.request +
                                " and " + second.request +
                                "); each interface of a pod needs a name of its own"};
  }
  const auto number = std::ranges::count(devices, second.request, &DevicePlan::request);
  if (number == 1) {
    return {Code::kInvalid, begin + "is the interface name of two parts of the device of request " +
                                second.request + "; each interface of a pod needs a name of its own"};
  }
  const std::string count = std::to_string(number);
  return {Code::kInvalid, begin + "would be the interface name of " +
                              (count == "2" ? "both" : "all " + count) + " devices of request " +
                              second.request + " (count " + count + "); leave interfaceName out or make " +
                              (count == "2" ? "two" : count) + " requests"};
}

}  // namespace

Result<> assign_interface_names(std::vector<DevicePlan>& devices, const TakenNames& taken) {
  std::map<std::string, const DevicePlan*> names;
  for (const DevicePlan* device : all_parts(devices)) {
    const NetdevPlan* plan = find_netdev_plan(*device);
    if (plan == nullptr || plan->interface_name.empty()) {
      continue;
    }
    const auto [other, is_new] = names.emplace(plan->interface_name, device);
    if (!is_new) {
      return name_asked_for_twice(devices, *other->second, *device);
    }
    if (const auto claim = taken.find(plan->interface_name); claim != taken.end()) {
      return Error(Code::kExists, plan->interface_name_path + ": \"" + plan->interface_name +
                                      "\" is the name of an interface of claim " + claim->second +
                                      " of the same pod; each interface of a pod needs a name of its own");
    }
  }
  int number = 1;
  const auto give_name = [&](DevicePlan& device) {
    const NetdevPlan* plan = find_netdev_plan(device);
    if (plan == nullptr || !plan->interface_name.empty()) {
      return;
    }
    std::string name;
    do {
      name = "net" + std::to_string(number++);
    } while (names.contains(name) || taken.contains(name));
    NetdevPlan named = *plan;
    named.interface_name = std::move(name);
    device.body = std::make_shared<const NetdevBody>(std::move(named));
  };
  for (DevicePlan& device : devices) {
    give_name(device);
    std::ranges::for_each(device.parts, give_name);
  }
  return {};
}

}  // namespace fairlead::devices::netdev
