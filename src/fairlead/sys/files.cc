// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <memory>

namespace fairlead::sys {
namespace {

Result<> write_all(int fd, std::string_view body, const std::string& path) {
  while (!body.empty()) {
    const ssize_t written = ::write(fd, body.data(), body.size());
    if (written < 0) {
      const int e = errno;
      if (e == EINTR) {
        continue;
      }
      return Error::from_errno(e, "write " + path);
    }
    body.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

/// Random, for a process that was killed leaves its file, and in a container the next one has its pid.
Result<std::string> temporary_name(const std::string& dir, const std::string& name) {
  std::uint64_t random = 0;
  if (::getrandom(&random, sizeof random, 0) != sizeof random) {
    return Error::from_errno(errno, "name a temporary file in " + dir);
  }
  std::array<char, 17> digits{};
  (void)std::snprintf(digits.data(), digits.size(), "%016llx", static_cast<unsigned long long>(random));
  return dir + "/." + name + "." + digits.data() + ".tmp";
}

}  // namespace

Result<UniqueFd> open_file(const std::string& path, int flags, mode_t mode) {
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC, mode);
  if (fd < 0) {
    return Error::from_errno(errno, "open " + path);
  }
  return UniqueFd(fd);
}

Result<std::string> read_file(const std::string& path, std::size_t limit) {
  FL_ASSIGN(const UniqueFd fd, open_file(path, O_RDONLY));
  std::string content;
  std::array<char, 16384> buffer;  // NOLINT(cppcoreguidelines-pro-type-member-init): filled by read
  for (;;) {
    const ssize_t n = ::read(fd.get(), buffer.data(), buffer.size());
    if (n < 0) {
      const int e = errno;
      if (e == EINTR) {
        continue;
      }
      return Error::from_errno(e, "read " + path);
    }
    if (n == 0) {
      return content;
    }
    content.append(buffer.data(), static_cast<std::size_t>(n));
    if (content.size() > limit) {
      return Error(Code::kOverflow, "read " + path + ": larger than " + std::to_string(limit) + " bytes");
    }
  }
}

Result<std::optional<std::string>> read_file_if_exists(const std::string& path) {
  auto content = read_file(path);
  if (content) {
    return std::optional<std::string>(std::move(*content));
  }
  if (content.error().sys_errno() == ENOENT) {
    return std::optional<std::string>();
  }
  return std::move(content).error();
}

Result<> replace_file(const std::string& dir, const std::string& name, std::string_view body, mode_t mode) {
  FL_TRY(replace_file_stamped(dir, name, body, mode));
  return {};
}

Result<FileStamp> replace_file_stamped(const std::string& dir, const std::string& name, std::string_view body,
                                       mode_t mode) {
  const std::string path = dir + "/" + name;
  FL_ASSIGN(const std::string temporary, temporary_name(dir, name));
  FL_ASSIGN(const UniqueFd fd, open_file(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode));
  ScopeExit undo([&] { (void)::unlink(temporary.c_str()); });
  FL_TRY(write_all(fd.get(), body, temporary));
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    return Error::from_errno(errno, "rename " + temporary + " to " + path);
  }
  undo.release();
  struct stat info = {};  // after the rename, which changes st_ctim
  return ::fstat(fd.get(), &info) == 0 ? FileStamp(info) : FileStamp();
}

void remove_old_temporaries(const std::string& dir, const std::string& prefix, std::chrono::seconds age) {
  const auto names = list_dir(dir);
  if (!names) {
    return;
  }
  for (const std::string& name : *names) {
    const std::string path = dir + "/" + name;
    struct stat info = {};
    if (name.starts_with("." + prefix) && name.ends_with(".tmp") && ::lstat(path.c_str(), &info) == 0 &&
        S_ISREG(info.st_mode) && info.st_mtim.tv_sec + age.count() <= std::time(nullptr)) {
      (void)remove_file(path);
    }
  }
}

Result<> rewrite_file(const std::string& path, std::string_view body, mode_t mode) {
  FL_ASSIGN(const UniqueFd fd, open_file(path, O_WRONLY | O_CREAT, mode));
  FL_TRY(write_all(fd.get(), body, path));
  if (::ftruncate(fd.get(), static_cast<off_t>(body.size())) != 0) {
    return Error::from_errno(errno, "truncate " + path);
  }
  return {};
}

Result<> remove_file(const std::string& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
    return Error::from_errno(errno, "remove " + path);
  }
  return {};
}

Result<> make_dirs(const std::string& path, mode_t mode) {
  for (std::size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const std::string prefix = path.substr(0, end);
    if (::mkdir(prefix.c_str(), mode) != 0) {
      const int e = errno;
      struct stat info = {};
      if (e != EEXIST || ::stat(prefix.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) {
        return Error::from_errno(e == EEXIST ? ENOTDIR : e, "create folder " + prefix);
      }
    }
    if (end == std::string::npos) {
      return {};
    }
  }
}

Result<std::vector<std::string>> list_dir(const std::string& path) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(path.c_str()), &::closedir);
  if (!dir) {
    const int e = errno;
    if (e == ENOENT) {
      return names;
    }
    return Error::from_errno(e, "list " + path);
  }
  errno = 0;
  while (const dirent* entry =
             ::readdir(dir.get())) {  // NOLINT(concurrency-mt-unsafe): each DIR has one reader
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") {
      names.emplace_back(name);
    }
    errno = 0;
  }
  if (const int e = errno; e != 0) {
    return Error::from_errno(e, "list " + path);
  }
  std::ranges::sort(names);
  return names;
}

Result<> remove_tree(const std::string& path) {
  if (!path.starts_with('/') || std::count(path.begin(), path.end(), '/') < 2 || path.ends_with('/')) {
    return Error(Code::kInvalid,
                 "remove tree " + path + ": the path must be absolute and at least two levels deep");
  }
  std::error_code error;
  std::filesystem::remove_all(path, error);
  if (error) {
    return Error::from_errno(error.value(), "remove tree " + path);
  }
  return {};
}

}  // namespace fairlead::sys
