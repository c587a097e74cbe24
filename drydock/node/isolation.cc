// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/isolation.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <utility>

#include "drydock/node/processes.h"

namespace drydock {
namespace {

constexpr int kSetupFailed = 1;

sigset_t endings() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGHUP);
  return set;
}

/// Pid 1 of the node: hands signals on, reaps, leaves with the node's own status.
[[noreturn]] void be_init(pid_t node) {
  sigset_t set = endings();
  sigaddset(&set, SIGCHLD);
  while (true) {
    siginfo_t info{};
    const int signal = ::sigwaitinfo(&set, &info);
    if (signal == SIGTERM || signal == SIGINT || signal == SIGHUP) {
      (void)::kill(node, SIGTERM);
      continue;
    }
    int status = 0;
    for (pid_t pid = ::waitpid(-1, &status, WNOHANG); pid > 0; pid = ::waitpid(-1, &status, WNOHANG)) {
      if (pid == node) {
        ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
      }
    }
  }
}

Result<> make_walls(const std::string& host_name) {
  // Nothing that is mounted here may reach the machine, whatever propagation its mounts have.
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    return Error::from_errno(errno, "make the node's mounts private");
  }
  if (::mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) != 0) {
    return Error::from_errno(errno, "mount the node's /proc");
  }
  if (::sethostname(host_name.data(), host_name.size()) != 0) {
    return Error::from_errno(errno, "set the node's host name");
  }
  return {};
}

[[noreturn]] void be_node(const std::string& host_name, const std::function<int()>& body, int lifeline) {
  (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
  // The supervisor may have died before the line above: then the lifeline's other end is closed.
  char byte = 0;
  if (::read(lifeline, &byte, 1) != 1) {
    ::_exit(kSetupFailed);
  }
  (void)::setpgid(0, 0);  // Ctrl-C reaches the supervisor only, which hands it on
  if (const auto made = make_walls(host_name); !made) {
    (void)std::fprintf(stderr, "drydock: %s\n", made.error().what().c_str());
    ::_exit(kSetupFailed);
  }
  const pid_t node = ::fork();
  if (node < 0) {
    ::_exit(kSetupFailed);
  }
  if (node > 0) {
    be_init(node);
  }
  const int code = body();
  (void)std::fflush(nullptr);
  ::_exit(code);
}

/// Waits for the node's end; the first signal asks it to leave, the second one kills it.
Result<int> supervise(pid_t init, const UniqueFd& signals) {
  FL_ASSIGN(const auto pidfd, open_pidfd(init));
  pollfd items[2] = {{.fd = pidfd.get(), .events = POLLIN, .revents = 0},
                     {.fd = signals.get(), .events = POLLIN, .revents = 0}};
  int asked = 0;
  while (items[0].revents == 0) {
    if (::poll(items, 2, -1) < 0 || items[1].revents == 0) {
      continue;
    }
    signalfd_siginfo info{};
    if (::read(signals.get(), &info, sizeof info) == sizeof info) {
      (void)::kill(init, asked++ == 0 ? SIGTERM : SIGKILL);
    }
  }
  FL_ASSIGN(const auto status, wait_for_exit(init));
  return status.code;
}

}  // namespace

Result<int> run_isolated(const std::string& host_name, const std::function<int()>& body,
                         const std::function<Result<>(pid_t)>& prepare) {
  int ends[2] = {-1, -1};
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    return Error::from_errno(errno, "pipe");
  }
  UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  sigset_t before;
  sigset_t blocked = endings();
  sigaddset(&blocked, SIGCHLD);
  (void)::pthread_sigmask(SIG_BLOCK, &blocked, &before);
  const fairlead::ScopeExit restore([&] { (void)::pthread_sigmask(SIG_SETMASK, &before, nullptr); });
  const sigset_t watched = endings();
  const UniqueFd signals(::signalfd(-1, &watched, SFD_CLOEXEC));
  if (!signals.valid()) {
    return Error::from_errno(errno, "signalfd");
  }
  (void)std::fflush(nullptr);
  constexpr unsigned long kWalls = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
  // The raw call works like fork: unshare(2) would leave this process itself with the node's mounts and
  // links.
  const long init = ::syscall(SYS_clone, kWalls | SIGCHLD, nullptr, nullptr, nullptr, nullptr);
  if (init < 0) {
    const int failed = errno;
    return Error::from_errno(failed, failed == EPERM
                                         ? "the node needs namespaces of its own, and that needs root: clone"
                                         : "make the node's namespaces: clone");
  }
  if (init == 0) {
    writer.reset();
    be_node(host_name, body, reader.get());
  }
  reader.reset();
  if (auto prepared = prepare ? prepare(static_cast<pid_t>(init)) : Result<>(); !prepared) {
    writer.reset();  // the init, which still waits for a byte, sees the end and leaves
    FL_TRY(wait_for_exit(static_cast<pid_t>(init)));
    return std::move(prepared).error();
  }
  (void)!::write(writer.get(), "x", 1);
  return supervise(static_cast<pid_t>(init), signals);
}

}  // namespace drydock
