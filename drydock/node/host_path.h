// SPDX-License-Identifier: Apache-2.0
// hostPath volumes on the stand-in node, as the kubelet looks at them before a container starts.
#pragma once

#include <string>

#include "drydock/node/pod_spec.h"
#include "fairlead/core/result.h"

namespace drydock {

/// Whether a hostPath volume can have this type; "" is one: nothing is checked.
bool is_host_path_type(const std::string& type);

/// Makes what the volume's type says may be made, and checks what it must be.
fairlead::Result<> prepare_host_path(const Volume& volume);

}  // namespace drydock
