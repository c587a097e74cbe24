// SPDX-License-Identifier: Apache-2.0
// What is known of the node beyond one look at its links: the addresses that its Node object says are its
// own, and which links were its uplink since it came up.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fairlead/core/mutex.h"
#include "fairlead/core/result.h"
#include "fairlead/sys/inventory.h"

namespace fairlead::devices {

/// Persisted in one file, so that a restarted agent has it before the API server responds. A file from
/// another boot is discarded, since links have other indices then. Any thread.
class NodeMemory {
 public:
  static constexpr const char* kFile = "node.json";
  struct Known {
    /// The Node's internal addresses, at least one; nullopt: not known yet, `problem` says why.
    std::optional<std::vector<netlink::IpAddress>> addresses;
    std::string problem = "the Node object has not been read yet";
    /// Links that have carried the node's default route, and the links below them.
    std::vector<sys::InventoryLink> uplinks;
  };

  /// Reads <dir>/node.json. Damaged content is treated as unknown and logged.
  explicit NodeMemory(std::string dir);

  [[nodiscard]] Known known() const;
  /// Another one after each change of known().
  [[nodiscard]] std::uint64_t version() const;
  /// At least one. True when they differ from the previous ones.
  bool set_addresses(std::vector<netlink::IpAddress> addresses);
  /// The Node object could not be read; known addresses are kept. True when the problem is new.
  bool set_problem(std::string problem);
  /// Adds the links that carry the node's default route now.
  void remember_uplinks(const sys::Inventory& inventory);

 private:
  void load();
  void save() const FL_REQUIRES(mutex_);

  const std::string dir_;
  mutable Mutex mutex_;
  Known known_ FL_GUARDED_BY(mutex_);
  std::uint64_t version_ FL_GUARDED_BY(mutex_) = 0;
};

}  // namespace fairlead::devices
