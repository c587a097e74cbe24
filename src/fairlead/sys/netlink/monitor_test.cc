// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/netlink/monitor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>

#include "fairlead/core/mutex.h"
#include "fairlead/sys/netlink/socket.h"
#include "fairlead/sys/netns.h"

namespace fairlead::netlink {
namespace {

/// What a monitor said, as words: "link br0", "gone br0", "overrun", ...
std::string word_of(const Event& event) {
  struct Words {
    std::string operator()(const LinkChanged& e) const { return "link " + e.link.name; }
    std::string operator()(const LinkGone& e) const { return "gone " + e.link.name; }
    std::string operator()(const AddressChanged& e) const {
      return "address " + e.address.prefix.to_string();
    }
    std::string operator()(const AddressGone& e) const {
      return "no address " + e.address.prefix.to_string();
    }
    std::string operator()(const RouteChanged& e) const { return "route " + e.route.destination.to_string(); }
    std::string operator()(const RouteGone& e) const { return "no route " + e.route.destination.to_string(); }
    std::string operator()(const Overrun& /*e*/) const { return "overrun"; }
  };
  return std::visit(Words{}, event);
}

class MonitorTest : public testing::Test {
 protected:
  void SetUp() override {
    auto made = sys::create_netns();
    if (!made && made.error().sys_errno() == EPERM) {
      GTEST_SKIP() << "needs CAP_SYS_ADMIN to create network namespaces";
    }
    ASSERT_TRUE(made) << made.error().what();
    netns_ = std::move(*made);
    auto socket = Socket::open_in(netns_.get());
    ASSERT_TRUE(socket);
    socket_.emplace(std::move(*socket));
  }
  Monitor open(const MonitorOptions& options) {
    auto monitor = Monitor::open_in(netns_.get(), options);
    EXPECT_TRUE(monitor) << monitor.error().what();
    return std::move(*monitor);
  }
  /// Reads events until `last` was among them, or 20 s passed.
  static std::vector<std::string> read_until(Monitor& monitor, const std::string& last) {
    std::vector<std::string> words;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (std::ranges::find(words, last) == words.end() && std::chrono::steady_clock::now() < deadline) {
      pollfd ready = {.fd = monitor.fd(), .events = POLLIN, .revents = 0};
      poll(&ready, 1, 100);
      EXPECT_TRUE(monitor.drain([&](const Event& event) { words.push_back(word_of(event)); }));
    }
    return words;
  }

  UniqueFd netns_;
  std::optional<Socket> socket_;
};

TEST_F(MonitorTest, TellsWhatComesAndGoes) {
  Monitor monitor = open({.links = true, .addresses = true, .routes = true});
  ASSERT_TRUE(socket_->create_link({.name = "br0", .kind = Bridge{}, .up = true}));
  const IfIndex index = (**socket_->link("br0")).index;
  ASSERT_TRUE(socket_->add_address({.link = index, .prefix = *IpPrefix::parse("10.0.0.5/24")}));
  ASSERT_TRUE(socket_->delete_link(index));
  const auto words = read_until(monitor, "gone br0");
  EXPECT_THAT(words, testing::IsSupersetOf({"link br0", "address 10.0.0.5/24", "no address 10.0.0.5/24",
                                            "route 10.0.0.0/24", "gone br0"}));
  EXPECT_THAT(words, testing::Not(testing::Contains("overrun")));
}

TEST_F(MonitorTest, TellsOnlyWhatWasAskedFor) {
  Monitor monitor = open({.links = false, .addresses = true});
  ASSERT_TRUE(socket_->create_link({.name = "br0", .kind = Bridge{}, .up = true}));
  const IfIndex index = (**socket_->link("br0")).index;
  ASSERT_TRUE(socket_->add_address({.link = index, .prefix = *IpPrefix::parse("10.0.0.5/24")}));
  EXPECT_THAT(read_until(monitor, "address 10.0.0.5/24"), testing::ElementsAre("address 10.0.0.5/24"));
}

TEST_F(MonitorTest, ALinkThatLeavesForAnotherNamespaceIsGone) {
  ASSERT_TRUE(socket_->create_link({.name = "v0", .kind = Veth{{.name = "v1"}}}));
  const auto other = sys::create_netns();
  ASSERT_TRUE(other);
  Monitor monitor = open({});
  ASSERT_TRUE(socket_->move_link({.link = (**socket_->link("v0")).index, .netns = other->get()}));
  EXPECT_THAT(read_until(monitor, "gone v0"), testing::Contains("gone v0"));
}

TEST_F(MonitorTest, APortThatLeavesItsBridgeIsNotGone) {
  ASSERT_TRUE(socket_->create_link({.name = "br0", .kind = Bridge{}, .up = true}));
  ASSERT_TRUE(socket_->create_link(
      {.name = "v0", .kind = Veth{{.name = "v1"}}, .master = (**socket_->link("br0")).index, .up = true}));
  Monitor monitor = open({});
  ASSERT_TRUE(socket_->change_link((**socket_->link("v0")).index, {.master = IfIndex()}));
  ASSERT_TRUE(socket_->create_link({.name = "end", .kind = Bridge{}}));
  const auto words = read_until(monitor, "link end");
  EXPECT_THAT(words, testing::Contains("link v0"));
  EXPECT_THAT(words, testing::Not(testing::Contains("gone v0")));
}

TEST_F(MonitorTest, AnOverrunIsToldOnceAndThenItGoesOn) {
  Monitor monitor = open({.receive_buffer = 1});  // the kernel rounds up to its minimum: two messages or so
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(socket_->create_link({.name = "br" + std::to_string(i), .kind = Bridge{}}));
  }
  std::vector<std::string> words;
  ASSERT_TRUE(monitor.drain([&](const Event& event) { words.push_back(word_of(event)); }));
  EXPECT_EQ(std::ranges::count(words, "overrun"), 1);
  EXPECT_EQ(words.back(), "overrun") << "nothing stale behind it";
  const auto links = socket_->links();
  ASSERT_TRUE(links);
  EXPECT_EQ(links->size(), 51U);

  ASSERT_TRUE(socket_->delete_link(links->back().index));
  const auto later = read_until(monitor, "gone " + links->back().name);
  EXPECT_THAT(later, testing::Contains("gone " + links->back().name));
}

TEST_F(MonitorTest, RunEndsWhenToldTo) {
  Monitor monitor = open({});
  const UniqueFd stop(eventfd(0, EFD_CLOEXEC));
  Mutex mutex;
  ConditionVariable changed;
  std::vector<std::string> words;
  std::atomic<bool> succeeded = false;
  std::thread reader([&] {
    succeeded = monitor
                    .run(stop.get(),
                         [&](const Event& event) {
                           const Lock lock(mutex);
                           words.push_back(word_of(event));
                           changed.notify_all();
                         })
                    .has_value();
  });
  ASSERT_TRUE(socket_->create_link({.name = "br0", .kind = Bridge{}}));
  {
    const Lock lock(mutex);
    EXPECT_TRUE(changed.wait_for(mutex, std::chrono::seconds(20),
                                 [&] { return std::ranges::find(words, "link br0") != words.end(); }));
  }
  ASSERT_EQ(eventfd_write(stop.get(), 1), 0);
  reader.join();
  EXPECT_TRUE(succeeded);
}

}  // namespace
}  // namespace fairlead::netlink
