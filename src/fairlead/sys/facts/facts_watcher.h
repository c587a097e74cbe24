// SPDX-License-Identifier: Apache-2.0
// Keeps the facts about this node, and reads them again only when the kernel has announced a change.
//
//   rtnetlink ──┬─► thread ───► changed(); when no more events come: facts()
//   uevents   ──┴─► facts() ──► nothing new: the facts as they are
//                               something new, or events lost: links, and what a uevent may have changed,
//                               are read again
//
// So a caller of facts() reads them itself only shortly after a change. The thread reads ahead for at most a tenth of
// the time, however many events come.
//
// The kernel queues an event before the system call that caused it returns. So facts() sees what this process did
// before, though the thread may not have been scheduled yet: it looks at the queue itself.
// Uevents say what sysfs alone has: VFs that were made, a function that got another driver, an RDMA device. Where the
// kernel sends none here (a namespace of another user namespace), that is seen by read_again() only. Read what an
// effect depends on again just before the effect.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <thread>

#include "fairlead/core/fd.h"
#include "fairlead/core/mutex.h"
#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"
#include "fairlead/sys/facts/node_facts.h"
#include "fairlead/sys/facts/uevents.h"
#include "fairlead/sys/inventory.h"
#include "fairlead/sys/netlink/monitor.h"
#include "fairlead/sys/netlink/socket.h"

namespace fairlead::sys {

/// Any thread may call its functions.
class FactsWatcher : private Pinned {
 public:
  /// Watches the calling thread's network namespace and reads the facts once. `changed` is called from the watcher's
  /// thread, often, after links, addresses, default routes, PCI functions or RDMA devices have changed; it must be quick. It may
  /// call facts(). Without uevents, for which a line is logged, it works with rtnetlink alone.
  static Result<std::unique_ptr<FactsWatcher>> start(const InventoryOptions& options,
                                                     std::function<void()> changed);
  ~FactsWatcher();

  /// As they are now, but for what the kernel does not announce. Never null. The same object as long as nothing changes.
  Result<std::shared_ptr<const NodeFacts>> facts();
  /// The same, read again in any case.
  Result<std::shared_ptr<const NodeFacts>> read_again();
  /// Whether the facts were read since the last event that was taken off the queue. For tests.
  [[nodiscard]] bool are_read();

 private:
  struct Sources {
    netlink::Monitor monitor;
    std::optional<Uevents> uevents;
    netlink::Socket socket;
    UniqueFd stop, wake;
  };
  FactsWatcher(InventoryOptions options, Sources sources, std::function<void()> changed);
  void run();
  Result<std::shared_ptr<const NodeFacts>> read_if_needed() FL_REQUIRES(mutex_);
  /// In milliseconds, for poll(2), until facts are to be read ahead; -1: they are not.
  int until_read_ahead();
  /// Takes the events off the queue: the facts are then to be read again, and changed() may have to be called.
  Result<> take_events() FL_REQUIRES(mutex_);
  /// Whether there were some that count. After an error there are none any more.
  bool take_uevents() FL_REQUIRES(mutex_);

  const InventoryOptions options_;
  const int monitor_fd_;
  const int uevents_fd_;  // -1: there are none
  const UniqueFd stop_;
  const UniqueFd wake_;  // facts() took events that changed() is to be called for
  const std::function<void()> changed_;
  Mutex mutex_;
  netlink::Monitor monitor_ FL_GUARDED_BY(mutex_);
  std::optional<Uevents> uevents_ FL_GUARDED_BY(mutex_);
  bool have_uevents_failed_ FL_GUARDED_BY(mutex_) = false;
  netlink::Socket socket_ FL_GUARDED_BY(mutex_);
  std::shared_ptr<const NodeFacts> facts_ FL_GUARDED_BY(mutex_);  // null: to be read
  /// What rtnetlink announces changes none of them, and reading them costs several files for each PCI device.
  std::optional<std::vector<NetFunction>> functions_ FL_GUARDED_BY(mutex_);  // nullopt: to be read
  /// The same; but one of software is known by the name of its link, which may be no hardware either.
  std::optional<std::vector<RdmaDevice>> rdma_devices_ FL_GUARDED_BY(mutex_);
  bool is_to_announce_ FL_GUARDED_BY(mutex_) = false;
  std::chrono::steady_clock::time_point read_ahead_at_ FL_GUARDED_BY(mutex_);  // if facts_ is null then
  std::chrono::steady_clock::time_point no_reading_before_ FL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace fairlead::sys
