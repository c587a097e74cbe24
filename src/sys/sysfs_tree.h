// SPDX-License-Identifier: Apache-2.0
// For tests: a sysfs of our own in a temporary folder, laid out and linked like the kernel's.
#pragma once

#include <filesystem>
#include <fstream>
#include <map>
#include <string>

namespace fairlead::sys::testing_support {

/// Builds bus/ and devices/ below a folder and removes it in the end.
class SysfsTree {
 public:
  SysfsTree() {
    std::string pattern = (std::filesystem::temp_directory_path() / "sysfs-XXXXXX").string();
    root_ = ::mkdtemp(pattern.data());
    std::filesystem::create_directories(root_ / "devices");
  }
  SysfsTree(const SysfsTree&) = delete;
  SysfsTree& operator=(const SysfsTree&) = delete;
  SysfsTree(SysfsTree&&) = delete;
  SysfsTree& operator=(SysfsTree&&) = delete;
  ~SysfsTree() {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }

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
  std::filesystem::path root_;
};

}  // namespace fairlead::sys::testing_support
