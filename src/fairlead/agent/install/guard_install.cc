// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/install/guard_install.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "fairlead/core/fd.h"
#include "fairlead/rpc/unix_listener.h"
#include "fairlead/sys/files.h"

namespace fairlead::agent {
namespace {

constexpr const char* kName = "fairlead-guard";
constexpr mode_t kMode = 0755;

bool is_the_same(const std::string& path, const std::string& content) {
  struct stat info = {};
  if (::lstat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode) || (info.st_mode & 07777U) != kMode) {
    return false;
  }
  const auto there = sys::read_file(path);
  return there && *there == content;
}

/// Removes the socket of a killed instance. kBusy: another instance serves the kubelet there.
Result<> remove_socket_of_the_dead(const std::string& path, const std::string& guard) {
  FL_ASSIGN(const bool removed, rpc::remove_dead_socket(path));
  struct stat info = {};
  if (removed || ::lstat(path.c_str(), &info) != 0) {
    return {};
  }
  if (!S_ISSOCK(info.st_mode)) {
    return sys::remove_file(path);
  }
  return Error(Code::kBusy, guard + " stays: another instance of the driver is running (" + path + ")");
}

std::size_t records_in(const std::string& state_dir) {
  const auto names = sys::list_dir(state_dir + "/claims").value_or(std::vector<std::string>{});
  return static_cast<std::size_t>(std::ranges::count_if(
      names, [](const std::string& name) { return !name.starts_with('.') && name.ends_with(".json"); }));
}

/// The file that is at `path` now, with this lock on it (flock(2)). nullopt: it does not exist, or was
/// replaced or removed while waiting. kBusy: another process has a conflicting lock.
Result<std::optional<UniqueFd>> lock_guard_file(const std::string& path, int operation) {
  auto file = sys::open_file(path, O_RDONLY | O_NOFOLLOW);
  if (!file && file.error().sys_errno() == ENOENT) {
    return std::optional<UniqueFd>();
  }
  if (!file) {
    return std::move(file).error();
  }
  if (::flock(file->get(), operation) != 0) {
    const int e = errno;
    return e == EWOULDBLOCK ? Error(Code::kBusy, path + " is held") : Error::from_errno(e, "lock " + path);
  }
  struct stat ours = {};
  struct stat there = {};
  const bool in_place = ::fstat(file->get(), &ours) == 0 && ::lstat(path.c_str(), &there) == 0 &&
                        ours.st_ino == there.st_ino && ours.st_dev == there.st_dev;
  return in_place ? std::optional(*std::move(file)) : std::optional<UniqueFd>();
}

/// Removes leftovers that would puzzle an operator. A folder that is not empty, or is a mount of our
/// container, is silently kept.
void remove_empty_folders(const GuardRemoval& removal) {
  constexpr std::chrono::seconds kAnyAge{0};  // no process writes any more
  sys::remove_old_temporaries(removal.plugin_dir, std::string(kName) + ".", kAnyAge);
  (void)::rmdir(removal.plugin_dir.c_str());
  if (removal.state_dir.empty()) {
    return;
  }
  for (const char* file : {"/lock", "/instances", "/guard.sock", "/node.json"}) {
    (void)::unlink((removal.state_dir + file).c_str());
  }
  sys::remove_old_temporaries(removal.state_dir + "/claims", "", kAnyAge);
  for (const char* folder : {"/claims", "/quarantine", ""}) {
    (void)::rmdir((removal.state_dir + folder).c_str());
  }
}

}  // namespace

Result<InstalledGuard> install_guard(const std::string& program, const std::string& dir) {
  constexpr int kTries = 200;  // each means that another instance has just replaced it or removes it
  constexpr std::chrono::milliseconds kPause{10};
  const std::string path = dir + "/" + kName;
  sys::remove_old_temporaries(dir, std::string(kName) + ".");
  FL_ASSIGN(const std::string content, sys::read_file(program), "install the guard");
  for (int i = 0; i < kTries; ++i) {
    if (!is_the_same(path, content)) {
      FL_TRY(sys::make_dirs(dir, 0750), "install the guard");
      auto replaced = sys::replace_file(dir, kName, content, kMode);
      if (!replaced && replaced.error().code() != Code::kNotFound) {  // else the folder was removed
        return std::move(replaced).error().with("install the guard");
      }
    }
    auto hold = lock_guard_file(path, LOCK_SH | LOCK_NB);
    if (!hold && hold.error().code() != Code::kBusy) {
      return std::move(hold).error().with("install the guard");
    }
    if (hold && *hold && is_the_same(path, content)) {
      return InstalledGuard{.path = path, .hold = **std::move(hold)};
    }
    std::this_thread::sleep_for(kPause);
  }
  return Error(Code::kBusy, "install the guard: other instances keep replacing or removing " + path);
}

Result<> remove_guard(const GuardRemoval& removal) {
  auto held = lock_guard_file(removal.path, LOCK_EX | LOCK_NB);
  if (!held) {
    return held.error().code() == Code::kBusy
               ? Error(Code::kBusy, removal.path + " stays: another instance of the driver has it")
               : std::move(held).error();
  }
  const std::size_t claims =
      std::max(removal.claims, removal.state_dir.empty() ? 0 : records_in(removal.state_dir));
  if (claims > 0) {
    return Error(Code::kBusy, removal.path + " stays: " + std::to_string(claims) +
                                  " claims are still prepared on this node, and their containers need it to "
                                  "start; remove it when their pods are gone");
  }
  FL_ASSIGN(const auto names, sys::list_dir(removal.plugin_dir));
  for (const std::string& name : names) {
    if (name.starts_with("dra") && name.ends_with(".sock")) {
      FL_TRY(remove_socket_of_the_dead(removal.plugin_dir + "/" + name, removal.path));
    }
  }
  FL_TRY(sys::remove_file(removal.path));
  remove_empty_folders(removal);
  return {};
}

}  // namespace fairlead::agent
