// SPDX-License-Identifier: Apache-2.0
// What the interfaces of a pod's claims are called, and where its containers find the names.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "fairlead/agent/testing/kernel_fixture.h"

namespace fairlead::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Claims of pods, planned one after the other; each is on disk when the next one's turn comes, since one that
/// was planned meanwhile is planned anew (offers_test.cc, Admitted).
class ClaimNames : public KernelTest {
 protected:
  static dra::Claim claim_of_pod(const std::string& uid, const std::string& pod,
                                 const std::vector<Wanted>& devices) {
    dra::Claim out = claim(uid, devices);
    out.reserved_for = {{.name = pod, .uid = "uid-" + pod}};
    return out;
  }

  /// The interface names that a claim gets. From here on it is on disk.
  std::vector<std::string> planned(const dra::Claim& claim) {
    const auto plan = driver_->plan(claim);
    EXPECT_TRUE(plan) << plan.error().what();
    std::vector<std::string> names;
    if (plan) {
      const auto parsed = parse_claim_plan(*plan, registry_);
      for (const auto& device : parsed->devices) {
        names.push_back(device.body->name_in_pod());
      }
      std::erase_if(records_, [&](const auto& record) { return record.claim.uid == claim.uid; });
      records_.push_back({.claim = claim, .plan = *plan, .prepared = {}});
    }
    return names;
  }
};

constexpr auto kVeth = R"("veth")";
constexpr auto kNamedVeth = R"("veth","interfaceName":"data0")";

TEST_F(ClaimNames, DefaultNamesGoOnOverThePodsClaims) {
  EXPECT_THAT(planned(claim_of_pod("u1", "pod", {{kVeth}, {kVeth}})), ElementsAre("net1", "net2"));
  EXPECT_THAT(planned(claim_of_pod("u2", "pod", {{kVeth}})), ElementsAre("net3"));
  // Asked again, it gets what it got; and other pods begin anew.
  EXPECT_THAT(planned(claim_of_pod("u2", "pod", {{kVeth}})), ElementsAre("net3"));
  EXPECT_THAT(planned(claim_of_pod("u3", "other", {{kVeth}})), ElementsAre("net1"));
}

TEST_F(ClaimNames, DefaultNames_OfClaimsThatAreOnDiskAlready) {
  auto record = prepare(claim_of_pod("u1", "pod", {{kVeth}}));
  ASSERT_OK(record);
  records_ = {*record};
  EXPECT_THAT(planned(claim_of_pod("u2", "pod", {{kVeth}})), ElementsAre("net2"));
}

TEST_F(ClaimNames, NameOfAnotherClaimOfThePod_IsRefused) {
  EXPECT_THAT(planned(claim_of_pod("u1", "pod", {{kNamedVeth}})), ElementsAre("data0"));
  const auto refused = driver_->plan(claim_of_pod("u2", "pod", {{kNamedVeth}}));
  ASSERT_FALSE(refused);
  EXPECT_EQ(
      refused.error().what(),
      "config[0].opaque.parameters.netdev.interfaceName: \"data0\" is the name of an interface of claim "
      "claim-u1 of the same pod; each interface of a pod needs a name of its own");
  EXPECT_THAT(planned(claim_of_pod("u3", "other", {{kNamedVeth}})), ElementsAre("data0"));
}

TEST_F(ClaimNames, OneNameForTheDevicesOfOneRequest_SaysWhatToDo) {
  const Wanted nics = {.netdev = kNamedVeth, .request = "nics"};
  EXPECT_EQ(driver_->plan(claim("u1", {nics, nics})).error().what(),
            "config[0].opaque.parameters.netdev.interfaceName: \"data0\" would be the interface name of both "
            "devices of request nics (count 2); leave interfaceName out or make two requests");
  EXPECT_THAT(
      driver_->plan(claim("u1", {nics, nics, nics})).error().what(),
      HasSubstr("of all 3 devices of request nics (count 3); leave interfaceName out or make 3 requests"));
}

