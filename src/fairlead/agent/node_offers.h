// SPDX-License-Identifier: Apache-2.0
// What this node offers: what its kinds of device offer, with what claims hold, without what is withheld.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "fairlead/agent/attach/attach.h"
#include "fairlead/agent/claim_book.h"
#include "fairlead/agent/holders_watch.h"
#include "fairlead/agent/nic_holders.h"
#include "fairlead/agent/node_reader.h"
#include "fairlead/core/mutex.h"
#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"
#include "fairlead/devices/node.h"
#include "fairlead/devices/registry.h"
#include "fairlead/dra/base/driver.h"
#include "fairlead/dra/base/host.h"
#include "fairlead/sys/facts/facts_watcher.h"

namespace fairlead::agent {

/// discover() and repair_holders() are called from one thread at a time, the others from any.
class NodeOffers : private Pinned {
 public:
  /// All must outlive it.
  struct Parts {
    dra::Host* host = nullptr;
    const devices::Registry* registry = nullptr;
    const devices::NodeOptions* node = nullptr;
    Attacher* attacher = nullptr;
    ClaimBook* book = nullptr;
    const NicHolders* holders = nullptr;  // nullptr: there is no other driver
    /// discover() is called when links change, and the Node object is read (NodeOptions::memory).
    bool watch_node = true;
  };
  explicit NodeOffers(const Parts& parts) : parts_(parts) {}

  /// dra::Driver::discover()
  Result<std::vector<dra::Pool>> discover();
  /// An error: a kind offers nothing at all, such as no NIC while the node's own links cannot be determined.
  [[nodiscard]] Result<> ready() const;
  /// How many devices are withheld, by reason.
  [[nodiscard]] std::string metrics_text() const;

  struct Node {
    std::shared_ptr<const sys::NodeFacts> facts;
    devices::NodeView links;
  };
  /// The node as a plan sees it: as of the kernel's last event. Never null. The same object as long as nothing changes:
  /// making one costs the more the more links the node has.
  [[nodiscard]] Result<std::shared_ptr<const Node>> known_node() const;

  /// The claim is undone and its record is about to be removed: none of its links exist any more.
  void undone(const std::string& claim_uid);
  /// It is planned again.
  void planned(const std::string& claim_uid);

  /// Makes this driver's entries for the other drivers of the node match the records.
  void repair_holders();

 private:
  void watch_node();
  /// Of the known claims.
  struct InUse {
    std::vector<devices::HeldDevice> held;   // devices that were allocated as a whole
    std::vector<sys::InventoryLink> shared;  // the parents of interfaces that we make
  };
  Result<InUse> in_use();
  enum class Look : std::uint8_t { kKnown, kAgain };
  [[nodiscard]] Result<std::shared_ptr<const sys::NodeFacts>> read_facts(Look look) const;
  void remember_uplinks(const sys::NodeFacts& facts) const;
  [[nodiscard]] devices::OtherDrivers other_drivers() const;
  /// The claims with a record, and the NICs that each has.
  [[nodiscard]] Result<std::vector<NicClaim>> nic_claims();
  /// Logs the changes.
  void note_withheld(const devices::Offers& offers);
  void look_after_devices();
  [[nodiscard]] const std::string& driver_name() const { return parts_.node->driver_name; }

  const Parts parts_;
  /// What known_node() returned last, and what it was made of besides the facts.
  struct Known {
    std::shared_ptr<const Node> node;
    std::uint64_t memory = 0;  // NodeMemory::version()
    devices::OtherDrivers others;
  };
  mutable Mutex known_mutex_;
  mutable Known known_ FL_GUARDED_BY(known_mutex_);
  std::once_flag discovered_;
  Mutex undone_mutex_;
  std::set<std::string> undone_ FL_GUARDED_BY(undone_mutex_);
  mutable Mutex withheld_mutex_;
  /// At the last discover(). By what the device is called on the node.
  std::map<std::string, devices::NotOffered> withheld_ FL_GUARDED_BY(withheld_mutex_);
  std::optional<devices::NotOffered> problem_ FL_GUARDED_BY(withheld_mutex_);
  // Last: their threads use the host, and are made by the first discover().
  std::unique_ptr<sys::FactsWatcher> facts_;
  std::atomic<sys::FactsWatcher*> known_facts_ =
      nullptr;  // facts_, for other threads than that of discover()
  std::unique_ptr<NodeReader> node_reader_;
  std::unique_ptr<HoldersWatch> holders_watch_;
};

}  // namespace fairlead::agent
