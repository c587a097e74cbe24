// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/attach/roll_back.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fairlead/agent/testing/kernel_fixture.h"

namespace fairlead::agent {
namespace {

class RollBack : public KernelTest {
 protected:
  static std::string of_version_0_1(std::size_t index) {
    return "fairlead:net.example.com:u1/" + std::to_string(index);
  }
  std::vector<std::string> aliases_in_pod() {
    return {link(*pod_.socket, "data0").alias, link(*pod_.socket, "ctrl0").alias,
            link(*pod_.socket, "fast0").alias};
  }
};

TEST_F(RollBack, LinksOfAttachedClaims_HaveTheAliasThatVersion01ComparesWith) {
  ASSERT_OK(node_->create_link({.name = "nic1", .kind = netlink::Veth{.peer = {.name = "peer1"}}}));
  auto record = prepare(claim("u1", {{R"("macvlan","interfaceName":"data0","master":"eth0")"},
                                     {R"("veth","interfaceName":"ctrl0")"},
                                     {R"("host-device","interfaceName":"fast0")", "nic1"}}));
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  const auto before = aliases_in_pod();
  EXPECT_NE(before[0], of_version_0_1(0));
  EXPECT_NE(before[2], of_version_0_1(2));

  EXPECT_EQ(mark_for_previous("net.example.com", {*record}, registry_), 1U);
  EXPECT_EQ(aliases_in_pod(), (std::vector{of_version_0_1(0), of_version_0_1(1), of_version_0_1(2)}));
  EXPECT_EQ(mark_for_previous("net.example.com", {*record}, registry_), 1U) << "once more";

  // Rolled forward again: they are this version's, too.
  ASSERT_OK(attach(*record, pod_));
  EXPECT_EQ(driver_->use_of(*record).kind, dra::ClaimUse::Kind::kInUse);
  ASSERT_OK(driver_->unprepare(*record, {}));
  EXPECT_EQ(names(*pod_.socket), std::vector<std::string>{"lo"});
  EXPECT_EQ(link(*node_, "nic1").alias, "");
}

TEST_F(RollBack, ClaimsWithoutAPod_AndThoseThatCannotBeRead_AreNoObstacle) {
  auto waiting = prepare(claim("u2", {{R"("veth","interfaceName":"ctrl0")"}}));
  auto attached = prepare(claim("u1", {{R"("macvlan","interfaceName":"data0","master":"eth0")"}}));
  ASSERT_OK(waiting);
  ASSERT_OK(attached);
  ASSERT_OK(attach(*attached, pod_));
  dra::ClaimRecord damaged = *waiting;
  damaged.plan = "no plan";
  EXPECT_EQ(mark_for_previous("net.example.com", {damaged, *waiting, *attached}, registry_), 2U);
  EXPECT_EQ(link(*pod_.socket, "data0").alias, of_version_0_1(0));
}

}  // namespace
}  // namespace fairlead::agent
