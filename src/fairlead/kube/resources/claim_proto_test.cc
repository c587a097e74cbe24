// SPDX-License-Identifier: Apache-2.0
#include "fairlead/kube/resources/claim_proto.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fairlead/kube/status.h"

namespace fairlead::kube {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string field(unsigned number, const std::string& bytes) {
  std::string out;
  out += static_cast<char>((number << 3U) | 2U);
  std::size_t size = bytes.size();
  for (; size >= 128; size >>= 7U) {
    out += static_cast<char>((size & 127U) | 128U);
  }
  out += static_cast<char>(size);
  return out + bytes;
}

std::string envelope(const std::string& claim, const std::string& kind = "ResourceClaim") {
  return std::string("k8s\0", 4) + field(1, field(1, "resource.k8s.io/v1") + field(2, kind)) +
         field(2, claim);
}

const std::string kMetadata = field(1, field(1, "c") + field(5, "uid-1") + field(6, "77"));
// Spaces, an order of its own, and fields of any kind that we know nothing of.
const std::string kSpec = field(2, "{\"type\": \"netdev\",  \"netdev\": {}}");
const std::string kAllocation = field(1, std::string(300, 'a') + "{ \"z\": 1, \"a\": \"<&>\" }");
const std::string kNewFields = std::string("\x48\x96\x01") + "\x51" + "12345678" + "\x5d" + "1234";

std::string claim_with(const std::string& devices) {
  return kMetadata + kSpec + kNewFields + field(3, kAllocation + devices);
}

const std::string kOthers = field(4, field(1, "other.example.com") + field(2, "p") + field(3, "d"));

TEST(ClaimProto, DevicesOfTheDriverAreReplacedAndAllElseIsKept) {
  const std::string own = field(4, field(1, "d.example.com") + field(2, "p") + field(3, "old"));
  const DeviceStatus device{.driver = "d.example.com",
                            .pool = "p",
                            .device = "eth1",
                            .share_id = "share",
                            .conditions = {{.type = "Ready",
                                            .status = "True",
                                            .reason = "Attached",
                                            .message = "m",
                                            .last_transition_time = "2026-01-01T00:00:00Z"}},
                            .data = {},
                            .interface_name = "net1",
                            .ips = {"10.0.0.5/24", "2001:db8::1/64"},
                            .hardware_address = "02:00:00:00:00:01"};
  const auto changed =
      replace_claim_devices(envelope(claim_with(own + kOthers)), "uid-1", "d.example.com", {device});
  ASSERT_TRUE(changed) << changed.error().what();
  const std::string time = "\x08\x80\xf2\xd6\xca\x06";  // 1767225600
  const std::string entry =
      field(4, field(1, "d.example.com") + field(2, "p") + field(3, "eth1") +
                   field(4, field(1, "Ready") + field(2, "True") + field(4, time) + field(5, "Attached") +
                                field(6, "m")) +
                   field(6, field(1, "net1") + field(2, "10.0.0.5/24") + field(2, "2001:db8::1/64") +
                                field(3, "02:00:00:00:00:01")) +
                   field(7, "share"));
  EXPECT_EQ(*changed, envelope(kMetadata + kSpec + kNewFields + field(3, kAllocation + kOthers + entry)));
}

TEST(ClaimProto, NoDevices_RemovesOursOnly) {
  const std::string own = field(4, field(1, "d.example.com") + field(2, "p") + field(3, "old"));
  const auto changed =
      replace_claim_devices(envelope(claim_with(own + kOthers)), "uid-1", "d.example.com", {});
  ASSERT_TRUE(changed);
  EXPECT_THAT(*changed, HasSubstr("other.example.com"));
  EXPECT_THAT(*changed, Not(HasSubstr("d.example.com\x12")));
}

TEST(ClaimProto, AnotherClaimOfThatName_IsNotIt) {
  const auto changed = replace_claim_devices(envelope(claim_with("")), "uid-2", "d", {});
  ASSERT_FALSE(changed);
  EXPECT_EQ(changed.error().code(), Code::kNotFound);
}

TEST(ClaimProto, WhatIsNoClaim_IsCorrupt) {
  EXPECT_EQ(replace_claim_devices("{}", "u", "d", {}).error().code(), Code::kCorrupt);
  EXPECT_THAT(replace_claim_devices(envelope("", "Pod"), "u", "d", {}).error().what(), HasSubstr("Pod"));
}

TEST(ClaimProto, CutAnywhere_IsCorruptOrAnotherUidAndNeverRead) {
  const std::string whole = envelope(claim_with(kOthers));
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const auto changed = replace_claim_devices(whole.substr(0, size), "uid-1", "d", {});
    EXPECT_FALSE(changed) << size;
  }
  for (std::size_t at = 4; at < whole.size(); ++at) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(0xFF);
    (void)replace_claim_devices(damaged, "uid-1", "d", {});  // the sanitizers look on
  }
}

std::string refusal(const std::string& message, const std::string& reason) {
  return std::string("k8s\0", 4) + field(1, field(1, "v1") + field(2, "Status")) +
         field(2, field(1, "") + field(2, "Failure") + field(3, message) + field(4, reason) + "\x30\x94\x03");
}

/// The claim is gone: the answer must be as clear as one in JSON, or the write is tried for ever.
TEST(ClaimProto, RefusalInProtobuf_IsUnderstood) {
  const Error gone =
      error_of_status(404, refusal(R"(resourceclaims.resource.k8s.io "c" not found)", "NotFound"));
  EXPECT_EQ(gone.code(), Code::kNotFound);
  EXPECT_EQ(gone.what(), R"(resourceclaims.resource.k8s.io "c" not found (HTTP 404))");
  EXPECT_EQ(error_of_status(409, refusal("taken", "AlreadyExists")).code(), Code::kExists);
  EXPECT_EQ(error_of_status(404, refusal("", "NotFound")).what(), "NotFound (HTTP 404)");
}

TEST(ClaimProto, BytesThatAreNoStatus_AreQuotedAsText) {
  const Error strange = error_of_status(502, std::string("k8s\0\xff\xfe\n", 7));
  EXPECT_EQ(strange.what(), "the API server answered \"k8s \\xff\\xfe \" (HTTP 502)");
  EXPECT_FALSE(read_proto_status(envelope(claim_with(""))));
}

}  // namespace
}  // namespace fairlead::kube
