// SPDX-License-Identifier: Apache-2.0
// What the agent does about the claims at its start, before the kubelet can call: records of another boot are dropped,
// in-flight claims undone, CDI files rebuilt or removed; then the driver gets the records that are left.
#pragma once

#include <string>

#include "fairlead/core/result.h"
#include "fairlead/dra/base/driver.h"
#include "fairlead/dra/claims/claim_store.h"
#include "fairlead/dra/claims/claim_undo.h"

namespace fairlead::dra {

struct RestoreOptions {
  std::string driver_name, state_dir, cdi_dir;
};

/// Once, before the first call of the kubelet. Does not need the API server.
Result<> restore_claims(const RestoreOptions& options, Driver& driver, ClaimStore& store, ClaimUndo& undo);

}  // namespace fairlead::dra
