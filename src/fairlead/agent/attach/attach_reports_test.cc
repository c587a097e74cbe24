// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/attach/attach_reports.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>

#include "fairlead/agent/testing/fake_host.h"
#include "fairlead/devices/all_kinds.h"

namespace fairlead::agent {
namespace {

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0 || errno != EBADF; }

/// The look that is due keeps the pod's namespace, and so the links in it.
TEST(AttachReportsNetns, OfAClaimThatIsReleased_IsClosedAtOnce) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "needs root: makes network namespaces";
  }
  FakeHost host;
  const devices::Registry kinds = devices::all_kinds();
  const PlanReader plans(kinds);
  AttachReports reports(host, plans, "net.example.com", {.check_after = std::chrono::hours(1)});
  const UniqueFd pod = sys::create_netns().value();
  const UniqueFd other = sys::create_netns().value();
  UniqueFd kept(::fcntl(pod.get(), F_DUPFD_CLOEXEC, 0));
  const int fd = kept.get();
  reports.check_soon("u1", std::move(kept));

  (void)reports.hold_back("u1", sys::netns_id(other.get()).value());  // of an older sandbox
  (void)reports.hold_back("u2", sys::netns_id(pod.get()).value());
  EXPECT_TRUE(is_open(fd));
  (void)reports.hold_back("u1", sys::netns_id(pod.get()).value());
  EXPECT_FALSE(is_open(fd));
}

}  // namespace
}  // namespace fairlead::agent
