// SPDX-License-Identifier: Apache-2.0
// The example of docs/kinds.md does what the page says: it is the code in the page, and a claim of that kind gets a
// bridge in its pod.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "fairlead/agent/testing/kernel_fixture.h"
#include "fairlead/sys/files.h"
#include "tests/docs/pod_bridge.h"

namespace fairlead::agent {
namespace {

using ::testing::HasSubstr;

std::string source(const std::string& path) {
  auto text = sys::read_file(std::string(FAIRLEAD_SOURCE) + "/" + path);
  EXPECT_TRUE(text) << text.error().what();
  return text ? *std::move(text) : "";
}

TEST(KindsPage, ShowsTheExampleAsItIsBuilt) {
  const std::string code = source("tests/docs/pod_bridge.h");
  ASSERT_FALSE(code.empty());
  EXPECT_THAT(source("docs/kinds.md"), HasSubstr("```cpp\n" + code + "```\n"));
}

class KindsExample : public KernelTest {
 protected:
  KindsExample() { registry_.add(std::make_unique<devices::netdev::PodBridgeKind>()); }
};

TEST_F(KindsExample, ClaimGetsABridgeInItsPod_AndItGoes) {
  ASSERT_TRUE(kinds_.contains("bridge")) << "the kernel that runs the tests has bridges";
  auto record =
      prepare(claim("u1", {{R"("bridge","interfaceName":"lan0","addresses":["192.0.2.1/24"],"mtu":1400)"}}));
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  const netlink::Link made = link(*pod_.socket, "lan0");
  EXPECT_EQ(made.kind, "bridge");
  EXPECT_EQ(made.mtu, 1400U);
  EXPECT_TRUE(made.is_up());
  ASSERT_OK(driver_->unprepare(*record, {}));
  EXPECT_EQ(names(*pod_.socket), std::vector<std::string>{"lo"});
}

TEST_F(KindsExample, MistakeIsToldInTheClaimsWords) {
  const auto refused = driver_->plan(claim("u1", {{R"("bridge","master":"eth0")"}}));
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().what(), HasSubstr("netdev.master: belongs to kind"));
}

}  // namespace
}  // namespace fairlead::agent
