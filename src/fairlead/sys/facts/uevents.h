// SPDX-License-Identifier: Apache-2.0
// The kernel's uevents (lib/kobject_uevent.c): what rtnetlink does not announce, such as a function that gets
// another driver, VFs that a PF makes, an RDMA device that appears.
//
// As with rtnetlink, events are reliable only until the first overrun (ENOBUFS): then everything must be read again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fairlead/core/fd.h"
#include "fairlead/core/result.h"

namespace fairlead::sys {

struct Uevent {
  std::string action;     // "add", "remove", "change", "move", "bind", "unbind"
  std::string path;       // below /sys: "/devices/pci0000:00/0000:00:02.0/net/eth0"
  std::string subsystem;  // "net", "pci"
  friend bool operator==(const Uevent&, const Uevent&) = default;
};

/// One message of the kernel: "action@path", a NUL, then "KEY=value" texts with a NUL each. nullopt: it is not one
/// of these (libudev's begin otherwise), or has no subsystem.
std::optional<Uevent> parse_uevent(std::span<const std::uint8_t> message);
/// Whether it may change NodeFacts: links, PCI functions and RDMA devices.
bool is_about_facts(const Uevent& event);
/// Of a link that is no hardware: it changes no PCI function.
bool is_about_virtual_link(const Uevent& event);

/// A socket for the kernel's uevents of the calling thread's network namespace: those of links are sent to the
/// link's namespace only, all others to the namespaces of the initial user namespace. One thread at a time.
class Uevents {
 public:
  static Result<Uevents> open();

  /// Readable when there are events.
  [[nodiscard]] int fd() const { return fd_.get(); }
  /// Takes all pending events off the queue, without waiting. Returns whether one of them is_about_facts(), or events
  /// were lost.
  Result<bool> drain(const std::function<void(const Uevent&)>& each = {});
  /// Whether the last drain() found that events were lost.
  [[nodiscard]] bool were_lost() const { return were_lost_; }

 private:
  explicit Uevents(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
  std::vector<std::uint8_t> buffer_;
  bool were_lost_ = false;
};

}  // namespace fairlead::sys
