// SPDX-License-Identifier: Apache-2.0
// Who has which NIC of this node, told among the fairlead agents of different driver names that run on it:
// each sees its own claims' records only.
//
//   <dir>/lock                                         flock(2): one admission of a NIC at a time, node-wide
//   <dir>/holders/<nic>_<driver>_<claim uid>.<use>     JSON; <use> is "whole" or "shared"
//   <dir>/holders/<nic>_<driver>_<claim uid>.<use>.intent
//
// An admission writes its intents, then the claim's record, then renames the intents, all under the lock: an
// intent that is found while one holds the lock is of a process that was killed before anything was done for
// its claim. An entry goes before its record goes. So an entry without record is of a driver that has lost
// its records; its own agent removes it, and any other that can see the folder of the records. One whose
// record is in quarantine stays: the claim's pod may still have the NIC.
//
// When somebody removes the files, the lock as well, each agent writes its own entries anew.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "fairlead/core/fd.h"
#include "fairlead/core/result.h"
#include "fairlead/devices/kind.h"
#include "fairlead/devices/netdev/link_use.h"
#include "fairlead/dra/driver.h"

namespace fairlead::agent {

/// A NIC as all agents of the node call it.
struct NicUse {
  std::string nic;   // devices::node_wide_name()
  std::string link;  // for people: its name on the node
  bool whole = false;
};
/// Of the links that a claim uses, those that other drivers might hand out as well; each once.
std::vector<NicUse> nic_uses(const std::vector<devices::netdev::LinkUse>& links);

/// A claim of this driver that has a record.
struct NicClaim {
  std::string uid, namespace_, name;
  std::vector<NicUse> uses;
  /// It has everything that it was planned to have. Else it may have got nothing yet (killed between record
  /// and entry), or have given everything back already.
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
    /// Nothing: the kernel's. Empty: it is not known, and no entry is told from one of another boot.
    std::optional<std::string> boot_id = {};
    /// For the lock, which one that is alive holds for as long as it takes to write a few files.
    std::chrono::milliseconds patience{3000};
  };
  explicit NicHolders(Options options);

  /// Makes the folders. An error: no entry can be written or seen, one sentence that says what to do.
  Result<> open() const;

  /// From here on the claim has these NICs, if its record is written (dra::Driver::admit). kBusy: a claim of
  /// another driver has one of them, or another agent does not give the lock back. Without NICs the answer is
  /// null at once.
  Result<std::unique_ptr<dra::Admission>> admit(const NicClaim& claim, const dra::CallContext& context) const;
  /// Before the claim is undone: of its NICs, those that it has no more, because a claim of another driver has
  /// them. That is so where a process was killed between an entry and the record. Those that nobody has are
  /// the claim's again until forget().
  [[nodiscard]] Result<std::vector<std::string>> lost(const NicClaim& claim,
                                                      const dra::CallContext& context) const;
  /// The claim has given back all that it had.
  Result<> forget(const std::string& claim_uid) const;

  /// Makes the entries of this driver what its records say: after a crash or an update from a version that
  /// wrote none, or when somebody removed them. `claims` is called while nobody is admitted.
  Result<> repair(const std::function<Result<std::vector<NicClaim>>()>& claims) const;
  /// Whether repair() would find something to do; may be wrong for a moment while claims come and go.
  [[nodiscard]] Result<bool> needs_repair(const std::vector<NicClaim>& claims) const;

  /// NICs that claims of other drivers have, or share.
  struct Holder {
    std::string nic, driver;
    bool whole = false;
  };
  /// Sorted, each once.
  [[nodiscard]] Result<std::vector<Holder>> of_others() const;

 private:
  struct Entry;
  class Intents;
  [[nodiscard]] std::string folder() const { return options_.dir + "/holders"; }
  enum class Which : std::uint8_t { kAll, kOwn, kIntentsAndOthers };
  /// Others than `which` are left out before they are looked at: there may be a thousand.
  [[nodiscard]] Result<std::vector<Entry>> entries(Which which, std::string_view claim_uid = {}) const;
  [[nodiscard]] std::string lock_file() const { return options_.dir + "/lock"; }
  [[nodiscard]] Result<UniqueFd> open_lock() const;
  [[nodiscard]] Error held_by_another() const;
  [[nodiscard]] Result<UniqueFd> lock(const dra::CallContext& context) const;
  [[nodiscard]] Result<bool> is_left_over(const Entry& entry) const;
  [[nodiscard]] Result<> refuse_what_others_have(const NicClaim& claim) const;
  [[nodiscard]] Result<bool> is_taken(const NicUse& use, const std::vector<Entry>& present) const;
  [[nodiscard]] Entry entry_of(const NicClaim& claim, const NicUse& use) const;
  [[nodiscard]] Result<std::string> content(const NicClaim& claim, const NicUse& use) const;

  const Options options_;
};

/// Calls `changed` when entries of other drivers than `driver` come or go, or all with the folder, which is
/// then made again; from a thread of its own.
class HoldersWatch {
 public:
  /// Makes the folder.
  static Result<std::unique_ptr<HoldersWatch>> start(const std::string& dir, std::string driver,
                                                     std::function<void()> changed);
  HoldersWatch(const HoldersWatch&) = delete;
  HoldersWatch& operator=(const HoldersWatch&) = delete;
  HoldersWatch(HoldersWatch&&) = delete;
  HoldersWatch& operator=(HoldersWatch&&) = delete;
  ~HoldersWatch();

 private:
  struct Seen {
    bool any = false, folder_gone = false;
  };
  HoldersWatch(std::string folder, UniqueFd events, UniqueFd stop, std::string driver,
               std::function<void()> changed);
  void run() const;
  [[nodiscard]] Seen read_events() const;
  std::string folder_;
  UniqueFd events_, stop_;
  std::string driver_;
  std::function<void()> changed_;
  std::thread thread_;
};

}  // namespace fairlead::agent
