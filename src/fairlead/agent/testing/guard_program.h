// SPDX-License-Identifier: Apache-2.0
// The real fairlead-guard, run as a container runtime runs a createRuntime hook. For tests.
#pragma once

#include <fcntl.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <string>

#include "fairlead/core/fd.h"

namespace fairlead::agent {

struct Outcome {
  int status = -1;  // exit status; -1: killed
  std::string error;
};

struct GuardRun {
  std::string state;  // the OCI state on stdin
  std::string claim = "u1";
  std::string patience_ms = "28000";
};

inline Outcome run_guard(const char* program, const std::string& socket, const GuardRun& run) {
  std::array<int, 2> in = {};
  std::array<int, 2> err = {};
  if (::pipe2(in.data(), O_CLOEXEC) != 0 || ::pipe2(err.data(), O_CLOEXEC) != 0) {
    return {};
  }
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(in[0], 0);
    ::dup2(err[1], 2);
    ::execl(program, "fairlead-guard", "--socket", socket.c_str(), "--claim", run.claim.c_str(),
            "--patience-ms", run.patience_ms.c_str(), nullptr);
    ::_exit(127);
  }
  UniqueFd in_read(in[0]);
  UniqueFd in_write(in[1]);
  UniqueFd err_read(err[0]);
  UniqueFd err_write(err[1]);
  in_read.reset();
  err_write.reset();
  (void)!::write(in_write.get(), run.state.data(), run.state.size());
  in_write.reset();
  Outcome outcome;
  std::array<char, 4096> buffer = {};
  for (ssize_t n = 0; (n = ::read(err_read.get(), buffer.data(), buffer.size())) > 0;) {
    outcome.error.append(buffer.data(), static_cast<std::size_t>(n));
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return outcome;
}

/// As runc and crun write it.
inline std::string oci_state_of(pid_t pid) {
  return R"({"ociVersion":"1.0.2","id":"c1","status":"creating","pid":)" + std::to_string(pid) +
         R"(,"bundle":"/b"})";
}

}  // namespace fairlead::agent
