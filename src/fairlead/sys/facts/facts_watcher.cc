// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/facts/facts_watcher.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <utility>
#include <variant>

#include "fairlead/core/log.h"

namespace fairlead::sys {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// Without events for so long, the facts are read ahead.
constexpr milliseconds kQuiet{20};
/// The pause after reading them, in multiples of the time that it took.
constexpr int kPausePerReading = 9;
constexpr milliseconds kAfterError{1'000};

/// Routes that are not default ones say nothing about devices, and a routing daemon changes thousands of them.
bool is_about_devices(const netlink::Event& event) {
  if (const auto* changed = std::get_if<netlink::RouteChanged>(&event)) {
    return changed->route.destination.is_default();
  }
  if (const auto* gone = std::get_if<netlink::RouteGone>(&event)) {
    return gone->route.destination.is_default();
  }
  return true;
}

std::optional<Uevents> open_uevents() {
  auto uevents = Uevents::open();
  if (!uevents) {
    log::warn("changes of PCI functions and RDMA devices are seen at the next resync only",
              {{"error", uevents.error().what()}});
    return std::nullopt;
  }
  return *std::move(uevents);
}

void notify(int eventfd) {
  const std::uint64_t one = 1;
  (void)!::write(eventfd, &one, sizeof one);
}

}  // namespace

Result<std::unique_ptr<FactsWatcher>> FactsWatcher::start(const InventoryOptions& options,
                                                          std::function<void()> changed) {
  // The events first: what changes while the facts are read is then in their queues.
  FL_ASSIGN(netlink::Monitor monitor,
            netlink::Monitor::open({.links = true, .addresses = true, .routes = true}),
            "watch this node's links");
  std::optional<Uevents> uevents = open_uevents();
  FL_ASSIGN(netlink::Socket socket, netlink::Socket::open(), "read this node's links");
  UniqueFd stop(::eventfd(0, EFD_CLOEXEC));
  UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!stop.valid() || !wake.valid()) {
    return Error::from_errno(errno, "make an eventfd");
  }
  std::unique_ptr<FactsWatcher> watcher(new FactsWatcher(options,
                                                         {.monitor = std::move(monitor),
                                                          .uevents = std::move(uevents),
                                                          .socket = std::move(socket),
                                                          .stop = std::move(stop),
                                                          .wake = std::move(wake)},
                                                         std::move(changed)));
  FL_TRY(watcher->facts());
  watcher->thread_ = std::thread([self = watcher.get()] { self->run(); });
  return watcher;
}

FactsWatcher::FactsWatcher(InventoryOptions options, Sources sources, std::function<void()> changed)
    : options_(std::move(options)),
      monitor_fd_(sources.monitor.fd()),
      uevents_fd_(sources.uevents ? sources.uevents->fd() : -1),
      stop_(std::move(sources.stop)),
      wake_(std::move(sources.wake)),
      changed_(std::move(changed)),
      monitor_(std::move(sources.monitor)),
      uevents_(std::move(sources.uevents)),
      socket_(std::move(sources.socket)) {}

FactsWatcher::~FactsWatcher() {
  if (thread_.joinable()) {
    notify(stop_.get());
    thread_.join();
  }
}

Result<std::shared_ptr<const NodeFacts>> FactsWatcher::facts() {
  const Lock lock(mutex_);
  if (!take_events()) {
    facts_ = nullptr;  // what has changed is not known; the thread logs the error
  }
  if (is_to_announce_) {
    notify(wake_.get());
  }
  return read_if_needed();
}

Result<std::shared_ptr<const NodeFacts>> FactsWatcher::read_if_needed() {
  if (facts_ != nullptr) {
    return facts_;
  }
  const auto start = steady_clock::now();
  const auto done = [&]() -> Result<> {
    if (!functions_ || !uevents_ || have_uevents_failed_) {
      FL_ASSIGN(functions_, read_net_functions(options_.sysfs_root));
      rdma_devices_.reset();
    }
    if (!rdma_devices_) {
      FL_ASSIGN(rdma_devices_, read_rdma_devices(options_.sysfs_root));
    }
    FL_ASSIGN(Inventory inventory, read_inventory(socket_, options_));
    facts_ = std::make_shared<const NodeFacts>(std::move(inventory), *functions_, *rdma_devices_);
    return {};
  }();
  const auto end = steady_clock::now();
  no_reading_before_ = end + kPausePerReading * (end - start);
  if (!done) {
    read_ahead_at_ = end + kAfterError;
    return done.error();
  }
  return facts_;
}

