// SPDX-License-Identifier: Apache-2.0
// Which claim has which NIC of this node, shared among the fairlead agents of different driver names that run
// on it: each agent sees only the records of its own claims.
//
//   <dir>/lock                                         flock(2): one admission of a NIC at a time, node-wide
//   <dir>/holders/<nic>_<driver>_<claim uid>.<use>     JSON; <use> is "whole" or "shared"
//   <dir>/holders/<nic>_<driver>_<claim uid>.<use>.intent
//
// An admission writes its intents, then the claim's record, then renames the intents, all under the lock: an
// intent found while holding the lock is from a process that was killed before it did anything for its claim.
// An entry is removed before its record is. So an entry without a record belongs to a driver that has lost
// its records; it is removed by the driver's own agent, or any other that can see the folder of the records.
// An entry whose record is quarantined is kept: the claim's pod may still have the NIC.
//
// If the files are removed, even the lock, each agent writes its own entries again.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fairlead/agent/holder_index.h"
#include "fairlead/agent/nic_use.h"
#include "fairlead/core/fd.h"
#include "fairlead/core/result.h"
#include "fairlead/dra/base/driver.h"

namespace fairlead::agent {

/// A claim of this driver that has a record.
struct NicClaim {
  std::string uid, namespace_, name;
  std::vector<NicUse> uses;
  /// It has everything that it was planned to have. Otherwise it may have nothing yet (killed between record
  /// and entry), or have returned everything already.
  bool is_prepared = true;
};

/// Any thread.
class NicHolders {
 public:
  static constexpr const char* kDefaultFolder = "/run/fairlead";
  struct Options {
    std::string dir = kDefaultFolder;
    std::string driver;
    std::string state_dir;  // where the driver's records are
    /// nullopt: the kernel's. Empty: not known, and entries of another boot are not recognized.
    std::optional<std::string> boot_id = {};
    /// For the lock, which a running agent holds only for as long as it takes to write a few files.
    std::chrono::milliseconds patience{3000};
  };
  explicit NicHolders(Options options);

  [[nodiscard]] const std::string& dir() const { return options_.dir; }

  /// Makes the folders. An error: entries cannot be written or read; one sentence that says what to do.
  Result<> open() const;

  /// From here on the claim has these NICs, if its record is written (dra::Driver::begin_admission). kBusy: a claim of
  /// another driver has one of them, or another agent does not release the lock. Returns null at once if
  /// there are no NICs.
  Result<std::unique_ptr<dra::Admission>> admit(const NicClaim& claim, const dra::CallContext& context) const;
  /// Before the claim is undone: returns those of its NICs that it no longer has, because a claim of another
  /// driver has them. This happens if a process was killed between an entry and the record. NICs that no
  /// claim has are assigned to this claim again until forget().
  [[nodiscard]] Result<std::vector<std::string>> lost(const NicClaim& claim,
                                                      const dra::CallContext& context) const;
  /// The claim has returned everything that it had.
  Result<> forget(const std::string& claim_uid) const;

  /// Makes the entries of this driver match its records: after a crash, an update from a version that wrote
  /// none, or if the entries were removed. `claims` is called while no claim is admitted.
  Result<> repair(const std::function<Result<std::vector<NicClaim>>()>& claims) const;
  /// Whether repair() would find something to do; may be briefly wrong while claims change.
  [[nodiscard]] Result<bool> needs_repair(const std::vector<NicClaim>& claims) const;

  /// NICs that claims of other drivers have or share.
  struct Holder {
    std::string nic, driver;
    bool whole = false;
  };
  /// Sorted, each once.
  [[nodiscard]] Result<std::vector<Holder>> of_others() const;

 private:
  using Entry = HolderEntry;
  class Intents;
  [[nodiscard]] std::string folder() const { return options_.dir + "/holders"; }
  [[nodiscard]] std::string lock_file() const { return options_.dir + "/lock"; }
  [[nodiscard]] Result<UniqueFd> open_lock() const;
  [[nodiscard]] Error held_by_another() const;
  [[nodiscard]] static Error held_by(const Entry& entry, const NicClaim& claim, const NicUse& wanted);
  [[nodiscard]] Result<UniqueFd> lock(const dra::CallContext& context) const;
  [[nodiscard]] Result<bool> is_left_over(const Entry& entry) const;
  [[nodiscard]] Result<> refuse_what_others_have(const NicClaim& claim) const;
  [[nodiscard]] Result<bool> is_taken(const NicUse& use) const;
  [[nodiscard]] Entry entry_of(const NicClaim& claim, const NicUse& use) const;
  [[nodiscard]] Result<std::string> content(const NicClaim& claim, const NicUse& use) const;

  const Options options_;
  std::unique_ptr<HolderIndex> index_;
};

}  // namespace fairlead::agent
