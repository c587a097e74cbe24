// SPDX-License-Identifier: Apache-2.0
// The CDI files of the node and their effect on a container, as in the reference library
// (tags.cncf.io/container-device-interface pkg/cdi): two folders, the later one has priority over the
// earlier, and a name that occurs twice in one folder is not used at all.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "drydock/node/oci_spec.h"
#include "fairlead/core/result.h"

namespace drydock {

/// Any thread: it keeps nothing, every injection reads the folders.
class CdiRegistry {
 public:
  /// Lowest priority first: {"/etc/cdi", "/var/run/cdi"}.
  explicit CdiRegistry(std::vector<std::string> folders) : folders_(std::move(folders)) {}

  /// Applies the devices in the order given; those of one file bring its own edits once. kNotFound names
  /// every device that no readable file offers, with the trouble that the files have.
  fairlead::Result<> inject(const std::vector<std::string>& devices, OciSpec& spec) const;

  /// Names of the files in the folders, to see what is left.
  [[nodiscard]] fairlead::Result<std::vector<std::string>> files() const;

 private:
  const std::vector<std::string> folders_;
};

}  // namespace drydock
