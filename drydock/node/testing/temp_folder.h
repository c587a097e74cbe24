// SPDX-License-Identifier: Apache-2.0
// For tests: a folder that goes with the object.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>  // NOLINT(modernize-deprecated-headers): mkdtemp is POSIX

#include <string>

#include "fairlead/core/pinned.h"
#include "fairlead/sys/files.h"

namespace drydock {

class TempFolder : private fairlead::Pinned {
 public:
  TempFolder() : path_(::testing::TempDir() + "drydock-XXXXXX") {
    if (::mkdtemp(path_.data()) == nullptr) {
      path_.clear();
    }
  }
  ~TempFolder() { (void)fairlead::sys::remove_tree(path_); }

  [[nodiscard]] const std::string& path() const { return path_; }
  /// Makes the folders that lead to it, too.
  void write(const std::string& name, const std::string& text) const {
    const std::string file = path_ + "/" + name;
    ASSERT_TRUE(fairlead::sys::make_dirs(file.substr(0, file.rfind('/'))));
    ASSERT_TRUE(fairlead::sys::rewrite_file(file, text));
  }

 private:
  std::string path_;
};

}  // namespace drydock
