// SPDX-License-Identifier: Apache-2.0
// The entries in the folder of nic_holders.h, by what is asked for: reading the folder again for each claim would cost
// the more the more claims there are.
//
// The disk is the truth: each question first reads which files inotify has reported since the last one. A report is
// there before the call that changed the folder returns, in whichever process, so that an entry written before a lock
// was released is seen by the next holder of the lock. The folder is listed again when events were lost, when the
// folder is another one than before, and each time if there is no inotify.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fairlead/core/mutex.h"
#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"
#include "fairlead/sys/folder_watch.h"

namespace fairlead::agent {

/// How the file of an entry ends that has no effect yet.
inline constexpr std::string_view kIntentSuffix = ".intent";

/// One file, parsed from its name.
struct HolderEntry {
  std::string nic, driver, uid;
  bool whole = false;
  bool is_intent = false;

  auto operator<=>(const HolderEntry&) const = default;
  /// Without the suffix of an intent.
  [[nodiscard]] std::string file() const;
  [[nodiscard]] std::string intent_file() const { return file() + std::string(kIntentSuffix); }
  [[nodiscard]] std::string current_file() const { return is_intent ? intent_file() : file(); }

  /// nullopt: the file is not an entry.
  static std::optional<HolderEntry> parse(std::string_view name);
};

/// Any thread. Errors: the folder cannot be read. A folder that does not exist has no entries.
class HolderIndex : private Pinned {
 public:
  using Entries = std::vector<HolderEntry>;

  HolderIndex(std::string folder, std::string own_driver);

  /// Intents of all drivers.
  Result<Entries> intents();
  /// Entries and intents of this driver: of one claim, of all.
  Result<Entries> own_of(const std::string& claim_uid);
  Result<Entries> own();
  /// Entries of other drivers that exclude this use of the NIC: those that have it as a whole, and if it is wanted as a
  /// whole, all.
  Result<Entries> others_against(const std::string& nic, bool whole);
  /// Entries of other drivers: for each NIC, driver and use the first for which `counts`, which is called without any
  /// lock.
  template <class Counts>
  Result<Entries> others_once(Counts counts) {
    FL_ASSIGN(auto firsts, first_others());
    Entries found;
    for (std::optional<HolderEntry> entry : firsts) {
      for (; entry; entry = next_other(*entry)) {
        if (counts(*entry)) {
          found.push_back(*std::move(entry));
          break;
        }
      }
    }
    return found;
  }
  /// How often the folder was listed.
  [[nodiscard]] std::uint64_t listings() const;

 private:
  struct Use {
    std::string nic, driver;
    bool whole = false;
    auto operator<=>(const Use&) const = default;
  };
  using FolderId = std::pair<std::uint64_t, std::uint64_t>;  // device, inode

  Result<std::vector<HolderEntry>> first_others();
  [[nodiscard]] std::optional<HolderEntry> next_other(const HolderEntry& entry) const;
  Result<> refresh() FL_REQUIRES(mutex_);
  Result<> list_folder() FL_REQUIRES(mutex_);
  /// False: it cannot be said whether the file is there.
  [[nodiscard]] bool look_at(const std::string& name) FL_REQUIRES(mutex_);
  void add(HolderEntry entry) FL_REQUIRES(mutex_);
  void remove(const HolderEntry& entry) FL_REQUIRES(mutex_);
  [[nodiscard]] std::optional<FolderId> folder_id() const;

  const std::string folder_, own_driver_;
  mutable Mutex mutex_;
  std::optional<sys::FolderWatch> watch_ FL_GUARDED_BY(mutex_);  // nothing: list the folder again
  std::optional<FolderId> watched_ FL_GUARDED_BY(mutex_);
  std::uint64_t listings_ FL_GUARDED_BY(mutex_) = 0;
  std::set<HolderEntry> intents_ FL_GUARDED_BY(mutex_);
  std::map<std::string, std::set<HolderEntry>> own_ FL_GUARDED_BY(mutex_);  // by the claim's uid; intents too
  std::map<Use, std::set<std::string>> others_ FL_GUARDED_BY(mutex_);       // the claims' uids
};

}  // namespace fairlead::agent
