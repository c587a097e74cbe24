// SPDX-License-Identifier: Apache-2.0
#include "fairlead/kube/resources/claim_status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "fairlead/kube/resource.h"

namespace fairlead::kube {
namespace {

using nlohmann::json;

TEST(ClaimStatus, HoldsAllEntriesOfTheDriver) {
  DeviceStatus device{.driver = "d.example.com", .pool = "p", .device = "eth1", .share_id = "s"};
  device.conditions = {{.type = "Ready",
                        .status = "True",
                        .reason = "Attached",
                        .message = "data0 is up",
                        .last_transition_time = "2026-01-01T00:00:00Z"}};
  device.data = R"({"mtu":9000})";
  device.interface_name = "data0";
  device.ips = {"10.0.0.5/24", "2001:db8::1/64"};
  device.hardware_address = "02:00:00:00:00:01";
  const auto text = claim_status_to_json({.name = "c", .namespace_ = "ns", .uid = "u"}, {device});
  ASSERT_TRUE(text) << text.error().what();
  const json expected = json::parse(R"({"apiVersion":"resource.k8s.io/v1","kind":"ResourceClaim",
    "metadata":{"name":"c","namespace":"ns","uid":"u"},
    "status":{"devices":[{"driver":"d.example.com","pool":"p","device":"eth1","shareID":"s",
      "conditions":[{"type":"Ready","status":"True","reason":"Attached","message":"data0 is up",
                     "lastTransitionTime":"2026-01-01T00:00:00Z"}],
      "data":{"mtu":9000},
      "networkData":{"interfaceName":"data0","ips":["10.0.0.5/24","2001:db8::1/64"],
                     "hardwareAddress":"02:00:00:00:00:01"}}]}})");
  EXPECT_EQ(json::parse(*text), expected);
}

TEST(ClaimStatus, DataThatIsNoObjectIsRefused) {
  const auto text = claim_status_to_json({.name = "c", .namespace_ = "ns", .uid = "u"},
                                         {{.device = "eth1", .data = "[1]"}});
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().code(), Code::kInvalid);
}

}  // namespace
}  // namespace fairlead::kube
