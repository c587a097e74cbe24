// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/claims/config_resolve.h"

#include <gmock/gmock.h>

#include <set>

namespace fairlead::dra {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::string_view kDriver = "dra.example.com";

kube::AllocationResult result(const std::string& request, const std::string& device,
                              std::string_view driver = kDriver) {
  return {.request = request,
          .driver = std::string(driver),
          .pool = "node-1",
          .device = device,
          .share_id = "",
          .admin_access = false,
          .consumed_capacity = {}};
}

kube::AllocationConfig config(bool from_class, std::vector<std::string> requests,
                              const std::string& parameters, std::string_view driver = kDriver) {
  return {.from_class = from_class,
          .requests = std::move(requests),
          .driver = std::string(driver),
          .parameters = parameters};
}

kube::ResourceClaim claim(std::vector<std::string> requests, std::vector<kube::AllocationResult> results,
                          std::vector<kube::AllocationConfig> configs = {}) {
  kube::ResourceClaim out;
  out.meta.name = "data-net";
  out.meta.namespace_ = "default";
  out.meta.uid = "11111111-2222-3333-4444-555555555555";
  out.request_names = std::move(requests);
  out.allocation =
      kube::Allocation{.results = std::move(results), .config = std::move(configs), .node_name = "node-1"};
  return out;
}

std::vector<std::string> parameters_of(const AllocatedDevice& device) {
  std::vector<std::string> out;
  for (const DeviceConfig& entry : device.config) {
    out.push_back(entry.parameters);
  }
  return out;
}

TEST(ResolveConfig, WhatTheDriverReportedOfADevice_ComesBackToThatDevice) {
  auto in = claim({"nic"}, {result("nic", "eth1"), result("nic", "eth2"), result("nic", "eth3")});
  in.allocation->results[1].share_id = "share";
  const auto reported = [&](const std::string& driver, const std::string& device, const std::string& share,
                            const std::string& data) {
    in.reported.push_back(
        {.driver = driver, .pool = "node-1", .device = device, .share_id = share, .data = data});
  };
  reported("other.example.com", "eth1", "", "theirs");
  reported(std::string(kDriver), "eth2", "another share", "not this");
  reported(std::string(kDriver), "eth2", "share", "second");
  reported(std::string(kDriver), "eth1", "", "first");
  const auto out = resolve_config(in, kDriver);
  ASSERT_TRUE(out) << out.error().what();
  EXPECT_EQ(out->devices[0].reported, "first");
  EXPECT_EQ(out->devices[1].reported, "second");
  EXPECT_EQ(out->devices[2].reported, "");
}

TEST(ResolveConfig, CopiesWhatTheDriverNeeds) {
  auto in = claim({"nic"}, {result("nic", "eth1")});
  in.allocation->results[0].share_id = "share";
  in.allocation->results[0].admin_access = true;
  in.allocation->results[0].consumed_capacity = {{"slots", "1"}};
  in.reserved_for = {{.api_group = "", .resource = "pods", .name = "pod-1", .uid = "u1"},
                     {.api_group = "example.com", .resource = "things", .name = "t", .uid = "u2"}};
  const auto out = resolve_config(in, kDriver);
  ASSERT_TRUE(out) << out.error().what();
  EXPECT_EQ(out->name, "data-net");
  EXPECT_EQ(out->namespace_, "default");
  EXPECT_EQ(out->uid, in.meta.uid);
  ASSERT_EQ(out->reserved_for.size(), 1U);
  EXPECT_EQ(out->reserved_for[0].uid, "u1");
  ASSERT_EQ(out->devices.size(), 1U);
  EXPECT_EQ(out->devices[0].pool, "node-1");
  EXPECT_EQ(out->devices[0].device, "eth1");
  EXPECT_EQ(out->devices[0].share_id, "share");
  EXPECT_TRUE(out->devices[0].admin_access);
  EXPECT_EQ(out->devices[0].consumed_capacity.at("slots"), "1");
}

TEST(ResolveConfig, NameInThePod_IsThatOfTheAnnotation_ElseTheClaims) {
  auto in = claim({"nic"}, {result("nic", "eth1")});
  EXPECT_EQ(resolve_config(in, kDriver)->pod_claim_name, "data-net");
  in.meta.annotations = {{"resource.kubernetes.io/pod-claim-name", "fast"}};
  EXPECT_EQ(resolve_config(in, kDriver)->pod_claim_name, "fast");
}

TEST(ResolveConfig, OtherDrivers_AreLeftOut) {
  const auto out = resolve_config(
      claim({"nic", "gpu"}, {result("gpu", "gpu0", "gpu.example.com"), result("nic", "eth1")},
            {config(false, {}, "{\"gpu\":1}", "gpu.example.com"), config(false, {}, "{\"nic\":1}")}),
      kDriver);
  ASSERT_TRUE(out) << out.error().what();
  ASSERT_EQ(out->devices.size(), 1U);
  EXPECT_EQ(out->devices[0].device, "eth1");
  EXPECT_THAT(parameters_of(out->devices[0]), ElementsAre("{\"nic\":1}"));
  EXPECT_EQ(out->devices[0].config[0].path, "config[1] of the claim: opaque.parameters");
}

TEST(ResolveConfig, ClassComesFirst_OrderIsKept) {
  const auto out = resolve_config(claim({"nic"}, {result("nic", "eth1")},
                                        {config(true, {}, "c1"), config(false, {}, "m1"),
                                         config(true, {}, "c2"), config(false, {}, "m2")}),
                                  kDriver);
  ASSERT_TRUE(out) << out.error().what();
  EXPECT_THAT(parameters_of(out->devices[0]), ElementsAre("c1", "c2", "m1", "m2"));
  EXPECT_TRUE(out->devices[0].config[1].from_class);
  EXPECT_EQ(out->devices[0].config[1].path, "config[1] of the DeviceClass: opaque.parameters");
  EXPECT_FALSE(out->devices[0].config[2].from_class);
}

std::vector<std::string> paths_of(const AllocatedDevice& device) {
  std::vector<std::string> out;
  for (const DeviceConfig& entry : device.config) {
    out.push_back(entry.path.substr(0, entry.path.find(':')));
  }
  return out;
}

TEST(ResolveConfig, ClassWithOneEntry_TheClaimsFirstIsStillItsFirst) {
  auto in = claim({"nic"}, {result("nic", "eth1")}, {config(true, {"nic"}, "c0"), config(false, {}, "m0")});
  in.request_classes = {{"nic", "network-devices"}};
  in.config = {config(false, {}, "m0")};
  const auto out = resolve_config(in, kDriver);
  ASSERT_TRUE(out) << out.error().what();
  EXPECT_THAT(paths_of(out->devices[0]),
              ElementsAre("config[0] of DeviceClass network-devices", "config[0] of the claim"));
}

std::vector<std::vector<std::string>> classes_of(const AllocatedDevice& device) {
  std::vector<std::vector<std::string>> out;
  for (const DeviceConfig& entry : device.config) {
    out.push_back(entry.classes);
  }
  return out;
}

TEST(ResolveConfig, ClassEntry_IsOfTheClassOfTheRequestsThatItNames) {
  auto in = claim({"a", "b"}, {result("a", "d1"), result("b", "d2")},
                  {config(true, {"a"}, "c1"), config(true, {"b"}, "c2"), config(false, {}, "m0")});
  in.request_classes = {{"a", "first"}, {"b", "second"}};
  const auto out = resolve_config(in, kDriver);
  ASSERT_TRUE(out) << out.error().what();
  EXPECT_THAT(classes_of(out->devices[0]), ElementsAre(ElementsAre("first"), IsEmpty()));
  EXPECT_THAT(classes_of(out->devices[1]), ElementsAre(ElementsAre("second"), IsEmpty()));
  EXPECT_TRUE(out->devices[0].config[0].is_class_certain());
}

TEST(ResolveConfig, ClassEntryWithoutRequests_IsCertainInAClaimOfOneClassOnly) {
  // Kubernetes 1.37 clears the list of a class's entry where all requests use that class.
  auto in = claim({"a", "b", "main", "main/x", "main/y"}, {result("a", "d1"), result("main/y", "d2")},
                  {config(true, {}, "c1")});
  in.request_classes = {{"a", "first"}, {"b", "second"}, {"main/x", "second"}, {"main/y", "first"}};
  auto out = resolve_config(in, kDriver);
  ASSERT_TRUE(out) << out.error().what();
  EXPECT_THAT(classes_of(out->devices[0]), ElementsAre(ElementsAre("first")))
      << "only what was allocated counts";
  EXPECT_EQ(out->devices[0].config[0].path, "config[0] of DeviceClass first: opaque.parameters");

  // A device of another driver counts, too: its class may have an entry for ours.
  in.allocation->results.push_back(result("b", "gpu0", "gpu.example.com"));
  out = resolve_config(in, kDriver);
  ASSERT_TRUE(out) << out.error().what();
  EXPECT_THAT(classes_of(out->devices[0]), ElementsAre(ElementsAre("first", "second")));
  EXPECT_FALSE(out->devices[0].config[0].is_class_certain());
  EXPECT_EQ(out->devices[0].config[0].path, "config[0] of the DeviceClass: opaque.parameters");
}

TEST(ResolveConfig, ClassEntryOfARequestWhoseClassIsNotKnown_IsNotCertain) {
  auto in = claim({"a"}, {result("a", "d1")}, {config(true, {"a"}, "c1")});
  const auto out = resolve_config(in, kDriver);
  ASSERT_TRUE(out) << out.error().what();
  EXPECT_FALSE(out->devices[0].config[0].is_class_certain());
}

TEST(ResolveConfig, ClassEntryOfMain_IsThatOfTheSubRequestThatWasTaken) {
  auto in = claim({"main", "main/x", "main/y"}, {result("main/y", "d1")}, {config(true, {"main"}, "c1")});
  in.request_classes = {{"main/x", "first"}, {"main/y", "second"}};
  const auto out = resolve_config(in, kDriver);
  ASSERT_TRUE(out) << out.error().what();
  EXPECT_THAT(classes_of(out->devices[0]), ElementsAre(ElementsAre("second")));
}

TEST(ResolveConfig, IndexesCountWhatOthersWrote) {
  // Two classes, one of them asked for twice; entries of another driver in both; one for a sub-request that
  // was not taken, which the allocation does not have; one for two requests, which it has twice.
  auto in = claim(
      {"a", "b", "main", "main/x", "main/y"}, {result("a", "d1"), result("b", "d2"), result("main/y", "d3")},
      {config(true, {"a", "b"}, "gpu", "gpu.example.com"), config(true, {"a", "b"}, "c1"),
       config(true, {"main/y"}, "y0"), config(false, {"a", "b"}, "m1"), config(false, {"a", "b"}, "m1"),
       config(false, {"main/y"}, "m3"), config(false, {"main"}, "m4")});
  in.request_classes = {{"a", "first"}, {"b", "first"}, {"main/x", "first"}, {"main/y", "second"}};
  in.config = {config(false, {"main/x"}, "m0"), config(false, {"a", "b"}, "m1"),
               config(false, {"a"}, "gpu", "gpu.example.com"), config(false, {"main/y"}, "m3"),
               config(false, {"main"}, "m4")};
  const auto out = resolve_config(in, kDriver);
  ASSERT_TRUE(out) << out.error().what();
  EXPECT_THAT(paths_of(out->devices[1]), ElementsAre("config[1] of DeviceClass first",
                                                     "config[1] of the claim", "config[1] of the claim"));
  EXPECT_THAT(paths_of(out->devices[2]), ElementsAre("config[0] of DeviceClass second",
                                                     "config[3] of the claim", "config[4] of the claim"));
}

TEST(ResolveConfig, EntryForAllRequestsOfTheClaim_MayComeWithoutThem) {
  // Newer allocators write an empty list then, once for each request all the same.
  auto in = claim({"a", "b"}, {result("a", "d1"), result("b", "d2")},
                  {config(false, {}, "m0"), config(false, {}, "m0"), config(false, {"b"}, "m1")});
  in.config = {config(false, {"a", "b"}, "m0"), config(false, {"b"}, "m1")};
  const auto out = resolve_config(in, kDriver);
  ASSERT_TRUE(out) << out.error().what();
  EXPECT_THAT(paths_of(out->devices[0]), ElementsAre("config[0] of the claim", "config[0] of the claim"));
  EXPECT_THAT(paths_of(out->devices[1]),
              ElementsAre("config[0] of the claim", "config[0] of the claim", "config[1] of the claim"));
}

TEST(ResolveConfig, ClassWhoseEntriesStandOnceForEachRequest) {
  auto in = claim({"a", "b"}, {result("a", "d1"), result("b", "d2")},
                  {config(true, {"a"}, "c0"), config(true, {"a"}, "c1"), config(true, {"b"}, "c0"),
                   config(true, {"b"}, "c1")});
  in.request_classes = {{"a", "net"}, {"b", "net"}};
  const auto out = resolve_config(in, kDriver);
  ASSERT_TRUE(out) << out.error().what();
  EXPECT_THAT(paths_of(out->devices[1]),
              ElementsAre("config[0] of DeviceClass net", "config[1] of DeviceClass net"));
}

TEST(ResolveConfig, Requests_SelectTheDevice) {
  const auto out = resolve_config(
      claim({"a", "b", "main/x", "main/y"},
            {result("a", "d1"), result("b", "d2"), result("main/x", "d3"), result("main/y", "d4")},
            {config(false, {}, "all"), config(false, {"b"}, "only-b"), config(false, {"main"}, "main"),
             config(false, {"main/y", "a"}, "y-and-a")}),
      kDriver);
  ASSERT_TRUE(out) << out.error().what();
  ASSERT_EQ(out->devices.size(), 4U);
  EXPECT_THAT(parameters_of(out->devices[0]), ElementsAre("all", "y-and-a"));
  EXPECT_THAT(parameters_of(out->devices[1]), ElementsAre("all", "only-b"));
  EXPECT_THAT(parameters_of(out->devices[2]), ElementsAre("all", "main"));
  EXPECT_THAT(parameters_of(out->devices[3]), ElementsAre("all", "main", "y-and-a"));
}

TEST(ResolveConfig, NamesThatOnlyBeginAlike_DoNotMatch) {
  const auto out = resolve_config(
      claim({"main", "mainly"}, {result("mainly", "d1")}, {config(false, {"main"}, "no")}), kDriver);
  ASSERT_TRUE(out) << out.error().what();
  EXPECT_THAT(parameters_of(out->devices[0]), IsEmpty());
}

TEST(ResolveConfig, RequestThatDoesNotExist_NamesTheField) {
  const auto out = resolve_config(claim({"nic", "main/x"}, {result("nic", "eth1")},
                                        {config(false, {}, "{}"), config(false, {"nic", "nicc"}, "{}")}),
                                  kDriver);
  ASSERT_FALSE(out);
  EXPECT_EQ(out.error().code(), Code::kInvalid);
  EXPECT_EQ(out.error().what(),
            "status.allocation.devices.config[1].requests[1]: the claim has no request \"nicc\" (it has "
            "\"nic\", \"main/x\")");
}

TEST(ResolveConfig, SubRequestThatDoesNotExist_NamesTheField) {
  const auto out = resolve_config(
      claim({"main/x"}, {result("main/x", "eth1")}, {config(false, {"main/z"}, "{}")}), kDriver);
  ASSERT_FALSE(out);
  EXPECT_THAT(out.error().what(), ::testing::StartsWith("status.allocation.devices.config[0].requests[0]: "));
}

TEST(ResolveConfig, BadRequestOfAnotherDriver_IsNotOurs) {
  EXPECT_TRUE(resolve_config(
      claim({"nic"}, {result("nic", "eth1")}, {config(false, {"nope"}, "{}", "other.example.com")}),
      kDriver));
}

TEST(ResolveConfig, ManyDevicesWithManyConfigs_ShareTheTexts) {
  std::vector<kube::AllocationResult> results;
  std::vector<kube::AllocationConfig> configs;
  for (int i = 0; i < 32; ++i) {
    results.push_back(result("nic", "eth" + std::to_string(i)));
    configs.push_back(config(false, {}, std::string(std::size_t{10} << 10, static_cast<char>('A' + i))));
  }
  const auto out = resolve_config(claim({"nic"}, std::move(results), std::move(configs)), kDriver);
  ASSERT_TRUE(out) << out.error().what();
  const Claim copy = *out;  // as everybody gets who asks for the record
  std::set<const char*> texts;
  for (const Claim* each : {&*out, &copy}) {
    for (const AllocatedDevice& device : each->devices) {
      ASSERT_EQ(device.config.size(), 32U);
      for (const DeviceConfig& entry : device.config) {
        texts.insert(std::string_view(entry.parameters).data());
      }
    }
  }
  EXPECT_EQ(texts.size(), 32U) << "10 KiB each";
}

TEST(ResolveConfig, ParametersBeyondAnySense_AreRefused) {
  std::vector<kube::AllocationConfig> configs;
  for (int i = 0; i < 65; ++i) {
    configs.push_back(config(false, {}, std::string(std::size_t{16} << 10, static_cast<char>(' ' + i))));
  }
  const auto out = resolve_config(claim({"nic"}, {result("nic", "eth1")}, configs), kDriver);
  ASSERT_FALSE(out);
  EXPECT_EQ(out.error().code(), Code::kInvalid);
  EXPECT_EQ(out.error().what(),
            "status.allocation.devices.config: 1064960 bytes of parameters for the driver "
            "\"dra.example.com\"; at most 1048576 are taken for one claim");
  configs.pop_back();
  configs.push_back(configs.front());  // the same again is nothing more
  EXPECT_TRUE(resolve_config(claim({"nic"}, {result("nic", "eth1")}, configs), kDriver));
}

TEST(ResolveConfig, NotAllocated_IsAnError) {
  auto in = claim({"nic"}, {});
  in.allocation.reset();
  const auto out = resolve_config(in, kDriver);
  ASSERT_FALSE(out);
  EXPECT_EQ(out.error().what(), "status.allocation: the claim is not allocated");
}

TEST(ResolveConfig, NothingOfOurs_IsAnError) {
  const auto out = resolve_config(claim({"gpu"}, {result("gpu", "gpu0", "gpu.example.com")}), kDriver);
  ASSERT_FALSE(out);
  EXPECT_THAT(out.error().what(), ::testing::HasSubstr("no device of the driver \"dra.example.com\""));
}

}  // namespace
}  // namespace fairlead::dra
