// SPDX-License-Identifier: Apache-2.0
// Untrusted text in messages, and the names of our own sockets. Pure.
#pragma once

#include <string>
#include <string_view>

#include "fairlead/core/result.h"

namespace fairlead::dra {

/// Untrusted text for a message: in quotes, shortened, unprintable bytes as '?'.
std::string quote(std::string_view text);

struct SocketPaths {
  std::string registration, dra;
};
/// The sockets of a driver. With a pod UID both names contain it, so that two instances can coexist (rolling
/// update, kubelet 1.33). A name that does not fit into the 107 bytes of a socket path is shortened by a
/// hash, in the steps of the Go helper (k8s.io/dynamic-resource-allocation 0.37): the UID's, then driver's
/// and UID's together. kInvalid if the folder alone is too long.
Result<SocketPaths> socket_paths(const std::string& registry_dir, const std::string& plugin_dir,
                                 const std::string& driver_name, const std::string& pod_uid);

}  // namespace fairlead::dra
