// SPDX-License-Identifier: Apache-2.0
// The claim records on disk, shared by the instances of one driver on a node (two during a rolling update).
//
//   <state_dir>/claims/<claim uid>.json   {"version": 1, "crc32": "...", "record": {...}}
//   <state_dir>/quarantine/               records that could not be read
//   <state_dir>/lock                      byte locks, one byte per key (by hash); empty
//
//                write         Driver::prepare, CDI file, write
//   (nothing) ─────────► preparing ─────────────────────────► prepared
//       ▲                    │ error or crash                     │ Unprepare
//       │     remove         ▼                                    ▼
//       └──────────────── unpreparing ◄───────────────────────────┘
//
// The disk is the truth: every read looks at the files, since another instance may have changed them.
// A record is replaced by rename, never written in place, so a kill at any moment leaves the old or the new.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "fairlead/core/fd.h"
#include "fairlead/core/mutex.h"
#include "fairlead/core/result.h"
#include "fairlead/dra/driver.h"

namespace fairlead::dra {

/// "preparing", "prepared", "unpreparing".
std::string_view to_string(ClaimState state);

/// A record as the text of its file, and back. `boot_id` says in which boot it was written.
Result<std::string> encode_record(const ClaimRecord& record, std::string_view boot_id);
struct DecodedRecord {
  ClaimRecord record;
  std::string boot_id;
};
/// kCorrupt: damaged; kUnsupported: written by a newer version. Unknown fields are skipped.
Result<DecodedRecord> decode_record(std::string_view text);

/// Any thread, except where noted.
class ClaimStore {
 public:
  using RecordPtr = std::shared_ptr<const ClaimRecord>;
  using Deadline = std::chrono::steady_clock::time_point;

  struct Options {
    std::string state_dir;
    std::string boot_id;  // empty: the kernel's
    /// Told of each file that was put into quarantine, and why. Must not call the store.
    std::function<void(const std::string& path, const Error& why)> on_quarantine = {};
  };

  /// Keys locked against the other instances (not against threads of this process: the Executor does that).
  /// Freed when it goes, or when the process dies.
  class Keys {
   public:
    /// Takes more keys. Callers of all instances must take them in one order: the claim's, then devices'.
    Result<> add(std::vector<std::string> keys, Deadline deadline, const std::stop_token& stop);

   private:
    friend class ClaimStore;
    explicit Keys(UniqueFd fd) : fd_(std::move(fd)) {}
    UniqueFd fd_;
  };

  /// Makes the folders (0750).
  static Result<std::unique_ptr<ClaimStore>> open(Options options);
  ClaimStore(const ClaimStore&) = delete;
  ClaimStore& operator=(const ClaimStore&) = delete;
  ClaimStore(ClaimStore&&) = delete;
  ClaimStore& operator=(ClaimStore&&) = delete;
  ~ClaimStore() = default;

  /// Waits until `deadline` (kTimeout) or `stop` (kCancelled) while another instance holds one of the keys.
  [[nodiscard]] Result<Keys> lock(std::vector<std::string> keys, Deadline deadline,
                                  const std::stop_token& stop = {}) const;

  /// Null: there is none, or it was unreadable and is in quarantine now.
  Result<RecordPtr> read(const std::string& uid) const;
  /// All readable ones, by uid.
  Result<std::vector<RecordPtr>> read_all() const;
  /// What this process put into quarantine and nobody has prepared or unprepared since, if its text mentions
  /// the pod: one sentence about it. A record too damaged for that says nothing about any pod.
  [[nodiscard]] std::optional<Error> put_aside_that_mentions(const std::string& pod_uid) const;
  /// The claim is not prepared any more: its quarantined record is of no interest to any pod.
  void forget_put_aside(const std::string& uid) const;
  Result<> write(const ClaimRecord& record) const;
  /// Removing what is gone succeeds.
  Result<> remove(const std::string& uid) const;
  /// How many records are kept in memory: not more than there are files.
  [[nodiscard]] std::size_t cached() const;
  /// Removes the records that another boot wrote and says whose: the kernel objects they describe are gone.
  Result<std::vector<ClaimRecord>> drop_records_of_other_boots() const;

 private:
  struct Cached {
    ino_t inode = 0;
    off_t size = 0;
    timespec changed = {};
    RecordPtr record;
    std::string boot_id;
  };

  explicit ClaimStore(Options options);
  [[nodiscard]] std::string file_of(const std::string& uid) const {
    return claims_dir_ + "/" + uid + ".json";
  }
  Result<std::optional<Cached>> load(const std::string& uid) const;
  void quarantine(const std::string& uid, const std::string& text, const Error& why) const;
  void remember(const ClaimRecord& record, const std::string& text) const;

  const Options options_;
  const std::string claims_dir_;
  mutable Mutex mutex_;
  /// Parsed files, valid as long as inode, size and change time are the same (rename gives a new inode).
  mutable std::map<std::string, Cached> cache_ FL_GUARDED_BY(mutex_);
  struct PutAside {
    std::string text;
    std::string file;
    std::string why;
  };
  mutable std::map<std::string, PutAside> put_aside_ FL_GUARDED_BY(mutex_);  // by the claim's uid
};

/// /proc/sys/kernel/random/boot_id
Result<std::string> current_boot_id();

}  // namespace fairlead::dra
