// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/claims/claim_undo.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "fairlead/core/fault.h"
#include "fairlead/core/log.h"
#include "fairlead/dra/claims/claim_cdi.h"
#include "fairlead/dra/claims/claim_keys.h"
#include "fairlead/dra/claims/guarded.h"

namespace fairlead::dra {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

CallContext ClaimUndo::own_context() const {
  // Not the caller's: that one may be what ended the prepare.
  return {.deadline = steady_clock::now() + options_.budget, .cancelled = {}};
}

Result<> ClaimUndo::undo(ClaimRecord record, const CallContext& context) {
  if (record.state != ClaimState::kUnpreparing) {
    record.state = ClaimState::kUnpreparing;
    if (auto written = store_.write(record); !written) {
      // A full disk must not keep a pod from ending. The kubelet has no result yet and will try again.
      log::warn("cannot record that a claim is being unprepared, ignoring",
                {{"uid", record.claim.uid}, {"error", written.error().what()}});
    }
  }
  fault_point("before-unprepare-effect");
  FL_TRY(guarded([&] { return driver_.unprepare(record, context); }));
  fault_point("after-unprepare-effect");
  FL_TRY(remove_cdi_file(options_.cdi_dir, options_.driver_name, record.claim.uid));
  fault_point("after-cdi-removed");
  FL_TRY(store_.remove(record.claim.uid));
  fault_point("after-record-removed");
  if (options_.undone) {
    options_.undone(record.claim.uid);
  }
  return {};
}

void ClaimUndo::schedule_retry(const std::string& uid, unsigned attempt) {
  const auto pause =
      std::min<milliseconds>(options_.retry_min * (1U << std::min(attempt, 10U)), milliseconds(60'000));
  timer_.at(steady_clock::now() + pause, [this, uid, attempt] {
    // Refused when stopping or too busy: the next start, or the kubelet's next call for the claim, does it.
    (void)executor_.submit({claim_key(uid)},
                           [this, uid, attempt](Executor::Turn& turn) { retry(turn, uid, attempt); });
  });
}

void ClaimUndo::retry(Executor::Turn& turn, const std::string& uid, unsigned attempt) {
  auto keys = store_.lock({claim_key(uid)}, own_context().deadline);
  auto record = keys ? store_.read(uid) : Result<RecordPtr>(keys.error());
  if (!record) {
    schedule_retry(uid, attempt + 1);
    return;
  }
  if (!*record || (*record)->state != ClaimState::kUnpreparing) {
    return;  // another thread or instance did it
  }
  Executor::Keys devices;
  add_device_keys((*record)->claim, devices);
  auto held = std::make_shared<ClaimStore::Keys>(std::move(*keys));
  auto locks = devices;
  turn.then(std::move(devices), [=, this, record = *record](Executor::Turn& /*turn*/) {
    const auto context = own_context();
    auto undone = held->add(locks, context.deadline, {});
    if (undone) {
      undone = undo(*record, context);
    }
    if (undone) {
      log::info("claim unprepared after another try", {{"uid", uid}});
      return;
    }
    log::warn("claim still not unprepared, trying again", {{"uid", uid}, {"error", undone.error().what()}});
    schedule_retry(uid, attempt + 1);
  });
}

}  // namespace fairlead::dra
