// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/holders_watch.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <string_view>
#include <utility>

#include "fairlead/agent/nic_holders.h"
#include "fairlead/core/log.h"
#include "fairlead/sys/files.h"

namespace fairlead::agent {
namespace {

/// Until the folder of the entries can be made and watched again.
constexpr std::chrono::milliseconds kWatchAgain{500};

/// Makes the folder.
Result<> watch_folder(int events, const std::string& folder) {
  FL_TRY(sys::make_dirs(folder, 0700));
  if (::inotify_add_watch(events, folder.c_str(), IN_MOVED_TO | IN_DELETE | IN_ONLYDIR) < 0) {
    return Error::from_errno(errno, "watch " + folder);
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<HoldersWatch>> HoldersWatch::start(const std::string& dir, std::string driver,
                                                          std::function<void()> changed) {
  const std::string folder = dir + "/holders";
  UniqueFd events(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!events.valid()) {
    return Error::from_errno(errno, "make an inotify descriptor");
  }
  FL_TRY(watch_folder(events.get(), folder));
  UniqueFd stop(::eventfd(0, EFD_CLOEXEC));
  if (!stop.valid()) {
    return Error::from_errno(errno, "make an eventfd");
  }
  return std::unique_ptr<HoldersWatch>(
      new HoldersWatch(folder, std::move(events), std::move(stop), std::move(driver), std::move(changed)));
}

HoldersWatch::HoldersWatch(std::string folder, UniqueFd events, UniqueFd stop, std::string driver,
                           std::function<void()> changed)
    : folder_(std::move(folder)),
      events_(std::move(events)),
      stop_(std::move(stop)),
      driver_(std::move(driver)),
      changed_(std::move(changed)) {
  thread_ = std::thread([this] { run(); });
}

void HoldersWatch::run() const {
  std::array<pollfd, 2> both = {{{.fd = events_.get(), .events = POLLIN, .revents = 0},
                                 {.fd = stop_.get(), .events = POLLIN, .revents = 0}}};
  bool is_watching = true;
  bool is_told = false;  // that it could not be watched again
  while (true) {
    const int ready =
        ::poll(both.data(), both.size(), is_watching ? -1 : static_cast<int>(kWatchAgain.count()));
    if ((ready < 0 && errno != EINTR) || both[1].revents != 0) {
      return;
    }
    const Seen seen = read_events();
    bool any = seen.any;
    if (is_watching && seen.folder_gone) {
      log::warn("the folder in which drivers record which NICs they have was removed; making it again",
                {{"folder", folder_}});
      is_watching = is_told = false;
    }
    if (!is_watching) {
      const auto again = watch_folder(events_.get(), folder_);
      is_watching = again.has_value();
      any = any || is_watching;  // our own entries are written again
      if (!again && !std::exchange(is_told, true)) {
        log::warn("changes of other drivers' NICs are not seen now; trying again",
                  {{"error", again.error().what()}});
      }
    }
    if (any) {
      changed_();
    }
  }
}

/// Reads all pending events; returns whether any is of another driver, or some were lost.
HoldersWatch::Seen HoldersWatch::read_events() const {
  alignas(inotify_event) std::array<char, 4096>
      buffer;  // NOLINT(cppcoreguidelines-pro-type-member-init): filled by read
  const std::string own = "_" + driver_ + "_";
  Seen seen;
  while (true) {
    const ssize_t size = ::read(events_.get(), buffer.data(), buffer.size());
    if (size <= 0) {
      return seen;
    }
    for (std::size_t at = 0; at < static_cast<std::size_t>(size);) {
      const auto* event = reinterpret_cast<const inotify_event*>(buffer.data() + at);
      const std::string_view name = event->len == 0 ? "" : event->name;  // NUL-terminated, padded
      const bool says_nothing = name.ends_with(kIntentSuffix) || name.find(own) != std::string_view::npos;
      seen.any = seen.any || (event->mask & IN_Q_OVERFLOW) != 0 || !says_nothing;
      seen.folder_gone = seen.folder_gone || (event->mask & IN_IGNORED) != 0;
      at += sizeof(inotify_event) + event->len;
    }
  }
}

HoldersWatch::~HoldersWatch() {
  const std::uint64_t one = 1;
  (void)!::write(stop_.get(), &one, sizeof one);
  thread_.join();
}

}  // namespace fairlead::agent
