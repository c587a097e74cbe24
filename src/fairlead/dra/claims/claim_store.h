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
// The disk is the truth: another instance may change it at any time, so read() looks at the file and read_all() at
// every file that inotify says has changed since the last read_all(). changes_since() gives only these: what it costs
// does not grow with the number of claims. Without inotify both look at every file.
// A record is replaced by rename, never written in place, so a kill at any moment leaves the old or the new.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "fairlead/core/fd.h"
#include "fairlead/core/mutex.h"
#include "fairlead/core/result.h"
#include "fairlead/dra/base/driver.h"
#include "fairlead/dra/claims/record_history.h"
#include "fairlead/sys/folder_watch.h"

namespace fairlead::dra {

/// "preparing", "prepared", "unpreparing".
std::string_view to_string(ClaimState state);

/// The maximum size of a record's text. Typical records have a few KiB; the parameters of a claim can be 1
/// MiB (config_resolve.h), and a driver's plan and state for them about as much.
inline constexpr std::size_t kMaxRecord = std::size_t{8} << 20;

/// Converts a record to the text of its file and back. `boot_id` is the boot in which it was written.
/// kInvalid: text that is not UTF-8, or more than kMaxRecord.
Result<std::string> encode_record(const ClaimRecord& record, std::string_view boot_id);
struct DecodedRecord {
  ClaimRecord record;
  std::string boot_id;
};
/// kCorrupt: damaged; kUnsupported: written by a newer version. Unknown fields are skipped.
Result<DecodedRecord> decode_record(std::string_view text);

/// Any thread, except where noted.
class ClaimStore final : public RecordSource {
 public:
  using RecordPtr = dra::RecordPtr;
  using Deadline = std::chrono::steady_clock::time_point;

  struct Options {
    std::string state_dir;
    std::string boot_id;  // empty: the kernel's
    /// Called for each file that was quarantined, with the reason. Must not call the store.
    std::function<void(const std::string& path, const Error& why)> on_quarantine = {};
    /// Called once for each file (or the folder) that cannot be read any more, until it can. Must not call
    /// the store.
    std::function<void(const std::string& path, const Error& why)> on_unreadable = {};
  };

  /// The content of the folder. A file that cannot be read now affects its own claim only.
  struct View {
    /// By uid. A file that cannot be read now is included as it was last read, if ever; if the folder cannot
    /// be listed, all files are.
    std::vector<RecordPtr> records;
    std::map<std::string, Error> unreadable;  // uid -> why
  };

  /// Keys locked against other instances (not against threads of this process: the Executor does that).
  /// Released when the object is destroyed, or when the process dies.
  class Keys {
   public:
    /// Locks more keys. Callers in all instances must lock them in one order: the claim's, then devices'.
    Result<> add(std::vector<std::string> keys, Deadline deadline, const std::stop_token& stop);

   private:
    friend class ClaimStore;
    explicit Keys(UniqueFd fd) : fd_(std::move(fd)) {}
    UniqueFd fd_;
  };

  /// Makes the folders (0750).
  static Result<std::unique_ptr<ClaimStore>> open(Options options);

  /// Waits until `deadline` (kTimeout) or `stop` (kCancelled) while another instance holds one of the keys.
  [[nodiscard]] Result<Keys> lock(std::vector<std::string> keys, Deadline deadline,
                                  const std::stop_token& stop = {}) const;

  /// Null: there is no record, or it was unreadable and is now quarantined.
  Result<RecordPtr> read(const std::string& uid) const;
  /// All of them. An error: the folder cannot be listed, and was never listed before.
  Result<View> read_all() const;
  /// Errors as of read_all().
  [[nodiscard]] Result<RecordChanges> changes_since(std::uint64_t generation) const override;
  /// An error describing a quarantined record that mentions the pod, unless its claim was prepared or
  /// unprepared since; nullopt otherwise, also if the record is too damaged to mention any pod.
  [[nodiscard]] std::optional<Error> put_aside_that_mentions(const std::string& pod_uid) const;
  /// The claim is not prepared any more: its quarantined record no longer affects any pod.
  void forget_put_aside(const std::string& uid) const;
  Result<> write(const ClaimRecord& record) const;
  /// Succeeds if the record does not exist.
  Result<> remove(const std::string& uid) const;
  /// How many records are kept in memory: not more than there are files.
  [[nodiscard]] std::size_t cached() const;
  /// Removes records written in another boot and returns them: the kernel objects that they describe are
  /// gone.
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
  /// Brings history_ and unreadable_uids_ up to date. An error: the folder cannot be listed; both are as they were.
  Result<> refresh() const FL_REQUIRES(view_mutex_);
  Result<> scan_folder() const FL_REQUIRES(view_mutex_);
  void refresh_record(const std::string& uid) const FL_REQUIRES(view_mutex_);
  void quarantine(const std::string& uid, const std::string& text, const Error& why) const;
  void remember(const ClaimRecord& record, const std::string& text) const;
  [[nodiscard]] RecordPtr last_read(const std::string& uid) const;
  /// What was read last, for a folder that cannot be listed because of `why`; `why` itself if it never could be.
  [[nodiscard]] Result<View> last_view(const Error& why) const;
  void forget_all_but(const std::vector<std::string>& uids) const;
  /// `name`: a claim's uid, or kFolder.
  void note_unreadable(const std::string& name, const Error& why) const;
  void note_readable(const std::string& name) const;

  const Options options_;
  const std::string claims_dir_;
  mutable Mutex mutex_;
  /// Parsed files, valid as long as inode, size and change time are the same (rename gives a new inode). For
  /// a file that cannot be read, the last content.
  mutable std::map<std::string, Cached> cache_ FL_GUARDED_BY(mutex_);
  struct PutAside {
    std::string text;
    std::string file;
    std::string why;
  };
  mutable std::map<std::string, PutAside> put_aside_ FL_GUARDED_BY(mutex_);  // by the claim's uid
  mutable std::set<std::string> unreadable_ FL_GUARDED_BY(mutex_);           // already reported
  mutable bool listed_ FL_GUARDED_BY(mutex_) = false;                        // at least once

  mutable Mutex view_mutex_;  // before mutex_
  /// What changed since the last refresh(); nothing: list the folder again.
  mutable std::optional<sys::FolderWatch> watch_ FL_GUARDED_BY(view_mutex_);
  mutable RecordHistory history_ FL_GUARDED_BY(view_mutex_);
  mutable std::map<std::string, Error> unreadable_uids_ FL_GUARDED_BY(view_mutex_);
};

/// /proc/sys/kernel/random/boot_id
Result<std::string> current_boot_id();

}  // namespace fairlead::dra
