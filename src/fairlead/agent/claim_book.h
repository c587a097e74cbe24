// SPDX-License-Identifier: Apache-2.0
// What the claims of this node have, from their records: by link, by pod, by device. Each record is read once, and a
// question costs what there is on the link or in the pod, whatever the number of claims.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "fairlead/agent/attach/plan_reader.h"
#include "fairlead/agent/claim_names.h"
#include "fairlead/agent/nic_holders.h"
#include "fairlead/core/mutex.h"
#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"
#include "fairlead/devices/kind.h"
#include "fairlead/devices/netdev/link_book.h"
#include "fairlead/devices/node.h"
#include "fairlead/dra/base/driver.h"
#include "fairlead/dra/base/host.h"
#include "fairlead/sys/inventory.h"

namespace fairlead::agent {

/// A claim and its plan, as other claims see it.
devices::PlannedClaim planned_claim(const dra::Claim& claim, const ClaimPlan& plan);

/// Any thread.
class ClaimBook : private Pinned {
 public:
  using RecordPtr = dra::RecordPtr;
  using ClaimPtr = std::shared_ptr<const devices::PlannedClaim>;

  /// Must outlive it.
  explicit ClaimBook(const PlanReader& plans) : plans_(&plans) {}

  /// Takes over what changed since the last call. All sources that it is ever given count the same generations, as
  /// Host and the records of Driver::begin_admission() do.
  Result<> refresh(const dra::RecordSource& records);
  [[nodiscard]] bool has(const std::string& claim_uid) const;

  // ---- for a plan: claims other than that of the uid `except`

  /// Those with one of these pods, by uid.
  [[nodiscard]] PlannedClaims in_pods(const std::vector<dra::Pod>& pods, const std::string& except) const;
  using IsLink = devices::OtherClaims::IsLink;
  /// As devices::OtherClaims.
  [[nodiscard]] std::optional<devices::OtherDevice> find_on(const IsLink& is_link, devices::LinkShare share,
                                                            const std::string& except) const;
  [[nodiscard]] std::optional<devices::OtherDevice> find_want(const IsLink& is_link, const std::string& want,
                                                              const std::string& except) const;
  [[nodiscard]] std::optional<devices::OtherDevice> find_other_value(const IsLink& is_link,
                                                                     const std::string& what,
                                                                     const std::string& value,
                                                                     const std::string& except) const;

  // ---- for an admission

  struct Conflict {
    ClaimPtr with;
    std::string what;  // "the address 192.0.2.5 on eth0"
    bool of_same_pod = false;
  };
  /// What `own` cannot have beside the records of other claims. After a refresh() from the same records.
  [[nodiscard]] std::optional<Conflict> find_conflict(const devices::PlannedClaim& own) const;

  // ---- for the slices

  /// NICs that were allocated as a whole.
  [[nodiscard]] std::vector<devices::HeldDevice> held() const;
  /// The links that interfaces sit on which we make, without those of the claims in `except`.
  [[nodiscard]] std::vector<sys::InventoryLink> shared_links(const std::set<std::string>& except) const;
  /// All claims, and the NICs that each has. `node`: the node's links; called at most once, for records of version
  /// 0.1, which have the parent's name only.
  [[nodiscard]] Result<std::vector<NicClaim>> nic_claims(const std::function<Result<sys::Inventory>()>& node);

 private:
  struct Entry {
    RecordPtr record;
    ClaimPtr claim;  // nullptr: its plan cannot be read, so that nothing was taken yet
    std::vector<devices::HeldDevice> held;
    std::optional<std::vector<NicUse>> nics;  // nullopt: not asked for yet, or not all are known
  };
  void apply(const dra::RecordChanges& changes) FL_REQUIRES(mutex_);
  void put(const RecordPtr& record) FL_REQUIRES(mutex_);
  void take_out(const std::string& claim_uid) FL_REQUIRES(mutex_);
  [[nodiscard]] PlannedClaims of_pods(const std::vector<dra::Pod>& pods, const std::string& except) const
      FL_REQUIRES(mutex_);

  const PlanReader* plans_;
  mutable Mutex mutex_;
  std::uint64_t generation_ FL_GUARDED_BY(mutex_) = 0;          // of the records that were taken over
  std::map<std::string, Entry> entries_ FL_GUARDED_BY(mutex_);  // by the claim's uid
  devices::netdev::LinkBook links_ FL_GUARDED_BY(mutex_);
  /// By the pod's uid, then the claim's.
  std::unordered_map<std::string, std::map<std::string, ClaimPtr>> pods_ FL_GUARDED_BY(mutex_);
  std::set<std::string> holders_ FL_GUARDED_BY(mutex_);  // uids of the claims with Entry::held
};

}  // namespace fairlead::agent
