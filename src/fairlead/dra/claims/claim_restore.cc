// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/claims/claim_restore.h"

#include <chrono>
#include <utility>
#include <vector>

#include "fairlead/core/log.h"
#include "fairlead/core/text.h"
#include "fairlead/dra/claims/claim_cdi.h"
#include "fairlead/dra/claims/claim_keys.h"
#include "fairlead/dra/claims/guarded.h"
#include "fairlead/sys/files.h"

namespace fairlead::dra {
namespace {

using std::chrono::steady_clock;

class Restore {
 public:
  Restore(const RestoreOptions& options, Driver& driver, ClaimStore& store, ClaimUndo& undo)
      : options_(options), driver_(driver), store_(store), undo_(undo) {}
  Result<> run();

 private:
  void restore_one(const ClaimRecord& record);
  void remove_orphan_cdi_files();

  const RestoreOptions& options_;
  Driver& driver_;
  ClaimStore& store_;
  ClaimUndo& undo_;
};

void Restore::restore_one(const ClaimRecord& record) {
  const std::string& uid = record.claim.uid;
  const auto fields = [&](const Error& error) {
    log::warn("cannot restore a claim; leaving it unchanged", {{"uid", uid}, {"error", error.what()}});
  };
  // Not waiting: another running instance holds the key and is working on this claim.
  const auto now = steady_clock::now();
  std::vector<std::string> device_keys;
  add_device_keys(record.claim, device_keys);
  auto keys = store_.lock({claim_key(uid)}, now);
  if (!keys) {
    fields(keys.error());
    return;
  }
  if (auto more = keys->add(device_keys, now, {}); !more) {
    fields(more.error());
    return;
  }
  const auto current = store_.read(uid);  // it may have changed before we had the key
  if (!current) {
    fields(current.error());
    return;
  }
  if (!*current) {
    return;
  }
  if ((*current)->state == ClaimState::kPrepared) {
    if (auto written = write_cdi_file(options_.cdi_dir, options_.driver_name, **current); !written) {
      fields(written.error());
    }
    return;
  }
  if (auto undone = undo_.undo(**current, undo_.own_context()); !undone) {
    log::warn("cannot undo a claim that was in flight, trying again",
              {{"uid", uid}, {"state", to_string((*current)->state)}, {"error", undone.error().what()}});
    undo_.retry_later(uid);
    return;
  }
  log::info("claim that was in flight undone", {{"uid", uid}, {"state", to_string((*current)->state)}});
}

void Restore::remove_orphan_cdi_files() {
  sys::remove_old_temporaries(options_.cdi_dir, options_.driver_name + "-claim_");
  sys::remove_old_temporaries(options_.state_dir + "/claims", "");
  const auto names = sys::list_dir(options_.cdi_dir);
  if (!names) {
    log::warn("cannot look for old CDI files, ignoring", {{"error", names.error().what()}});
    return;
  }
  for (const std::string& name : *names) {
    const std::string uid = claim_uid_of_cdi_file(options_.driver_name, name);
    if (!is_uid(uid)) {
      continue;
    }
    // A record comes before its CDI file and goes after it, so a file without a record is left over.
    const auto keys = store_.lock({claim_key(uid)}, steady_clock::now());
    const auto record = keys ? store_.read(uid) : Result<RecordPtr>(keys.error());
    if (record && !*record) {
      (void)remove_cdi_file(options_.cdi_dir, options_.driver_name, uid);
      log::info("CDI file without a claim removed", {{"file", name}});
    }
  }
}

Result<> Restore::run() {
  FL_ASSIGN(const auto dropped, store_.drop_records_of_other_boots());
  for (const ClaimRecord& record : dropped) {
    log::info("claim of another boot dropped", {{"uid", record.claim.uid}});
    if (const auto removed = remove_cdi_file(options_.cdi_dir, options_.driver_name, record.claim.uid);
        !removed) {
      log::warn("cannot remove the CDI file of a claim of another boot",
                {{"uid", record.claim.uid}, {"error", removed.error().what()}});
    }
  }
  FL_ASSIGN(const auto found, store_.read_all());
  for (const RecordPtr& record : found.records) {
    restore_one(*record);
  }
  remove_orphan_cdi_files();
  FL_ASSIGN(const auto left, store_.read_all());
  std::vector<ClaimRecord> records;
  records.reserve(left.records.size());
  for (const RecordPtr& record : left.records) {
    records.push_back(*record);
  }
  return guarded([&]() -> Result<> {
    driver_.restored(records);
    return {};
  });
}

}  // namespace

Result<> restore_claims(const RestoreOptions& options, Driver& driver, ClaimStore& store, ClaimUndo& undo) {
  return Restore(options, driver, store, undo).run();
}

}  // namespace fairlead::dra
