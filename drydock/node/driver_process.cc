// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/driver_process.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <set>
#include <sstream>
#include <thread>
#include <utility>

#include "fairlead/sys/files.h"
#include "fairlead/sys/unix_socket.h"

namespace drydock {
namespace {

namespace sys = fairlead::sys;

struct ProcessTimes {
  pid_t parent = 0;
  long ticks = 0;  // user and system, waited-for children included
};

/// proc_pid_stat(5): the name in parentheses may hold spaces, the rest is plain.
std::optional<ProcessTimes> read_stat(pid_t pid) {
  const auto text = sys::read_file("/proc/" + std::to_string(pid) + "/stat");
  if (!text) {
    return std::nullopt;
  }
  const auto end = text->rfind(')');
  if (end == std::string::npos) {
    return std::nullopt;
  }
  std::istringstream fields(text->substr(end + 1));
  std::string state;
  ProcessTimes out;
  fields >> state >> out.parent;
  std::string skipped;
  for (int i = 0; i < 9; ++i) {  // pgrp .. cmajflt
    fields >> skipped;
  }
  for (int i = 0; i < 4; ++i) {  // utime stime cutime cstime
    long ticks = 0;
    fields >> ticks;
    out.ticks += ticks;
  }
  return out;
}

std::map<pid_t, ProcessTimes> read_processes() {
  std::map<pid_t, ProcessTimes> out;
  const auto names = sys::list_dir("/proc");
  for (const auto& name : names ? *names : std::vector<std::string>()) {
    pid_t pid = 0;
    const auto parsed = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (parsed.ec != std::errc() || parsed.ptr != name.data() + name.size()) {
      continue;
    }
    if (const auto stat = read_stat(pid)) {
      out[pid] = *stat;
    }
  }
  return out;
}

std::set<pid_t> tree_below(pid_t root, const std::map<pid_t, ProcessTimes>& all) {
  std::set<pid_t> out = {root};
  for (std::size_t before = 0; before != out.size();) {
    before = out.size();
    for (const auto& [pid, times] : all) {
      if (out.contains(times.parent)) {
        out.insert(pid);
      }
    }
  }
  return out;
}

/// Reaps those of a process group that are our children, adopted ones too; true if the group is empty.
bool wait_for_group(pid_t group, std::chrono::steady_clock::time_point deadline) {
  while (true) {
    while (::waitpid(-group, nullptr, WNOHANG) > 0) {
    }
    if (::kill(-group, 0) != 0) {
      return true;
    }
    if (std::chrono::steady_clock::now() >= deadline) {
      return false;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

long peak_resident_kib(pid_t pid) {
  const auto text = sys::read_file("/proc/" + std::to_string(pid) + "/status");
  const auto at = text ? text->find("VmHWM:") : std::string::npos;
  if (at == std::string::npos) {
    return 0;
  }
  long kib = 0;
  std::istringstream(text->substr(at + 6)) >> kib;
  return kib;
}

}  // namespace

std::string fill_placeholders(const std::string& command, const std::map<std::string, std::string>& values) {
  std::string out;
  for (std::size_t i = 0; i < command.size(); ++i) {
    const auto end =
        command[i] == '{' && (i == 0 || command[i - 1] != '$') ? command.find('}', i) : std::string::npos;
    const auto found =
        end == std::string::npos ? values.end() : values.find(command.substr(i + 1, end - i - 1));
    if (found == values.end()) {
      out += command[i];
      continue;
    }
    out += found->second;
    i = end;
  }
  return out;
}

Result<DriverProcess> DriverProcess::start(const Settings& settings) {
  FL_ASSIGN(const auto log, sys::open_file(settings.log, O_WRONLY | O_CREAT | O_APPEND, 0644));
  DriverProcess out(settings);
  FL_ASSIGN(out.pid_, spawn({.argv = {"/bin/sh", "-c", settings.command},
                             .env = settings.env,
                             .out = log.get(),
                             .err = log.get(),
                             .own_group = true}));
  return out;
}

Result<DriverProcess> DriverProcess::start_confined(const Settings& settings,
                                                    const DriverContainerSettings& container) {
  FL_ASSIGN(const auto log, sys::open_file(settings.log, O_WRONLY | O_CREAT | O_APPEND, 0644));
  DriverProcess out(settings);
  FL_ASSIGN(out.pid_, start_driver_container(container, settings.command, settings.env, log.get()));
  out.container_ = container;
  return out;
}

Result<> DriverProcess::clean_up() {
  if (container_) {
    FL_TRY(remove_driver_container(*container_));
    container_.reset();
  }
  return {};
}

Result<std::optional<ExitStatus>> DriverProcess::exit_status() {
  if (!exit_) {
    FL_ASSIGN(exit_, wait_for_exit(pid_, std::chrono::milliseconds(0)));
  }
  return exit_;
}

bool DriverProcess::owns(pid_t pid) const {
  const auto all = read_processes();
  return tree_below(pid_, all).contains(pid);
}

DriverCost DriverProcess::cost() {
  if (exit_) {
    cost_.cpu = std::max(cost_.cpu, exit_->cpu);
    return cost_;
  }
  const auto all = read_processes();
  DriverCost now;
  long ticks = 0;
  for (const pid_t pid : tree_below(pid_, all)) {
    if (const auto found = all.find(pid); found != all.end()) {
      ticks += found->second.ticks;
      now.peak_resident_kib += peak_resident_kib(pid);
    }
  }
  now.cpu = std::chrono::microseconds(ticks * 1'000'000 / ::sysconf(_SC_CLK_TCK));
  cost_.cpu = std::max(cost_.cpu, now.cpu);
  cost_.peak_resident_kib = std::max(cost_.peak_resident_kib, now.peak_resident_kib);
  return cost_;
}

Result<ExitStatus> DriverProcess::stop(std::chrono::milliseconds patience) {
  (void)cost();
  const auto deadline = std::chrono::steady_clock::now() + patience;
  FL_ASSIGN(auto status, exit_status());
  (void)::kill(-pid_, SIGTERM);
  if (!status) {
    FL_ASSIGN(status, wait_for_exit(pid_, patience));
  }
  // The shell may be gone at once while the driver that it started is still putting things in order.
  if (!wait_for_group(pid_, deadline)) {
    (void)::kill(-pid_, SIGKILL);
    if (!status) {
      FL_ASSIGN(status, wait_for_exit(pid_));
    }
    (void)wait_for_group(pid_, std::chrono::steady_clock::now() + std::chrono::seconds(5));
    status->signal = SIGKILL;
    status->code = 128 + SIGKILL;
  }
  exit_ = status;
  return *status;
}

std::vector<std::string> DriverProcess::log_tail(std::size_t lines) const {
  std::vector<std::string> out;
  const auto text = sys::read_file_if_exists(settings_.log);
  std::istringstream in(text && *text ? **text : std::string());
  for (std::string line; std::getline(in, line);) {
    out.push_back(line);
  }
  if (out.size() > lines) {
    out.erase(out.begin(), out.end() - static_cast<std::ptrdiff_t>(lines));
  }
  return out;
}

std::optional<pid_t> listener_of(const std::string& socket) {
  const auto fd = sys::connect_unix(socket);
  ucred peer{};
  socklen_t size = sizeof peer;
  if (!fd || ::getsockopt(fd->get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
    return std::nullopt;
  }
  return peer.pid;
}

}  // namespace drydock
