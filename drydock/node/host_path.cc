// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/host_path.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <map>
#include <string>

#include "fairlead/sys/files.h"

namespace drydock {
namespace {

using fairlead::Code;
using fairlead::Error;
using fairlead::Result;
namespace sys = fairlead::sys;

struct Kind {
  mode_t format;
  const char* name;
};

const std::map<std::string, Kind>& known_kinds() {
  static const std::map<std::string, Kind> kinds = {
      {"DirectoryOrCreate", {.format = S_IFDIR, .name = "directory"}},
      {"Directory", {.format = S_IFDIR, .name = "directory"}},
      {"FileOrCreate", {.format = S_IFREG, .name = "file"}},
      {"File", {.format = S_IFREG, .name = "file"}},
      {"Socket", {.format = S_IFSOCK, .name = "socket"}},
      {"CharDevice", {.format = S_IFCHR, .name = "character device"}},
      {"BlockDevice", {.format = S_IFBLK, .name = "block device"}}};
  return kinds;
}

}  // namespace

bool is_host_path_type(const std::string& type) { return type.empty() || known_kinds().contains(type); }

Result<> prepare_host_path(const Volume& volume) {
  const auto& kinds = known_kinds();
  const auto& path = volume.host_path;
  const auto& type = volume.host_path_type;
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) {
    if (errno != ENOENT) {
      return Error::from_errno(errno, "hostPath " + path);
    }
    if (type == "DirectoryOrCreate") {
      return sys::make_dirs(path);
    }
    if (type == "FileOrCreate") {
      FL_TRY(sys::open_file(path, O_RDONLY | O_CREAT, 0644), "hostPath " + path);
      return {};
    }
    return Error::from_errno(ENOENT, "hostPath " + path);
  }
  const auto kind = kinds.find(type);
  if (type.empty() || (kind != kinds.end() && (info.st_mode & S_IFMT) == kind->second.format)) {
    return {};
  }
  return Error(Code::kInvalid,
               kind == kinds.end()
                   ? "hostPath " + path + ": there is no type \"" + type + "\""
                   : "hostPath type check failed: " + path + " is not a " + kind->second.name);
}

}  // namespace drydock
