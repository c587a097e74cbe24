// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/link_watch.h"

#include <sys/eventfd.h>

#include "fairlead/core/log.h"

namespace fairlead::agent {

Result<std::unique_ptr<LinkWatch>> LinkWatch::start(std::function<void()> changed) {
  // Routes too: the default route says which link is the node's uplink.
  FL_ASSIGN(netlink::Monitor monitor, netlink::Monitor::open({.links = true, .routes = true}),
            "watch this node's links");
  UniqueFd stop(::eventfd(0, EFD_CLOEXEC));
  if (!stop.valid()) {
    return Error::from_errno(errno, "make an eventfd");
  }
  return std::unique_ptr<LinkWatch>(new LinkWatch(std::move(monitor), std::move(stop), std::move(changed)));
}

LinkWatch::LinkWatch(netlink::Monitor monitor, UniqueFd stop, std::function<void()> changed)
    : monitor_(std::move(monitor)), stop_(std::move(stop)), changed_(std::move(changed)) {
  thread_ = std::thread([this] {
    const auto ended = monitor_.run(stop_.get(), [this](const netlink::Event& /*event*/) { changed_(); });
    if (!ended) {
      log::error("links are not watched any more; changes are seen at the next resync",
                 {{"error", ended.error().what()}});
    }
  });
}

LinkWatch::~LinkWatch() {
  const std::uint64_t one = 1;
  (void)!::write(stop_.get(), &one, sizeof one);
  thread_.join();
}

}  // namespace fairlead::agent
