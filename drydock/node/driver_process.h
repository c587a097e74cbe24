// SPDX-License-Identifier: Apache-2.0
// A DRA driver under test: an ordinary process, started by a shell command.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "drydock/node/driver_container.h"
#include "drydock/node/processes.h"
#include "fairlead/core/result.h"

namespace drydock {

/// Replaces {name} by its value. Other braces stay: ${shell}, awk's '{print}', JSON.
std::string fill_placeholders(const std::string& command, const std::map<std::string, std::string>& values);

/// What a driver used until now.
struct DriverCost {
  std::chrono::microseconds cpu{0};
  long peak_resident_kib = 0;  // sum of VmHWM of its processes
};

/// Used by one thread.
class DriverProcess {
 public:
  struct Settings {
    std::string command;  // placeholders filled
    std::map<std::string, std::string> env;
    std::string log;  // file for its stdout and stderr
  };
  static Result<DriverProcess> start(const Settings& settings);
  /// The same command in a container; pid() is its init, as the node sees it.
  static Result<DriverProcess> start_confined(const Settings& settings,
                                              const DriverContainerSettings& container);

  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] const std::string& command() const { return settings_.command; }
  /// How it ended; nothing while it runs.
  Result<std::optional<ExitStatus>> exit_status();
  /// True when `pid` is this process or a descendant.
  [[nodiscard]] bool owns(pid_t pid) const;
  /// Reads /proc while it runs; the last values once it has ended.
  DriverCost cost();
  /// SIGTERM to its process group, SIGKILL after `patience`. How it ended.
  Result<ExitStatus> stop(std::chrono::milliseconds patience);
  /// Once it has ended: its container goes, if it had one.
  Result<> clean_up();
  /// The last lines of its log.
  [[nodiscard]] std::vector<std::string> log_tail(std::size_t lines) const;

 private:
  explicit DriverProcess(Settings settings) : settings_(std::move(settings)) {}
  Settings settings_;
  std::optional<DriverContainerSettings> container_;
  pid_t pid_ = -1;
  std::optional<ExitStatus> exit_;
  DriverCost cost_;
};

/// The process that listens on a unix socket (SO_PEERCRED of a connection to it); nullopt if there is none.
std::optional<pid_t> listener_of(const std::string& socket);

}  // namespace drydock