bool FactsWatcher::are_read() {
  const Lock lock(mutex_);
  return facts_ != nullptr;
}

int FactsWatcher::until_read_ahead() {
  const Lock lock(mutex_);
  if (facts_ != nullptr) {
    return -1;
  }
  const auto at = std::max(read_ahead_at_, no_reading_before_);
  const auto left = std::chrono::ceil<milliseconds>(at - steady_clock::now());
  return static_cast<int>(std::clamp<milliseconds::rep>(left.count(), 0, 60'000));
}

Result<std::shared_ptr<const NodeFacts>> FactsWatcher::read_again() {
  {
    const Lock lock(mutex_);
    facts_ = nullptr;
    functions_.reset();
  }
  return facts();
}

Result<> FactsWatcher::take_events() {
  bool is_changed = false;
  bool is_to_announce = false;
  const auto done = monitor_.drain([&](const netlink::Event& event) {
    is_changed = true;
    is_to_announce = is_to_announce || is_about_devices(event);
  });
  if (take_uevents()) {
    is_changed = true;
    is_to_announce = true;
  }
  if (is_changed) {
    facts_ = nullptr;
    read_ahead_at_ = steady_clock::now() + kQuiet;
  }
  is_to_announce_ = is_to_announce_ || is_to_announce;
  return done;
}

bool FactsWatcher::take_uevents() {
  if (!uevents_ || have_uevents_failed_) {
    return false;
  }
  bool is_about_functions = false;
  bool is_link_renamed = false;
  const auto taken = uevents_->drain([&](const Uevent& event) {
    is_about_functions = is_about_functions || !is_about_virtual_link(event);
    is_link_renamed = is_link_renamed || event.action == "move";
  });
  if (is_link_renamed) {
    rdma_devices_.reset();
  }
  if (is_about_functions || uevents_->were_lost()) {
    functions_.reset();
  }
  if (!taken) {
    have_uevents_failed_ = true;  // the thread may be waiting for the descriptor: it stays open
    log::warn("changes of PCI functions and RDMA devices are seen at the next resync only from now on",
              {{"error", taken.error().what()}});
  }
  return taken.value_or(true);  // what was lost is not known
}

void FactsWatcher::run() {
  // poll(2) ignores a descriptor of -1.
  std::array<pollfd, 4> ready = {{{.fd = stop_.get(), .events = POLLIN, .revents = 0},
                                  {.fd = wake_.get(), .events = POLLIN, .revents = 0},
                                  {.fd = monitor_fd_, .events = POLLIN, .revents = 0},
                                  {.fd = uevents_fd_, .events = POLLIN, .revents = 0}}};
  for (;;) {
    const int count_ready = ::poll(ready.data(), ready.size(), until_read_ahead());
    if (count_ready < 0 && errno != EINTR) {
      log::error("changes of links are not announced any more",
                 {{"error", Error::from_errno(errno, "wait for netlink events").what()}});
      return;
    }
    if (count_ready == 0) {
      if (until_read_ahead() == 0) {
        (void)facts();  // an error is the next caller's
      }
      continue;
    }
    if (ready[0].revents != 0) {
      return;
    }
    std::uint64_t count = 0;
    (void)!::read(wake_.get(), &count, sizeof count);
    bool is_to_announce = false;
    {
      const Lock lock(mutex_);
      if (const auto taken = take_events(); !taken) {
        log::error("changes of links are not announced any more", {{"error", taken.error().what()}});
        return;
      }
      is_to_announce = std::exchange(is_to_announce_, false);
      ready[3].fd = have_uevents_failed_ ? -1 : uevents_fd_;
    }
    if (is_to_announce) {
      changed_();
    }
  }
}

}  // namespace fairlead::sys
