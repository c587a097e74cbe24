// SPDX-License-Identifier: Apache-2.0
// Prepares one claim whose keys are held, from its record and what the API server says.
//
//   no record ─► plan, admission, intent on disk ─► Driver::prepare ─► CDI file ─► record: prepared
//                                                        │ error
//                                                        └──► undone
//   prepared, same devices ─► CDI file written again
//   any other record ─► undone, then as without a record
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"
#include "fairlead/dra/base/driver.h"
#include "fairlead/dra/claims/claim_admission.h"
#include "fairlead/dra/claims/claim_call.h"
#include "fairlead/dra/claims/claim_store.h"
#include "fairlead/dra/claims/claim_undo.h"

namespace fairlead::dra {

/// Any thread.
class ClaimPrepare : private Pinned {
 public:
  struct Options {
    std::string driver_name, cdi_dir;
    std::function<void(const std::string& uid)> preparing;  // ClaimHooks::preparing
  };

  /// All must outlive it.
  ClaimPrepare(Options options, Driver& driver, ClaimStore& store, ClaimUndo& undo)
      : options_(std::move(options)),
        driver_(driver),
        store_(store),
        undo_(undo),
        admission_(driver, store) {}

  /// The job has its claim, its record, and the keys of the claim and of both's devices.
  PrepareAnswer prepare(PrepareJob& job);

 private:
  /// In the record and in `job`.
  Result<> note_changed_edits(PrepareJob& job);
  Result<> note_pods(const PrepareJob& job);
  PrepareAnswer prepare_anew(const PrepareJob& job);
  Result<> carry_out(ClaimRecord& record, const CallContext& context);

  const Options options_;
  Driver& driver_;
  ClaimStore& store_;
  ClaimUndo& undo_;
  ClaimAdmission admission_;
};

}  // namespace fairlead::dra
