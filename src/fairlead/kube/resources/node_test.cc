// SPDX-License-Identifier: Apache-2.0
#include "fairlead/kube/resources/node.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fairlead/kube/resource.h"

namespace fairlead::kube {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(Node, HasItsUidAndInternalAddresses) {
  const auto node = read_object<Node>(R"({"metadata":{"name":"n1","uid":"u"},"status":{"addresses":[
      {"type":"Hostname","address":"n1"},{"type":"InternalIP","address":"192.0.2.5"},
      {"type":"ExternalIP","address":"203.0.113.7"},{"type":"InternalIP","address":"2001:db8::5"}]}})");
  ASSERT_TRUE(node) << node.error().what();
  EXPECT_EQ(node->meta.uid, "u");
  EXPECT_THAT(node->internal_addresses, ElementsAre("192.0.2.5", "2001:db8::5"));
}

TEST(Node, MayHaveNoAddressesYet) {
  const auto node = read_object<Node>(R"({"metadata":{"name":"n1"},"status":{}})");
  ASSERT_TRUE(node) << node.error().what();
  EXPECT_THAT(node->internal_addresses, IsEmpty());
}

TEST(Node, OfAWrongTypeNamesTheField) {
  const auto node = read_object<Node>(R"({"status":{"addresses":[{"type":1}]}})");
  ASSERT_FALSE(node);
  EXPECT_EQ(node.error().what(), "Node: status.addresses[0].type is not a string");
}

}  // namespace
}  // namespace fairlead::kube
