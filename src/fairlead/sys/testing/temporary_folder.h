// SPDX-License-Identifier: Apache-2.0
// For tests: a folder of one's own, removed in the end.
#pragma once

#include <sys/statvfs.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "fairlead/core/pinned.h"

namespace fairlead::sys::testing_support {

class TemporaryFolder : private Pinned {
 public:
  TemporaryFolder() {
    std::string pattern = (place() / "fairlead-test-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) {
      std::abort();  // nowhere to put anything: there is no test without it
    }
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  /// In memory where there is room: thousands of small files on a disk take seconds. TMPDIR overrides it.
  static std::filesystem::path place() {
    struct statvfs memory = {};
    const bool has_room = ::statvfs("/dev/shm", &memory) == 0 &&
                          memory.f_bavail * memory.f_frsize >= std::size_t{1} << 30 &&
                          memory.f_favail >= 500000;
    const bool is_chosen =
        std::getenv("TMPDIR") != nullptr;  // NOLINT(concurrency-mt-unsafe): no thread sets it
    return has_room && !is_chosen ? std::filesystem::path("/dev/shm")
                                  : std::filesystem::temp_directory_path();
  }

  std::filesystem::path path_;
};

}  // namespace fairlead::sys::testing_support
