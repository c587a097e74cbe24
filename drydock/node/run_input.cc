// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/run_input.h"

#include <utility>

#include "drydock/cluster/manifest.h"
#include "drydock/node/node_network.h"
#include "drydock/node/seccomp_profile.h"
#include "fairlead/sys/files.h"

namespace drydock {

namespace sys = fairlead::sys;
using fairlead::Code;
using fairlead::Error;
using fairlead::Result;

Result<RunInput> RunInput::read(const RunOptions& options) {
  RunInput out;
  FL_TRY(NodeNetwork::check_nics(options.nics));
  for (const auto& file : options.manifests) {
    FL_ASSIGN(auto text, sys::read_file(file));
    FL_TRY(read_manifests(text, file));
    out.manifests.push_back({.file = file, .text = std::move(text)});
  }
  if (options.confine.empty()) {
    return out;
  }
  FL_ASSIGN(const auto text, sys::read_file(options.confine));
  FL_ASSIGN(out.confinement, read_confinement(text, options.confine));
  if (out.confinement->default_seccomp) {
    if (const auto profile = default_seccomp({}); !profile) {
      // The file is right, the machine is not.
      return Error(Code::kUnavailable, "--confine " + options.confine + ": " + profile.error().what());
    }
  }
  return out;
}

}  // namespace drydock
