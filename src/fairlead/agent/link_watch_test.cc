// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/link_watch.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>

#include "fairlead/agent/kernel_fixture.h"

namespace fairlead::agent {
namespace {

class LinkWatchTest : public KernelTest {
 protected:
  static netlink::IpPrefix prefix(const std::string& text) { return netlink::IpPrefix::parse(text).value(); }
  Result<> add_route(const std::string& to) {
    return node_->add_route({.destination = prefix(to), .link = link(*node_, "eth0").index});
  }
  void await(int count) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (changes_ < count && std::chrono::steady_clock::now() < until) {
      std::this_thread::yield();
    }
    EXPECT_GE(changes_, count);
  }
  std::atomic<int> changes_ = 0;
};

TEST_F(LinkWatchTest, StormOfRoutes_IsNoNews_DefaultRouteAndLinksAre) {
  auto watch = LinkWatch::start([this] { ++changes_; });
  ASSERT_OK(watch);
  for (int i = 0; i < 200; ++i) {
    ASSERT_OK(add_route("198.51." + std::to_string(i) + ".0/24"));
  }
  ASSERT_OK(add_route("0.0.0.0/0"));
  await(1);
  // The events come in order, so that the 200 are over. Link-local addresses settle beside them.
  EXPECT_LT(changes_, 10);
  const int before = changes_;
  ASSERT_OK(node_->set_down(link(*node_, "eth0-peer").index));
  await(before + 1);
}

}  // namespace
}  // namespace fairlead::agent
