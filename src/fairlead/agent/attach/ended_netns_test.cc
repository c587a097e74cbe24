// SPDX-License-Identifier: Apache-2.0
// A claim whose pod's namespace has ended.
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <unistd.h>

#include <array>
#include <thread>

#include "fairlead/agent/attach/attach.h"
#include "fairlead/agent/testing/kernel_fixture.h"
#include "fairlead/sys/netlink/netns_number.h"

namespace fairlead::agent {
namespace {

/// Runs `work` on a thread that has a /run of its own; returns whether it looked into /run/netns.
template <class F>
Result<bool> looks_into_run_netns(F&& work) {
  Result<bool> looked = false;
  std::thread([&] {
    looked = [&]() -> Result<bool> {
      if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
          ::mount("tmpfs", "/run", "tmpfs", 0, "mode=0755") != 0) {
        return Error::from_errno(errno, "make a /run of its own");
      }
      FL_TRY(sys::make_dirs("/run/netns", 0755));
      const UniqueFd watch(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
      if (::inotify_add_watch(watch.get(), "/run/netns", IN_OPEN | IN_ONLYDIR) < 0) {
        return Error::from_errno(errno, "watch /run/netns");
      }
      FL_TRY(work());
      std::array<char, 4096> events = {};
      return ::read(watch.get(), events.data(), events.size()) > 0;
    }();
  }).join();
  return looked;
}

using EndedNetns = KernelTest;

TEST_F(EndedNetns, IsNotSearchedFor_WhenTheKernelNoLongerHasItsNumber) {
  auto record = prepare(claim("u1", {{R"("macvlan","master":"eth0","interfaceName":"data0")"}}));
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  AttachState state = parse_attach_state(record->prepared.state).value();
  ASSERT_TRUE(state.number);
  const auto unprepare = [&] { return driver_->unprepare(*record, {}); };

  const auto alive = looks_into_run_netns(unprepare);
  ASSERT_OK(alive);
  EXPECT_TRUE(*alive);

  pod_ = Pod();
  for (int i = 0; i < 1000 && netlink::is_netns_number_in_use(state.number->number).value(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  const auto ended = looks_into_run_netns(unprepare);
  ASSERT_OK(ended);
  EXPECT_FALSE(*ended);

  state.number.reset();  // a record of an older version
  record->prepared.state = to_json(state);
  const auto without_number = looks_into_run_netns(unprepare);
  ASSERT_OK(without_number);
  EXPECT_TRUE(*without_number);
}

}  // namespace
}  // namespace fairlead::agent
