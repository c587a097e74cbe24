// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/link_keeper.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "drydock/node/processes.h"
#include "fairlead/sys/files.h"

namespace drydock {
namespace {

void say(const std::string& text) {
  const std::string line = "drydock: " + text + "\n";
  (void)!::write(STDERR_FILENO, line.data(), line.size());
}

/// Whatever else the supervisor had open may mean something to others by being closed.
void close_all_but(const std::vector<int>& kept) {
  const auto names = fairlead::sys::list_dir("/proc/self/fd");
  for (const auto& name : names ? *names : std::vector<std::string>()) {
    int fd = -1;
    (void)std::from_chars(name.data(), name.data() + name.size(), fd);
    if (fd > STDERR_FILENO && std::ranges::find(kept, fd) == kept.end()) {
      (void)::close(fd);
    }
  }
}

void leave_the_terminal() {
  (void)::setsid();
  (void)::prctl(PR_SET_NAME, kKeeperName);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE}) {
    (void)::signal(signal, SIG_IGN);
  }
  (void)!::chdir("/");
  // A reader of drydock's output waits for drydock's end, not for the keeper's. The keeper reports its own
  // errors.
  if (const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC)); null.valid()) {
    (void)::dup2(null.get(), STDIN_FILENO);
    (void)::dup2(null.get(), STDOUT_FILENO);
  }
}

/// True when the supervisor says that all is done; false when it is dead.
bool is_dismissed(int word) {
  char byte = 0;
  ssize_t got = 0;
  do {
    got = ::read(word, &byte, 1);
  } while (got < 0 && errno == EINTR);
  return got == 1;
}

void end_node(int init) {
  (void)::syscall(SYS_pidfd_send_signal, init, SIGKILL, nullptr, 0);
  pollfd item{.fd = init, .events = POLLIN, .revents = 0};
  while (item.revents == 0) {  // readable when the whole pid namespace is dead
    (void)::poll(&item, 1, -1);
  }
}

[[noreturn]] void keep(const LentLinks& links, int node, int init, int word) {
  if (is_dismissed(word)) {
    ::_exit(0);
  }
  say("it ended without taking back what was lent to the node; its keeper, process " +
      std::to_string(::getpid()) + ", does");
  end_node(init);
  bool all = true;
  for (const auto& [name, problem] : links.take_back(node)) {
    all = all && problem.empty();
    say("lent link " + name + (problem.empty() ? " is back" : ": " + problem));
  }
  ::_exit(all ? 0 : 1);
}

}  // namespace

Result<LinkKeeper> LinkKeeper::start(const LentLinks& links, int node, pid_t init) {
  FL_ASSIGN(const auto init_fd, open_pidfd(init));
  int ends[2] = {-1, -1};
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    return Error::from_errno(errno, "pipe");
  }
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  (void)std::fflush(nullptr);
  const pid_t pid = ::fork();
  if (pid < 0) {
    return Error::from_errno(errno, "fork the keeper of lent links");
  }
  if (pid == 0) {
    leave_the_terminal();
    auto kept = links.descriptors();
    kept.insert(kept.end(), {node, init_fd.get(), reader.get()});
    close_all_but(kept);
    keep(links, node, init_fd.get(), reader.get());
  }
  return LinkKeeper(pid, std::move(writer));
}

void LinkKeeper::dismiss() {
  (void)!::write(word_.get(), "x", 1);
  word_.reset();
  (void)wait_for_exit(pid_);
}

}  // namespace drydock
