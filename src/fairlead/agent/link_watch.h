// SPDX-License-Identifier: Apache-2.0
// A thread that says when links of the node come, go or change, or its default routes.
#pragma once

#include <functional>
#include <memory>
#include <thread>

#include "fairlead/core/fd.h"
#include "fairlead/core/result.h"
#include "fairlead/sys/netlink/monitor.h"

namespace fairlead::agent {

class LinkWatch {
 public:
  /// Watches the calling thread's network namespace. `changed` is called from the thread, often; it must be
  /// quick and bring events together itself (dra::Host::republish does).
  static Result<std::unique_ptr<LinkWatch>> start(std::function<void()> changed);
  LinkWatch(const LinkWatch&) = delete;
  LinkWatch& operator=(const LinkWatch&) = delete;
  LinkWatch(LinkWatch&&) = delete;
  LinkWatch& operator=(LinkWatch&&) = delete;
  ~LinkWatch();

 private:
  LinkWatch(netlink::Monitor monitor, UniqueFd stop, std::function<void()> changed);
  netlink::Monitor monitor_;
  UniqueFd stop_;
  std::function<void()> changed_;
  std::thread thread_;
};

}  // namespace fairlead::agent
