// SPDX-License-Identifier: Apache-2.0
// What becomes of the DaemonSet that the agent runs in: asked when the agent ends.
#pragma once

#include <cstdint>
#include <string>

#include "fairlead/core/result.h"

namespace fairlead::kube {
class Client;
}

namespace fairlead::agent {

/// The annotation of the DaemonSet's pod template that says which form of the links' aliases its agents know
/// (devices/marker.h). Version 0.1's manifest has none.
inline constexpr const char* kLinkMarksAnnotation = "fairlead-link-marks";

/// "NAMESPACE/NAME" of a DaemonSet; kInvalid when it is not that.
Result<> validate_daemonset(const std::string& daemonset);

enum class DaemonSetFate : std::uint8_t {
  kStays,
  kUninstalled,  // not found, being deleted, or our rights are gone already (401, 403)
  kRolledBack,   // its pod template is of version 0.1: it has no kLinkMarksAnnotation
};

/// An API server that cannot be asked, or that is not the one whose certificate we know, is an error.
Result<DaemonSetFate> daemonset_fate(kube::Client& client, const std::string& daemonset);

}  // namespace fairlead::agent
