// SPDX-License-Identifier: Apache-2.0
// For tests: a sysfs of our own in a temporary folder, laid out and linked like the kernel's.
#pragma once

#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "fairlead/sys/testing/temporary_folder.h"

namespace fairlead::sys::testing_support {

/// Builds bus/ and devices/ below a folder of its own, piece by piece. For a whole machine: recorded_node.h.
class SysfsTree {
 public:
  SysfsTree() { std::filesystem::create_directories(root_ / "devices"); }

  [[nodiscard]] std::string root() const { return root_.string(); }

  /// A device at `place` below devices/ ("pci0000:00/0000:00:01.0/0000:03:00.0") of a bus, with its files.
  void add_device(const std::string& bus, const std::string& place,
                  const std::map<std::string, std::string>& files) {
    const auto folder = root_ / "devices" / place;
    std::filesystem::create_directories(folder);
    for (const auto& [name, content] : files) {
      std::ofstream(folder / name) << content << '\n';
    }
    const auto entry = root_ / "bus" / bus / "devices" / folder.filename();
    std::filesystem::create_directories(entry.parent_path());
    std::filesystem::create_symlink(std::filesystem::relative(folder, entry.parent_path()), entry);
  }
  /// A symbolic link inside a device's folder, such as "driver" or "physfn".
  void add_link(const std::string& place, const std::string& name, const std::string& target) {
    std::filesystem::create_symlink(target, root_ / "devices" / place / name);
  }

 private:
  TemporaryFolder folder_;
  std::filesystem::path root_ = folder_.path();
};

}  // namespace fairlead::sys::testing_support
