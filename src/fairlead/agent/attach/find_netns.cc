// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/attach/find_netns.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "fairlead/sys/files.h"

namespace fairlead::agent {
namespace {

constexpr std::string_view kFolder = "folder ";
constexpr std::string_view kProcesses = "processes ";

/// nullopt: the file does not exist (any more).
Result<std::optional<struct stat>> look_at(const std::string& path) {
  struct stat info = {};
  if (::stat(path.c_str(), &info) == 0) {
    return std::optional(info);
  }
  const int e = errno;
  if (e == ENOENT || e == ESRCH) {  // ESRCH: of a process that ends
    return std::optional<struct stat>();
  }
  return Error::from_errno(e, "stat " + path);
}

Result<std::optional<std::string>> number_of(const std::string& path) {
  FL_ASSIGN(const auto info, look_at(path));
  return info ? std::optional(std::to_string(info->st_dev) + ":" + std::to_string(info->st_ino))
              : std::optional<std::string>();
}

/// nullopt: it is another namespace, or gone.
Result<std::optional<UniqueFd>> open_if(const std::string& path, sys::NetnsId id) {
  FL_ASSIGN(const auto info, look_at(path));
  if (!info || info->st_ino != id.inode || info->st_dev != id.device) {
    return std::optional<UniqueFd>();
  }
  auto fd = sys::open_netns(path);
  if (!fd && (fd.error().sys_errno() == ENOENT || fd.error().sys_errno() == ESRCH)) {
    return std::optional<UniqueFd>();
  }
  if (!fd) {
    return std::move(fd).error();
  }
  FL_ASSIGN(const sys::NetnsId opened, sys::netns_id(fd->get()));
  return opened == id ? std::optional(*std::move(fd)) : std::optional<UniqueFd>();
}

/// Whether the process may be a pod's. The first process is the node's own, or ours, and the one most often
/// inaccessible.
bool is_process(const std::string& name) {
  return name != "1" && std::ranges::all_of(name, [](char c) { return c >= '0' && c <= '9'; });
}

bool is_refused(const Error& error) { return error.sys_errno() == EACCES || error.sys_errno() == EPERM; }

/// Continues after errors: a namespace that is found is certain, regardless of places that could not be
/// inspected.
class Search {
 public:
  explicit Search(sys::NetnsId id) : id_(id) {}

  bool finds_at(const std::string& path) {
    auto opened = open_if(path, id_);
    if (!opened && is_refused(opened.error()) && put_off_ != nullptr) {
      put_off_->push_back(path);
      return false;
    }
    if (!opened) {
      note(std::move(opened).error());
      return false;
    }
    fd_ = *std::move(opened);
    return fd_.has_value();
  }
  /// Collects processes that denied access, instead of counting them as errors; null: they are errors.
  void put_off_refusals(std::vector<std::string>* paths) { put_off_ = paths; }
  std::vector<std::string> list(const std::string& folder) {
    auto names = sys::list_dir(folder);
    if (!names) {
      note(std::move(names).error());
      return {};
    }
    return *std::move(names);
  }
  Result<std::optional<FoundNetns>> found(std::string_view kind, const std::string& place) {
    // If the place cannot be identified, the namespace counts as never seen.
    const auto number = number_of(place).value_or(std::nullopt);
    return std::optional<FoundNetns>(
        FoundNetns{.fd = *std::move(fd_), .seen_in = number ? std::string(kind) + *number : std::string()});
  }
  Result<std::optional<FoundNetns>> not_found() {
    if (problem_) {
      return *std::move(problem_);
    }
    return std::optional<FoundNetns>();
  }

 private:
  void note(Error error) {
    if (!problem_) {
      problem_ = std::move(error);
    }
  }

  const sys::NetnsId id_;
  std::optional<UniqueFd> fd_;
  std::optional<Error> problem_;
  std::vector<std::string>* put_off_ = nullptr;
};

/// Identifies the set of processes that /proc shows.
std::string pid_namespace(const NetnsPlaces& places) { return places.proc + "/self/ns/pid"; }

Result<std::optional<FoundNetns>> find_in_folder(sys::NetnsId id, const std::string& folder) {
  Search search(id);
  for (const std::string& name : search.list(folder)) {
    if (search.finds_at(folder + "/" + name)) {
      return search.found(kFolder, folder);
    }
  }
  return search.not_found();
}

/// A process that executes another program is inaccessible for a moment ("runc init" of a probe is not
/// dumpable), so those that denied access are inspected once more.
Result<std::optional<FoundNetns>> find_in_processes(sys::NetnsId id, const NetnsPlaces& places) {
  Search search(id);
  std::vector<std::string> refused;
  search.put_off_refusals(&refused);
  for (const std::string& name : search.list(places.proc)) {
    if (is_process(name) && search.finds_at(places.proc + "/" + name + "/ns/net")) {
      return search.found(kProcesses, pid_namespace(places));
    }
  }
  search.put_off_refusals(nullptr);
  if (!refused.empty()) {
    places.pause();
  }
  for (const std::string& path : refused) {
    if (search.finds_at(path)) {
      return search.found(kProcesses, pid_namespace(places));
    }
  }
  return search.not_found();
}

}  // namespace

Result<std::optional<FoundNetns>> find_netns(sys::NetnsId id, const NetnsPlaces& places,
                                             const std::string& seen_in) {
  std::optional<Error> problem;
  bool is_gone_from_there = false;
  for (const std::string& folder : places.folders) {
    const auto number = number_of(folder).value_or(std::nullopt);
    auto found = find_in_folder(id, folder);
    if (found && *found) {
      return found;
    }
    if (!found && !problem) {
      problem = std::move(found).error();
    }
    is_gone_from_there = is_gone_from_there || (found && number && seen_in == std::string(kFolder) + *number);
  }
  auto found = find_in_processes(id, places);
  if (found && *found) {
    return found;
  }
  if (problem) {
    return *std::move(problem);
  }
  return is_gone_from_there ? std::optional<FoundNetns>() : std::move(found);
}

Result<std::optional<std::string>> where_seen(int netns, sys::NetnsId id, const NetnsPlaces& places) {
  std::error_code error;
  const auto path = std::filesystem::read_symlink(places.proc + "/self/fd/" + std::to_string(netns), error);
  // Of a process's namespace it is "net:[4026531840]"; of a bind mount that is gone, no file.
  if (!error && std::ranges::find(places.folders, path.parent_path().string()) != places.folders.end()) {
    const auto info = look_at(path.string()).value_or(std::nullopt);
    const auto folder = number_of(path.parent_path().string()).value_or(std::nullopt);
    if (info && info->st_ino == id.inode && info->st_dev == id.device && folder) {
      return std::optional(std::string(kFolder) + *folder);
    }
  }
  FL_ASSIGN(auto found, find_netns(id, places));
  return found ? std::optional(std::move(found->seen_in)) : std::nullopt;
}

Result<bool> is_looked_through(const std::string& seen_in, const NetnsPlaces& places) {
  FL_ASSIGN(const auto processes, number_of(pid_namespace(places)));
  if (processes && seen_in == std::string(kProcesses) + *processes) {
    return true;
  }
  for (const std::string& folder : places.folders) {
    FL_ASSIGN(const auto number, number_of(folder));
    if (number && seen_in == std::string(kFolder) + *number) {
      return true;
    }
  }
  return false;
}

}  // namespace fairlead::agent
