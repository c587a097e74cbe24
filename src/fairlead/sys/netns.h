// SPDX-License-Identifier: Apache-2.0
// Network namespaces: open, identify, enter and leave, make new ones.
//
// "The node's namespace" is always the one this process runs in (open_own_netns), never pid 1's: with a
// container's own pid namespace, or on a simulated node, pid 1 is another process. setns(2) and unshare(2)
// change one thread only, so every function here is safe in a threaded process.
#pragma once

#include <sys/types.h>

#include <compare>
#include <functional>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>

#include "fairlead/core/fd.h"
#include "fairlead/core/result.h"

namespace fairlead::sys {

/// The identity of a namespace, by whatever path or descriptor it is reached (namespaces(7): device and inode
/// of its file). The kernel may reuse an id once the namespace is gone: hold a descriptor to rule it out.
struct NetnsId {
  dev_t device = 0;
  ino_t inode = 0;
  friend auto operator<=>(const NetnsId&, const NetnsId&) = default;
};
/// "net:[4026531840]", as readlink of /proc/self/ns/net shows it.
std::string to_string(NetnsId id);

/// Opens a bind mount such as /run/netns/x or a /proc/PID/ns/net link. kInvalid if the file is not a network
/// namespace.
Result<UniqueFd> open_netns(const std::string& path);
/// Of a process; kNotFound if it is gone.
Result<UniqueFd> open_netns_of(pid_t pid);
/// Of the calling thread.
Result<UniqueFd> open_own_netns();
/// kInvalid if `fd`, wherever it came from, is not a network namespace (the kernel is asked: ioctl_ns(2)).
Result<> check_netns(int fd);
/// The id of the namespace; checks that it is one.
Result<NetnsId> netns_id(int fd);

/// A new, empty namespace (loopback down). It exists as long as the descriptor, a bind mount of it or a
/// process in it. The caller's namespace is unchanged.
Result<UniqueFd> create_netns();

/// Puts the calling thread into a namespace until it goes out of scope. When the way back fails the process
/// is aborted: a thread in an unknown namespace would do its next work in a tenant's network. Prefer a
/// netlink::Socket::open_in, which needs the namespace only for one socket(2).
class [[nodiscard]] NetnsScope {
 public:
  static Result<NetnsScope> enter(int fd);
  NetnsScope(const NetnsScope&) = delete;
  NetnsScope& operator=(const NetnsScope&) = delete;
  NetnsScope(NetnsScope&& other) noexcept = default;
  NetnsScope& operator=(NetnsScope&& other) noexcept = delete;
  ~NetnsScope();

 private:
  explicit NetnsScope(UniqueFd home) : home_(std::move(home)) {}
  UniqueFd home_;
};

/// Runs `work` (returning a Result) on this thread inside namespace `fd`; back home afterwards, or abort.
template <class F>
std::invoke_result_t<F> with_netns(int fd, F&& work) {
  FL_ASSIGN(const NetnsScope scope, NetnsScope::enter(fd));
  return std::forward<F>(work)();
}

/// Runs `work` (returning a Result) inside namespace `fd` on a thread that is started for it and ends with
/// it, so there is no way back to fail.
template <class F>
std::invoke_result_t<F> on_netns_thread(int fd, F&& work) {
  std::invoke_result_t<F> result = Error(Code::kInternal, "the thread did not run");
  std::thread([&] { result = with_netns(fd, std::forward<F>(work)); }).join();
  return result;
}

}  // namespace fairlead::sys
