// SPDX-License-Identifier: Apache-2.0
// Files, the few ways we touch them. All blocking; any thread.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <ctime>

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fairlead/core/fd.h"
#include "fairlead/core/result.h"

namespace fairlead::sys {

/// Opens with O_CLOEXEC added. The error names the path.
Result<UniqueFd> open_file(const std::string& path, int flags, mode_t mode = 0);

/// The whole file; kOverflow when it is larger than `limit` bytes.
Result<std::string> read_file(const std::string& path, std::size_t limit = std::size_t{16} << 20);
/// As read_file, but nullopt if the file does not exist.
Result<std::optional<std::string>> read_file_if_exists(const std::string& path);

/// Replaces `dir`/`name` in one step: a temporary file in the same folder (its name never ends in .json or
/// .yaml, which CDI readers would pick up) and a rename. A reader, and a process killed at any moment, sees
/// the old or the new content. Not synced to disk: our state is on tmpfs and is lost with a reboot like the
/// kernel objects it describes.
Result<> replace_file(const std::string& dir, const std::string& name, std::string_view body,
                      mode_t mode = 0600);
/// What a file is known by: with the same stamp it has the same content, if it is only ever replaced.
struct FileStamp {
  ino_t inode = 0;
  off_t size = 0;
  timespec changed = {};  // st_ctim
  FileStamp() = default;
  explicit FileStamp(const struct stat& info)
      : inode(info.st_ino), size(info.st_size), changed(info.st_ctim) {}
  friend bool operator==(const FileStamp& a, const FileStamp& b) {
    return a.inode == b.inode && a.size == b.size && a.changed.tv_sec == b.changed.tv_sec &&
           a.changed.tv_nsec == b.changed.tv_nsec;
  }
};
/// As replace_file(), and returns the stamp of the file that it wrote, whatever is at the path by now. All zero: it
/// cannot be had.
Result<FileStamp> replace_file_stamped(const std::string& dir, const std::string& name, std::string_view body,
                                       mode_t mode = 0600);
/// Removes temporaries that a killed process left of replace_file() for names that start with `prefix`, if
/// they were not written for `age`. Younger ones may be in use. Files that cannot be removed are left for the
/// next time.
void remove_old_temporaries(const std::string& dir, const std::string& prefix,
                            std::chrono::seconds age = std::chrono::minutes(1));

/// Gives the file that is at `path` now (or a new one) this content, keeping the inode: for files that are
/// bind-mounted into containers, which would not see a replacement. Not atomic: readers may briefly see the
/// new content with the end of the old one.
Result<> rewrite_file(const std::string& path, std::string_view body, mode_t mode = 0644);

/// Succeeds if the file does not exist.
Result<> remove_file(const std::string& path);
/// mkdir -p; folders that exist keep their mode.
Result<> make_dirs(const std::string& path, mode_t mode = 0755);
/// Names of the entries (no "." and ".."), sorted. Empty if the folder does not exist.
Result<std::vector<std::string>> list_dir(const std::string& path);
/// rm -r below and including `path`, which must be absolute and have at least two components. Follows no
/// symbolic link.
Result<> remove_tree(const std::string& path);

}  // namespace fairlead::sys
