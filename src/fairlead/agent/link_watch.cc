// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/link_watch.h"

#include <sys/eventfd.h>

#include <variant>

#include "fairlead/core/log.h"

namespace fairlead::agent {
namespace {

/// Of the routes, the default ones: they say which links are the node's uplinks. A routing daemon changes
/// thousands of others, which say nothing about devices.
bool matters(const netlink::Event& event) {
  if (const auto* changed = std::get_if<netlink::RouteChanged>(&event)) {
    return changed->route.destination.is_default();
  }
  if (const auto* gone = std::get_if<netlink::RouteGone>(&event)) {
    return gone->route.destination.is_default();
  }
  return true;
}

}  // namespace

Result<std::unique_ptr<LinkWatch>> LinkWatch::start(std::function<void()> changed) {
  // Routes and addresses too: they say which links are the node's own.
  FL_ASSIGN(netlink::Monitor monitor,
            netlink::Monitor::open({.links = true, .addresses = true, .routes = true}),
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
    const auto ended = monitor_.run(stop_.get(), [this](const netlink::Event& event) {
      if (matters(event)) {
        changed_();
      }
    });
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
