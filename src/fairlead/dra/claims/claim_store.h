// SPDX-License-Identifier: Apache-2.0
// The claim records on disk, shared by the instances of one driver on a node (two during a rolling update).
//
//   <state_dir>/claims/<claim uid>.json   record_text.h
//   <state_dir>/quarantine/               records that could not be read (quarantine.h)
//   <state_dir>/lock                      byte locks, one byte per key, by hash; empty (claim_locks.h)
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
#include <utility>
#include <vector>

#include "fairlead/core/mutex.h"
#include "fairlead/core/result.h"
#include "fairlead/dra/base/driver.h"
#include "fairlead/dra/claims/claim_locks.h"
#include "fairlead/dra/claims/quarantine.h"
#include "fairlead/dra/claims/record_history.h"
#include "fairlead/dra/claims/record_text.h"
#include "fairlead/sys/files.h"
#include "fairlead/sys/folder_watch.h"

namespace fairlead::dra {

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

  using Keys = ClaimLocks::Keys;

  /// Makes the folders (0750).
  static Result<std::unique_ptr<ClaimStore>> open(Options options);

  /// See ClaimLocks::lock().
  [[nodiscard]] Result<Keys> lock(std::vector<std::string> keys, Deadline deadline,
                                  const std::stop_token& stop = {}) const {
    return locks_.lock(std::move(keys), deadline, stop);
  }

  /// Null: there is no record, or it was unreadable and is now quarantined.
  Result<RecordPtr> read(const std::string& uid) const;
  /// All of them. An error: the folder cannot be listed, and was never listed before.
  Result<View> read_all() const;
  /// Errors as of read_all().
  [[nodiscard]] Result<RecordChanges> changes_since(std::uint64_t generation) const override;
  /// An error describing a quarantined record that mentions the pod, unless its claim was prepared or
  /// unprepared since; nullopt otherwise, also if the record is too damaged to mention any pod.
  [[nodiscard]] std::optional<Error> put_aside_that_mentions(const std::string& pod_uid) const {
    return quarantine_.that_mentions(pod_uid);
  }
  /// The claim is not prepared any more: its quarantined record no longer affects any pod.
  void forget_put_aside(const std::string& uid) const { quarantine_.forget(uid); }
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
    sys::FileStamp stamp;
    RecordPtr record;
    std::string boot_id;
    std::optional<bool> plan_is_object = {};  // is_canonical_object(record->plan), if known
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
  [[nodiscard]] bool plan_is_object(const ClaimRecord& record) const;
  [[nodiscard]] RecordPtr last_read(const std::string& uid) const;
  /// What was read last, for a folder that cannot be listed because of `why`; `why` itself if it never could be.
  [[nodiscard]] Result<View> last_view(const Error& why) const;
  void forget_all_but(const std::vector<std::string>& uids) const;
  /// `name`: a claim's uid, or kFolder.
  void note_unreadable(const std::string& name, const Error& why) const;
  void note_readable(const std::string& name) const;

  const Options options_;
  const std::string claims_dir_;
  const ClaimLocks locks_;
  mutable Quarantine quarantine_;
  mutable Mutex mutex_;
  /// Parsed files, valid as long as their stamp is the same (rename gives a new inode). For a file that cannot be
  /// read, the last content.
  mutable std::map<std::string, Cached> cache_ FL_GUARDED_BY(mutex_);
  mutable std::set<std::string> unreadable_ FL_GUARDED_BY(mutex_);  // already reported
  mutable bool listed_ FL_GUARDED_BY(mutex_) = false;               // at least once

  mutable Mutex view_mutex_;  // before mutex_
  /// What changed since the last refresh(); nothing: list the folder again.
  mutable std::optional<sys::FolderWatch> watch_ FL_GUARDED_BY(view_mutex_);
  mutable RecordHistory history_ FL_GUARDED_BY(view_mutex_);
  mutable std::map<std::string, Error> unreadable_uids_ FL_GUARDED_BY(view_mutex_);
};

/// /proc/sys/kernel/random/boot_id
Result<std::string> current_boot_id();

}  // namespace fairlead::dra
