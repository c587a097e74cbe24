// SPDX-License-Identifier: Apache-2.0
// Uevents of the running kernel.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fairlead/sys/facts/facts_watcher.h"
#include "fairlead/sys/facts/uevents.h"
#include "fairlead/sys/files.h"
#include "fairlead/sys/netns.h"
#include "fairlead/sys/testing/sysfs_tree.h"

namespace fairlead::sys {
namespace {

constexpr std::chrono::seconds kLong{20};

bool wait_readable(int fd) {
  pollfd ready = {.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&ready, 1, static_cast<int>(std::chrono::milliseconds(kLong).count())) == 1;
}

/// Lets the kernel send a "change" of a PCI function of this machine (it does no more than that), which goes to
/// every network namespace; false: there is none, or sysfs is read-only.
bool announce_a_function() {
  const std::string folder = "/sys/bus/pci/devices";
  const auto functions = list_dir(folder);
  if (!functions || functions->empty()) {
    return false;
  }
  std::ofstream file(folder + "/" + functions->front() + "/uevent");
  file << "change" << std::flush;
  return file.good();
}

class UeventsKernel : public testing::Test {
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
  }
  std::optional<NetnsScope> scope_;
};

TEST_F(UeventsKernel, NewVeth_IsAnnouncedInItsNamespaceOnly) {
  auto uevents = Uevents::open();
  ASSERT_TRUE(uevents) << uevents.error().what();
  auto other_netns = create_netns();
  ASSERT_TRUE(other_netns) << other_netns.error().what();
  auto elsewhere = with_netns(other_netns->get(), [] { return Uevents::open(); });
  ASSERT_TRUE(elsewhere) << elsewhere.error().what();
  auto socket = netlink::Socket::open();
  ASSERT_TRUE(socket) << socket.error().what();
  const auto made = socket->create_link({.name = "veth0", .kind = netlink::Veth{.peer = {.name = "veth1"}}});
  if (!made && made.error().sys_errno() == EOPNOTSUPP) {
    GTEST_SKIP() << "this kernel has no veth";
  }
  ASSERT_TRUE(made) << made.error().what();
  const auto names_seen = [](Uevents& from) {
    std::vector<std::string> seen;
    const auto drained = from.drain([&](const Uevent& event) {
      if (event.subsystem == "net") {
        seen.push_back(event.action + " " + std::filesystem::path(event.path).filename().string());
      }
    });
    EXPECT_TRUE(drained) << drained.error().what();
    return seen;
  };
  // Of a namespace of another user namespace than the initial one the kernel announces nothing.
  if (!wait_readable(uevents->fd())) {
    GTEST_SKIP() << "this kernel sends no uevents to the test's network namespace";
  }
  const auto seen = names_seen(*uevents);
  EXPECT_EQ(std::ranges::count(seen, "add veth0"), 1);
  EXPECT_EQ(std::ranges::count(seen, "add veth1"), 1);
  const auto seen_elsewhere = names_seen(*elsewhere);
  EXPECT_EQ(std::ranges::count(seen_elsewhere, "add veth0"), 0);
}

TEST_F(UeventsKernel, OfAFunction_WhatSysfsAloneSaysIsSeenAtOnce) {
  const std::string place = "pci0000:00/0000:03:00.0";
  testing_support::SysfsTree tree;
  tree.add_device("pci", place,
                  {{"vendor", "0x8086"},
                   {"device", "0x10c9"},
                   {"class", "0x020000"},
                   {"sriov_totalvfs", "7"},
                   {"sriov_numvfs", "0"}});
  std::mutex mutex;
  std::condition_variable changed;
  int changes = 0;
  auto watcher = FactsWatcher::start({.sysfs_root = tree.root()}, [&] {
    const std::lock_guard lock(mutex);
    ++changes;
    changed.notify_all();
  });
  ASSERT_TRUE(watcher) << watcher.error().what();
  const auto before = (*watcher)->facts();
  ASSERT_TRUE(before) << before.error().what();
  ASSERT_NE((*before)->function("0000:03:00.0"), nullptr);
  EXPECT_EQ((*before)->function("0000:03:00.0")->pci.sriov_num_vfs, 0);
  std::ofstream(tree.root() + "/devices/" + place + "/sriov_numvfs") << "4\n";
  if (!announce_a_function()) {
    GTEST_SKIP() << "this machine has no PCI function whose uevent file can be written";
  }
  // The kernel has queued the event before write(2) returned.
  const auto after = (*watcher)->facts();
  ASSERT_TRUE(after) << after.error().what();
  EXPECT_EQ((*after)->function("0000:03:00.0")->pci.sriov_num_vfs, 4);
  std::unique_lock lock(mutex);
  EXPECT_TRUE(changed.wait_for(lock, kLong, [&] { return changes > 0; }));
}

TEST_F(UeventsKernel, AfterAnOverrun_EverythingCounts) {
  auto uevents = Uevents::open();
  ASSERT_TRUE(uevents) << uevents.error().what();
  const int smallest = 1;
  ASSERT_EQ(::setsockopt(uevents->fd(), SOL_SOCKET, SO_RCVBUF, &smallest, sizeof smallest), 0);
  for (int i = 0; i < 200; ++i) {
    if (!announce_a_function()) {
      GTEST_SKIP() << "this machine has no PCI function whose uevent file can be written";
    }
  }
  int read = 0;
  const auto drained = uevents->drain([&](const Uevent& /*event*/) { ++read; });
  ASSERT_TRUE(drained) << drained.error().what();
  EXPECT_TRUE(*drained);
  EXPECT_LT(read, 200) << "the test makes the kernel drop some";
  EXPECT_TRUE(uevents->were_lost());
  const auto nothing = uevents->drain();
  ASSERT_TRUE(nothing) << nothing.error().what();
  EXPECT_FALSE(uevents->were_lost());
}

}  // namespace
}  // namespace fairlead::sys
