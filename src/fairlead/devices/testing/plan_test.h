// SPDX-License-Identifier: Apache-2.0
// Planning on a node made of values, for tests.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fairlead/devices/netdev/link_book.h"
#include "fairlead/devices/netdev/netdev_kind.h"
#include "fairlead/devices/netdev/plan.h"
#include "fairlead/devices/node_questions.h"
#include "fairlead/devices/testing/node.h"

namespace fairlead::devices::testing {

inline constexpr const char* kPath = "config[0].opaque.parameters";
inline constexpr const char* kNic1 = "pci-0000-03-00-1";  // the device that the link nic1 is

class PlanTest : public ::testing::Test {
 protected:
  Result<DevicePlan> plan(const std::string& parameters, const std::string& device = "netdev-virtual") {
    return plan_all({{.parameters = parameters, .path = kPath}}, device);
  }

  Result<DevicePlan> plan_all(std::vector<dra::DeviceConfig> config,
                              const std::string& device = "netdev-virtual", const std::string& slots = "1") {
    const NodeView node(inventory_, options_);
    const dra::AllocatedDevice allocated{.request = "nic",
                                         .pool = "node-a",
                                         .device = device,
                                         .consumed_capacity = {{"slots", slots}},
                                         .config = std::move(config),
                                         .reported = reported_};
    const NodeQuestions ask{.addresses_of = [](netlink::IfIndex link) {
      return std::vector<netlink::ToldAddress>{
          {.address = {.link = link, .prefix = *netlink::IpPrefix::parse("10.9.8.7/24"), .flags = 0x80},
           .told = {1}},
          {.address = {.link = link, .prefix = *netlink::IpPrefix::parse("fe80::1/64"), .scope = 253},
           .told = {2}}};
    }};
    auto resolved = registry_.resolve(allocated.config);
    if (!resolved) {
      return std::move(resolved).error();
    }
    resolved->own_parents = own_parents_;
    return registry_.plan(
        {.device = &allocated, .node = &node, .claim = &claim_, .others = &others_, .ask = &ask}, *resolved);
  }

  /// The sentence for parameters that are refused.
  std::string refusal(const std::string& parameters, const std::string& device = "netdev-virtual") {
    const auto result = plan(parameters, device);
    return result ? "accepted" : result.error().what();
  }
  /// The same for one field of an otherwise good macvlan.
  std::string refused_field(const std::string& field) {
    return refusal(R"({"type":"netdev","netdev":{"kind":"macvlan","master":"eth0",)" + field + "}}");
  }

  static netdev::NetdevPlan body(const DevicePlan& plan) { return *netdev::find_netdev_plan(plan); }

  /// A claim that has this planned: the MAC address or addresses of a macvlan on a link.
  void add_other(const std::string& namespace_, const std::string& name, const std::string& fields) {
    const auto planned = plan(R"({"type":"netdev","netdev":{"kind":)" + fields + "}}");
    ASSERT_TRUE(planned) << planned.error().what();
    others_.add(std::make_shared<const PlannedClaim>(
        PlannedClaim{.namespace_ = namespace_, .name = name, .uid = "uid-" + name, .devices = {*planned}}));
  }

  dra::Claim claim_ = {.namespace_ = "tenant", .name = "mine", .uid = "uid-mine"};
  netdev::LinkBook others_;

  /// Changes the link of that name.
  void change(const std::string& name, const std::function<void(sys::InventoryLink&)>& how) {
    std::vector<sys::InventoryLink> links = inventory_.links();
    for (sys::InventoryLink& link : links) {
      if (link.link.name == name) {
        how(link);
      }
    }
    inventory_ = sys::Inventory(std::move(links));
  }

  OwnParents own_parents_ = OwnParents::kAny;
  std::string reported_;  // the data in the claim's status
  NodeOptions options_ = node_options();
  sys::Inventory inventory_ = inventory();
  Registry registry_ = all_kinds();
};

}  // namespace fairlead::devices::testing
