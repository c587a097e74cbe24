// SPDX-License-Identifier: Apache-2.0
// The seccomp profile that container engines apply by default, from the file they share, as the OCI runtime
// wants it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fairlead/core/result.h"

namespace drydock {

/// Of Debian's golang-github-containers-common.
inline constexpr auto kSeccompProfile = "/usr/share/containers/seccomp.json";
inline constexpr auto kSeccompPackage = "golang-github-containers-common";

/// What the conditions of a profile's rules are about.
struct SeccompTarget {
  std::vector<std::string> capabilities;  // of the container: "CAP_SYS_ADMIN"
  std::string machine;                    // uname -m: "x86_64"
  std::string kernel;                     // uname -r: "6.1.0-13-amd64"
};

/// The JSON of linux.seccomp (runtime-spec, config-linux.md): the rules whose conditions the target meets,
/// for the machine's architecture and its smaller siblings. kInvalid names what in the profile is not
/// understood; nothing is left out silently.
fairlead::Result<std::string> translate_seccomp(std::string_view profile, const SeccompTarget& target);

/// The profile in `file` for a container with these capabilities on this machine. kNotFound names the package
/// that has the file.
fairlead::Result<std::string> default_seccomp(const std::vector<std::string>& capabilities,
                                              const std::string& file = kSeccompProfile);

}  // namespace drydock
