// SPDX-License-Identifier: Apache-2.0
// The watcher in a namespace that the running kernel made for us.
#include "fairlead/sys/facts/facts_watcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "fairlead/sys/netns.h"
#include "fairlead/sys/testing/sysfs_tree.h"

namespace fairlead::sys {
namespace {

using netlink::IpAddress;
using netlink::IpPrefix;

class FactsWatcherTest : public testing::Test {
 protected:
  void SetUp() override {
    auto node = create_netns();
    if (!node && node.error().sys_errno() == EPERM) {
      GTEST_SKIP() << "needs CAP_SYS_ADMIN to create network namespaces";
    }
    ASSERT_TRUE(node) << node.error().what();
    auto scope = NetnsScope::enter(node->get());
    ASSERT_TRUE(scope) << scope.error().what();
    scope_.emplace(std::move(*scope));
    auto socket = netlink::Socket::open();
    ASSERT_TRUE(socket) << socket.error().what();
    socket_.emplace(std::move(*socket));
    auto watcher = FactsWatcher::start({.sysfs_root = tree_.root()}, [this] {
      std::unique_lock lock(mutex_);
      ++changes_;
      changed_.notify_all();
      changed_.wait(lock, [this] { return !is_held_; });
    });
    ASSERT_TRUE(watcher) << watcher.error().what();
    watcher_ = std::move(*watcher);
  }

  void TearDown() override { hold(false); }

  void add_bridge(const std::string& name) {
    // Down: a link that is up is announced again, later, when its state changes.
    const auto made = socket_->create_link({.name = name, .kind = netlink::Bridge{}});
    ASSERT_TRUE(made) << made.error().what();
  }
  std::shared_ptr<const NodeFacts> facts() {
    auto facts = watcher_->facts();
    EXPECT_TRUE(facts) << facts.error().what();
    return facts ? *facts : std::make_shared<const NodeFacts>();
  }
  /// The watcher's thread stays in its next call of changed(), or goes on.
  void hold(bool is_held) {
    const std::lock_guard lock(mutex_);
    is_held_ = is_held;
    changed_.notify_all();
  }
  int changes() {
    const std::lock_guard lock(mutex_);
    return changes_;
  }
  bool wait_for_changes_above(int count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(20), [&] { return changes_ > count; });
  }

