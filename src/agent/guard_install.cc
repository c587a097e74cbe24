// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/guard_install.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include <nlohmann/json.hpp>

#include "fairlead/core/fd.h"
#include "fairlead/sys/files.h"

namespace fairlead::agent {
namespace {

constexpr const char* kName = "fairlead-guard";
constexpr mode_t kMode = 0755;
constexpr std::chrono::seconds kAskTime{5};

bool is_the_same(const std::string& path, const std::string& content) {
  struct stat info = {};
  if (::lstat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode) || (info.st_mode & 07777U) != kMode) {
    return false;
  }
  const auto there = sys::read_file(path);
  return there && *there == content;
}

/// Does anybody serve the kubelet there?
bool answers(const std::string& socket_path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof address.sun_path) {
    return false;
  }
  socket_path.copy(static_cast<char*>(address.sun_path), sizeof address.sun_path - 1);
  const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const auto* generic = static_cast<const sockaddr*>(static_cast<const void*>(&address));
  return fd.valid() && (::connect(fd.get(), generic, sizeof address) == 0 || errno == EAGAIN);
}

bool has_deletion_timestamp(const std::string& body) {
  const auto object = nlohmann::json::parse(body, nullptr, false);
  if (!object.is_object()) {
    return false;
  }
  const auto meta = object.find("metadata");
  return meta != object.end() && meta->is_object() && meta->contains("deletionTimestamp");
}

/// What an operator would find and wonder about. A folder that is not empty, or is a mount of our container,
/// stays without a word.
void remove_empty_folders(const GuardRemoval& removal) {
  constexpr std::chrono::seconds kAnyAge{0};  // nobody writes any more
  sys::remove_old_temporaries(removal.plugin_dir, std::string(kName) + ".", kAnyAge);
  (void)::rmdir(removal.plugin_dir.c_str());
  if (removal.state_dir.empty()) {
    return;
  }
  for (const char* file : {"/lock", "/instances", "/guard.sock"}) {
    (void)::unlink((removal.state_dir + file).c_str());
  }
  sys::remove_old_temporaries(removal.state_dir + "/claims", "", kAnyAge);
  for (const char* folder : {"/claims", "/quarantine", ""}) {
    (void)::rmdir((removal.state_dir + folder).c_str());
  }
}

}  // namespace

Result<std::string> install_guard(const std::string& program, const std::string& dir) {
  const std::string path = dir + "/" + kName;
  sys::remove_old_temporaries(dir, std::string(kName) + ".");
  FL_ASSIGN(const std::string content, sys::read_file(program), "install the guard");
  if (is_the_same(path, content)) {
    return path;
  }
  FL_TRY(sys::make_dirs(dir, 0750), "install the guard");
  FL_TRY(sys::replace_file(dir, kName, content, kMode), "install the guard");
  return path;
}

Result<> validate_daemonset(const std::string& daemonset) {
  const auto slash = daemonset.find('/');
  const bool two_parts = slash != std::string::npos && slash > 0 && slash + 1 < daemonset.size() &&
                         daemonset.find('/', slash + 1) == std::string::npos;
  const bool plain = std::ranges::all_of(daemonset, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '/';
  });
  if (!two_parts || !plain) {
    return Error(Code::kInvalid,
                 "--daemonset must be NAMESPACE/NAME of the DaemonSet that this program runs in, not \"" +
                     daemonset + "\"");
  }
  return {};
}

Result<bool> is_uninstalled(kube::Client& client, const std::string& daemonset) {
  FL_TRY(validate_daemonset(daemonset), "");
  const auto slash = daemonset.find('/');
  const std::string path =
      "/apis/apps/v1/namespaces/" + daemonset.substr(0, slash) + "/daemonsets/" + daemonset.substr(slash + 1);
  const auto answer = client.request({.path = path}, {.timeout = kAskTime});
  if (answer) {
    return has_deletion_timestamp(answer->body);
  }
  const Code code = answer.error().code();
  if (code == Code::kNotFound || code == Code::kDenied) {
    return true;
  }
  return answer.error();
}

Result<> remove_guard(const GuardRemoval& removal) {
  if (removal.claims > 0) {
    return Error(Code::kBusy, removal.path + " stays: " + std::to_string(removal.claims) +
                                  " claims are still prepared on this node, and their containers need it to "
                                  "start; remove it when their pods are gone");
  }
  const auto names = sys::list_dir(removal.plugin_dir);
  if (!names && names.error().code() != Code::kNotFound) {
    return names.error();
  }
  std::vector<std::string> sockets;
  for (const std::string& name : names.value_or(std::vector<std::string>{})) {
    if (name.starts_with("dra") && name.ends_with(".sock")) {
      sockets.push_back(removal.plugin_dir + "/" + name);
    }
  }
  const auto served = std::ranges::find_if(sockets, answers);
  if (served != sockets.end()) {
    return Error(Code::kBusy,
                 removal.path + " stays: another instance of the driver is running (" + *served + ")");
  }
  for (const std::string& socket : sockets) {
    FL_TRY(sys::remove_file(socket), "");  // of an instance that was killed
  }
  FL_TRY(sys::remove_file(removal.path), "");
  remove_empty_folders(removal);
  return {};
}

}  // namespace fairlead::agent