TEST_F(ClaimNames, AddressOfAnotherDeviceOfTheClaim_IsRefused) {
  const std::string link = R"("macvlan","master":"eth0","addresses":["192.0.2.10/24"])";
  const auto refused =
      driver_->plan(claim("u1", {{.netdev = link, .request = "a"}, {.netdev = link, .request = "b"}}));
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().what(),
              HasSubstr("addresses[0]: the address 192.0.2.10 is taken on eth0, by request a of this claim"));
}

TEST_F(ClaimNames, VariableOfAnotherClaimOfThePod_IsRefused) {
  dra::Claim first = claim_of_pod("u1", "pod", {{.netdev = kVeth, .request = "b-c"}});
  dra::Claim second = claim_of_pod("u2", "pod", {{.netdev = kVeth, .request = "c"}});
  first.pod_claim_name = "a";
  second.pod_claim_name = "a-b";
  EXPECT_THAT(planned(first), ElementsAre("net1"));
  const auto refused = driver_->plan(second);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kInvalid);
  EXPECT_EQ(
      refused.error().what(),
      "request c of claim claim-u2 and request b-c of claim claim-u1 of the same pod would both be "
      "FAIRLEAD_A_B_C in the environment of a container; give one of the requests, or of the claims in the "
      "pod, another name");
  second.reserved_for = {{.name = "other", .uid = "uid-other"}};
  EXPECT_THAT(planned(second), ElementsAre("net1"));
}

TEST_F(ClaimNames, VariableOfAClaimThatIsOnDiskAlready_IsRefused) {
  dra::Claim first = claim_of_pod("u1", "pod", {{.netdev = kVeth, .request = "b-c"}});
  first.pod_claim_name = "a";
  auto record = prepare(first);
  ASSERT_OK(record);
  records_ = {*record};
  dra::Claim second = claim_of_pod("u2", "pod", {{.netdev = kVeth, .request = "c"}});
  second.pod_claim_name = "a-b";
  const auto refused = driver_->plan(second);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().what(), HasSubstr("would both be FAIRLEAD_A_B_C"));
}

TEST_F(ClaimNames, VariableOfTwoRequestsOfAClaim_IsRefused) {
  const Wanted nics = {.netdev = kVeth, .request = "x"};
  const Wanted other = {.netdev = kVeth, .request = "x-1"};
  dra::Claim both = claim("u1", {nics, nics, other});
  both.pod_claim_name = "fast";
  const auto refused = driver_->plan(both);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().what(),
            "request x-1 and request x (count 2) of claim claim-u1 would both be FAIRLEAD_FAST_X_1 in the "
            "environment of a container; give one of the requests another name");
  dra::Claim one = claim("u2", {nics, other});
  EXPECT_EQ(planned(one).size(), 2U);
  // What is only watched has no variable.
  both.devices[2].admin_access = true;
  both.devices[2].config.clear();
  EXPECT_TRUE(driver_->plan(both));
}

TEST(EnvironmentNames, BeginWithWhatThePodCallsTheClaim) {
  dra::Claim claim{.name = "pod-fast-x7k2", .devices = {{.request = "data-nic"}, {.request = "main/sub"}}};
  claim.pod_claim_name = "fast-1";
  EXPECT_THAT(environment_names(claim), ElementsAre("FAIRLEAD_FAST_1_DATA_NIC", "FAIRLEAD_FAST_1_MAIN"));
  claim.pod_claim_name = "";
  claim.name = "a.b-c";  // written by hand: a DNS subdomain
  claim.devices = {{.request = "nic"}, {.request = "nic"}};
  EXPECT_THAT(environment_names(claim), ElementsAre("FAIRLEAD_A_B_C_NIC_1", "FAIRLEAD_A_B_C_NIC_2"));
}

}  // namespace
}  // namespace fairlead::agent
