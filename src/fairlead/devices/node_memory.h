// SPDX-License-Identifier: Apache-2.0
// What is known of the node beyond one look at its links: the addresses that its Node object says are its
// own, and which links were its uplink since it came up.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "fairlead/core/mutex.h"
#include "fairlead/core/result.h"
#include "fairlead/sys/inventory.h"

namespace fairlead::devices {

/// Kept in one file, so that a restarted agent knows it before the API server answers; one of another boot is
/// forgotten, since links have other indices then. Any thread.
class NodeMemory {
 public:
  static constexpr const char* kFile = "node.json";
  struct Known {
    /// The Node's internal addresses, at least one; nothing: not known yet, `problem` says why.
    std::optional<std::vector<netlink::IpAddress>> addresses;
    std::string problem = "the Node object has not been read yet";
    /// Links that carried the node's default route once, and what they stood on.
    std::vector<sys::InventoryLink> uplinks;
  };

  /// Reads <dir>/node.json. What is damaged counts as not known, with a line in the log.
  explicit NodeMemory(std::string dir);

  [[nodiscard]] Known known() const;
  /// At least one. True when they are others than before.
  bool set_addresses(std::vector<netlink::IpAddress> addresses);
  /// The Node object could not be read; addresses that are known stay. True when that is news.
  bool set_problem(std::string problem);
  /// Adds what carries the node's default route now.
  void remember_uplinks(const sys::Inventory& inventory);

 private:
  void load();
  void save() const FL_REQUIRES(mutex_);

  const std::string dir_;
  mutable Mutex mutex_;
  Known known_ FL_GUARDED_BY(mutex_);
};

}  // namespace fairlead::devices
