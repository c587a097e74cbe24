// SPDX-License-Identifier: Apache-2.0
// The admission of claims: from the check that a claim's devices are free to its intent on disk is one atomic step, for
// all threads and instances.
#pragma once

#include "fairlead/core/mutex.h"
#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"
#include "fairlead/dra/base/driver.h"
#include "fairlead/dra/claims/claim_store.h"
#include "fairlead/dra/claims/device_holders.h"

namespace fairlead::dra {

/// Any thread.
class ClaimAdmission : private Pinned {
 public:
  /// Both must outlive it.
  ClaimAdmission(Driver& driver, ClaimStore& store);

  /// Plans the claim (record.plan) and writes its intent. Planned again when another claim came between.
  Result<> plan_and_admit(ClaimRecord& record, const CallContext& context);

 private:
  Result<> admit(const ClaimRecord& record, const CallContext& context);

  Driver& driver_;
  ClaimStore& store_;
  Mutex mutex_;  // one admission at a time
  DeviceHolders holders_ FL_GUARDED_BY(mutex_);
};

}  // namespace fairlead::dra
