// SPDX-License-Identifier: Apache-2.0
// The files that `drydock run` is given, read and checked before anything of the machine is touched.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "drydock/node/confinement.h"
#include "drydock/node/run_options.h"
#include "fairlead/core/result.h"

namespace drydock {

struct ManifestFile {
  std::string file, text;
};

struct RunInput {
  std::vector<ManifestFile> manifests;     // each holds objects that the API server knows
  std::optional<Confinement> confinement;  // --confine

  /// kInvalid: one sentence names the file or option, the place in it and what is wrong. Other codes: it
  /// cannot be read, or this machine lacks something that it asks for.
  static fairlead::Result<RunInput> read(const RunOptions& options);
};

}  // namespace drydock