  testing_support::SysfsTree tree_;
  std::optional<NetnsScope> scope_;
  std::optional<netlink::Socket> socket_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int changes_ = 0;
  bool is_held_ = false;
  std::unique_ptr<FactsWatcher> watcher_;  // last: its thread uses the others
};

TEST_F(FactsWatcherTest, WithoutAChange_TheFactsAreTheSameObject) {
  const auto first = facts();
  EXPECT_NE(first->inventory().find("lo"), nullptr);
  EXPECT_EQ(facts(), first);
  const auto again = watcher_->read_again();
  ASSERT_TRUE(again) << again.error().what();
  EXPECT_NE(*again, first);
  EXPECT_EQ(facts(), *again);
}

TEST_F(FactsWatcherTest, WhatWasDoneBefore_IsSeenAtOnce) {
  for (int i = 0; i < 50; ++i) {
    const std::string name = "br" + std::to_string(i);
    add_bridge(name);
    const auto after = facts();
    const InventoryLink* link = after->inventory().find(name);
    ASSERT_NE(link, nullptr) << name;
    ASSERT_TRUE(socket_->delete_link(link->link.index));
    ASSERT_EQ(facts()->inventory().find(name), nullptr) << name;
    ASSERT_NE(after->inventory().find(name), nullptr) << "facts that were handed out do not change";
  }
}

/// Reading them costs several files for each PCI device; rtnetlink announces nothing about them.
TEST_F(FactsWatcherTest, AfterAChangeOfLinks_FunctionsAreNotReadAgain) {
  EXPECT_TRUE(facts()->functions().empty());
  tree_.add_device("pci", "pci0000:00/0000:03:00.0",
                   {{"vendor", "0x8086"}, {"device", "0x10c9"}, {"class", "0x020000"}});
  add_bridge("br0");
  const auto after = facts();
  EXPECT_NE(after->inventory().find("br0"), nullptr);
  EXPECT_TRUE(after->functions().empty());
  const auto again = watcher_->read_again();
  ASSERT_TRUE(again) << again.error().what();
  EXPECT_EQ((*again)->functions().size(), 1U);
}

TEST_F(FactsWatcherTest, RoutesAndAddresses_AreSeenAtOnce) {
  add_bridge("br0");
  const auto index = facts()->inventory().find("br0")->link.index;
  ASSERT_TRUE(socket_->set_up(index));
  ASSERT_TRUE(socket_->add_address({.link = index, .prefix = *IpPrefix::parse("10.0.0.5/24")}));
  EXPECT_THAT(facts()->inventory().find("br0")->addresses, testing::Contains(*IpAddress::parse("10.0.0.5")));
  ASSERT_TRUE(socket_->add_route({.destination = *IpPrefix::parse("10.9.0.0/16"),
                                  .gateway = *IpAddress::parse("10.0.0.7"),
                                  .link = index}));
  EXPECT_THAT(facts()->inventory().find("br0")->gateways,
              testing::ElementsAre(*IpAddress::parse("10.0.0.7")));
  ASSERT_TRUE(socket_->add_route({.destination = *IpPrefix::parse("0.0.0.0/0"),
                                  .gateway = *IpAddress::parse("10.0.0.1"),
                                  .link = index}));
  EXPECT_TRUE(facts()->inventory().find("br0")->is_uplink);
}

TEST_F(FactsWatcherTest, AChange_IsAnnouncedThoughFactsTookItsEvents) {
  hold(true);
  add_bridge("br0");
  ASSERT_TRUE(wait_for_changes_above(0));
  add_bridge("br1");
  EXPECT_NE(facts()->inventory().find("br1"), nullptr);
  hold(false);  // the thread finds the queue empty
  EXPECT_TRUE(wait_for_changes_above(1));
}

/// What starts a pod does not have to read the links.
TEST_F(FactsWatcherTest, AfterAChange_TheFactsAreReadAhead) {
  const int before = changes();
  add_bridge("br1");
  ASSERT_TRUE(wait_for_changes_above(before)) << "the thread has taken the event";
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!watcher_->are_read() && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_TRUE(watcher_->are_read());
  EXPECT_NE(facts()->inventory().find("br1"), nullptr);
}

TEST_F(FactsWatcherTest, StormOfRoutes_IsNotAnnounced_DefaultRouteAndLinksAre) {
  ASSERT_TRUE(socket_->create_link({.name = "br0", .kind = netlink::Bridge{}, .up = true}));
  const auto index = facts()->inventory().find("br0")->link.index;
  const auto add_route = [&](const std::string& to) {
    ASSERT_TRUE(socket_->add_route({.destination = *IpPrefix::parse(to), .link = index})) << to;
  };
  ASSERT_TRUE(wait_for_changes_above(0));
  const int before = changes();
  for (int i = 0; i < 200; ++i) {
    add_route("198.51." + std::to_string(i) + ".0/24");
  }
  add_route("0.0.0.0/0");
  // The events come in order, so that the 200 are over. Link-local addresses settle beside them.
  ASSERT_TRUE(wait_for_changes_above(before));
  EXPECT_LT(changes() - before, 10);
}

TEST_F(FactsWatcherTest, ManyThreads_AllSeeTheLastChange) {
  std::atomic<int> stale = 0;
  std::vector<std::thread> readers;
  std::atomic<int> made = 0;
  for (int reader = 0; reader < 3; ++reader) {
    readers.emplace_back([&] {
      for (int i = 0; i < 100; ++i) {
        const int there = made.load();
        const auto seen = watcher_->facts();
        for (int one = 0; one < there; ++one) {
          stale += seen && (*seen)->inventory().find("br" + std::to_string(one)) != nullptr ? 0 : 1;
        }
      }
    });
  }
  for (int i = 0; i < 20; ++i) {
    add_bridge("br" + std::to_string(i));
    made = i + 1;
  }
  for (std::thread& reader : readers) {
    reader.join();
  }
  EXPECT_EQ(stale, 0);
}

}  // namespace
}  // namespace fairlead::sys
