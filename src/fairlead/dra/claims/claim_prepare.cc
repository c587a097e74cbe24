// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/claims/claim_prepare.h"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "fairlead/core/fault.h"
#include "fairlead/dra/claims/claim_cdi.h"
#include "fairlead/dra/claims/guarded.h"

namespace fairlead::dra {
namespace {

bool same_devices(const Claim& a, const Claim& b) {
  return std::equal(a.devices.begin(), a.devices.end(), b.devices.begin(), b.devices.end(),
                    [](const AllocatedDevice& x, const AllocatedDevice& y) {
                      return x.request == y.request && x.pool == y.pool && x.device == y.device &&
                             x.share_id == y.share_id && x.admin_access == y.admin_access;
                    });
}

bool same_pods(const std::vector<Pod>& a, const std::vector<Pod>& b) {
  return std::ranges::equal(a, b, {}, &Pod::uid, &Pod::uid);
}

std::vector<ServedDevice> served(std::string_view driver_name, const ClaimRecord& record) {
  std::vector<ServedDevice> devices;
  for (std::size_t i = 0; i < record.claim.devices.size(); ++i) {
    const AllocatedDevice& from = record.claim.devices[i];
    ServedDevice device{.request = from.main_request(),
                        .pool = from.pool,
                        .device = from.device,
                        .share_id = from.share_id,
                        .cdi_ids = {}};
    if (has_cdi_device(record, i)) {
      device.cdi_ids.push_back(cdi_id(driver_name, record, i));
    }
    devices.push_back(std::move(device));
  }
  return devices;
}

}  // namespace

PrepareAnswer ClaimPrepare::prepare(PrepareJob& job) {
  FL_TRY(job.check_alive());
  if (job.existing) {
    if (job.existing->state == ClaimState::kPrepared &&
        (!job.claim || same_devices(job.existing->claim, *job.claim))) {
      FL_TRY(note_changed_edits(job));
      FL_TRY(write_cdi_file(options_.cdi_dir, options_.driver_name, *job.existing));
      FL_TRY(note_pods(job));
      return served(options_.driver_name, *job.existing);
    }
    // A prepare that was cut off, an undo that failed, or another allocation than the one we prepared (the
    // kubelet lost its state and never told us to unprepare).
    FL_TRY(undo_.undo(*job.existing, job.context), "undo what was prepared before");
  }
  return prepare_anew(job);
}

Result<> ClaimPrepare::note_changed_edits(PrepareJob& job) {
  ClaimRecord record = *job.existing;
  FL_ASSIGN(auto edits, guarded([&] { return driver_.prepare_again(record, job.context); }));
  if (!edits || *edits == record.prepared.device_edits) {
    return {};
  }
  if (edits->size() != record.claim.devices.size()) {
    return Error(Code::kInternal, "the driver gave container edits for " + std::to_string(edits->size()) +
                                      " devices of " + std::to_string(record.claim.devices.size()));
  }
  record.prepared.device_edits = *std::move(edits);
  FL_TRY(store_.write(record));
  job.existing = std::make_shared<const ClaimRecord>(std::move(record));
  return {};
}

/// A kubelet that lost its state prepares for other pods what was prepared before.
Result<> ClaimPrepare::note_pods(const PrepareJob& job) {
  if (!job.claim || same_pods(job.claim->reserved_for, job.existing->claim.reserved_for)) {
    return {};
  }
  ClaimRecord record = *job.existing;
  record.claim.reserved_for = job.claim->reserved_for;
  return store_.write(record);
}

PrepareAnswer ClaimPrepare::prepare_anew(const PrepareJob& job) {
  const Claim& claim = *job.claim;
  const CallContext& context = job.context;
  ClaimRecord record;
  record.claim = claim;
  FL_TRY(admission_.plan_and_admit(record, context));
  fault_point("after-intent");
  if (options_.preparing && !job.reported) {
    options_.preparing(claim.uid);
  }
  auto done = carry_out(record, context);
  if (done) {
    return served(options_.driver_name, record);
  }
  Error error = std::move(done).error();
  if (auto undone = undo_.undo(record, undo_.own_context()); !undone) {
    undo_.retry_later(record.claim.uid);
    return Error(
        error.code(),
        error.what() + " (undoing it failed too and will be tried again: " + undone.error().what() + ")",
        error.sys_errno());
  }
  return error;
}

Result<> ClaimPrepare::carry_out(ClaimRecord& record, const CallContext& context) {
  FL_ASSIGN(record.prepared, guarded([&] { return driver_.prepare(record.claim, record.plan, context); }));
  fault_point("after-prepare");
  if (record.prepared.device_edits.size() != record.claim.devices.size()) {
    return Error(Code::kInternal, "the driver prepared " + std::to_string(record.claim.devices.size()) +
                                      " devices and gave container edits for " +
                                      std::to_string(record.prepared.device_edits.size()));
  }
  FL_TRY(write_cdi_file(options_.cdi_dir, options_.driver_name, record));
  fault_point("after-cdi");
  record.state = ClaimState::kPrepared;
  FL_TRY(store_.write(record));
  fault_point("after-record");
  return {};
}

}  // namespace fairlead::dra
