// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/claims/claim_admission.h"

#include <utility>

#include "fairlead/core/fault.h"
#include "fairlead/dra/claims/claim_call.h"
#include "fairlead/dra/claims/guarded.h"

namespace fairlead::dra {
namespace {

/// Of the claims that are planned at one moment, each may come between once: as many as there are workers of
/// two instances.
constexpr int kPlanTries = 10;

/// One for each device.
Result<DeviceHolders::Identities> identities_of(const Driver& driver, const ClaimRecord& record) {
  FL_ASSIGN(auto identities,
            guarded([&]() -> Result<DeviceHolders::Identities> { return driver.identities(record); }));
  identities.resize(record.claim.devices.size());
  return identities;
}

}  // namespace

ClaimAdmission::ClaimAdmission(Driver& driver, ClaimStore& store)
    : driver_(driver),
      store_(store),
      holders_([&driver](const ClaimRecord& record) { return identities_of(driver, record); }) {}

/// Claims are planned side by side, by threads and by two instances: one that was planned at the same moment
/// and admitted first may have what this plan says. Then the plan is made once more, and sees the other.
Result<> ClaimAdmission::plan_and_admit(ClaimRecord& record, const CallContext& context) {
  for (int tries = 1;; ++tries) {
    FL_ASSIGN(record.plan, guarded([&] { return driver_.plan(record.claim); }));
    record.plan_for_previous = driver_.plan_for_previous(record.plan);
    auto admitted = admit(record, context);
    if (admitted || admitted.error().code() != Code::kConflict || tries == kPlanTries) {
      return admitted;
    }
    FL_TRY(is_in_time(context));
  }
}

/// No other claim may have the devices; from here on they are this claim's.
Result<> ClaimAdmission::admit(const ClaimRecord& record, const CallContext& context) {
  const Lock lock(mutex_);
  FL_ASSIGN(const auto keys, store_.lock({"admission"}, context.deadline, context.cancelled));
  // Of a record that cannot be read now, what it said last counts; of one that never could, that the
  // scheduler allocates a device once.
  FL_TRY(holders_.update(store_));
  FL_TRY(holders_.check(record));
  FL_ASSIGN(const auto admission, guarded([&] { return driver_.begin_admission(record, store_, context); }));
  fault_point("after-admission");
  FL_TRY(store_.write(record));
  fault_point("after-admission-record");
  if (!admission) {
    return {};
  }
  auto known = guarded([&] { return admission->recorded(); });
  if (!known) {
    // Nothing was done for the claim yet. Should the record stay, the next call or start undoes it.
    (void)store_.remove(record.claim.uid);
  }
  return known;
}

}  // namespace fairlead::dra
