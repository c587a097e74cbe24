// SPDX-License-Identifier: Apache-2.0
// Child processes: started without a shell, waited for by pid, never by a broad name.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "fairlead/core/fd.h"
#include "fairlead/core/result.h"

namespace drydock {

using fairlead::Code;
using fairlead::Error;
using fairlead::Result;
using fairlead::UniqueFd;

struct Command {
  std::vector<std::string> argv;           // argv[0] is looked up in PATH
  std::map<std::string, std::string> env;  // added to our own environment, which it overrides
  std::string folder;                      // working directory; empty: ours
  int out = -1;                            // descriptor for its stdout; -1: /dev/null
  int err = -1;
  bool own_group = false;  // a process group of its own: the terminal's Ctrl-C does not reach it
};

struct ExitStatus {
  int code = 0;    // exit code, or 128 + signal
  int signal = 0;  // what ended it, 0 when it exited by itself
  std::chrono::microseconds cpu{0};
  [[nodiscard]] bool ok() const { return code == 0; }
};
/// "exit status 1", "signal 9 (Killed)".
std::string to_string(const ExitStatus& status);

/// A descriptor that becomes readable when the process ends.
Result<UniqueFd> open_pidfd(pid_t pid);

/// Any thread. The child has default signal dispositions, an empty signal mask and /dev/null as stdin.
Result<pid_t> spawn(const Command& command);

/// Waits for a child (or an adopted one, see adopt_orphans) and reaps it; nullopt if it still runs at the
/// deadline.
Result<std::optional<ExitStatus>> wait_for_exit(pid_t pid, std::chrono::milliseconds timeout);
/// Without a deadline.
Result<ExitStatus> wait_for_exit(pid_t pid);

struct Output {
  ExitStatus status;
  std::string out;  // stdout and stderr together
};
/// Runs to the end and keeps what it printed (at most 1 MiB). kTimeout when it takes longer; it is killed.
Result<Output> run(Command command, std::chrono::milliseconds timeout);

/// Makes processes whose parent goes away children of this one (PR_SET_CHILD_SUBREAPER): so a container's
/// init, made by an OCI runtime that has already exited, can be waited for.
Result<> adopt_orphans();

/// The first of the names found in PATH, as an absolute path; names with a slash are taken as they are.
std::optional<std::string> find_program(const std::vector<std::string>& names);

}  // namespace drydock
