// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/processes.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>

#include "fairlead/core/pinned.h"

namespace drydock {
namespace {

constexpr std::size_t kOutputLimit = std::size_t{1} << 20;

std::vector<std::string> environment_with(const std::map<std::string, std::string>& extra) {
  std::map<std::string, std::string> all;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const auto equals = text.find('=');
    all[text.substr(0, equals)] = equals == std::string::npos ? "" : text.substr(equals + 1);
  }
  for (const auto& [key, value] : extra) {
    all[key] = value;
  }
  std::vector<std::string> out;
  out.reserve(all.size());
  for (const auto& [key, value] : all) {
    out.push_back(key + "=" + value);
  }
  return out;
}

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> out;
  out.reserve(words.size() + 1);
  for (auto& word : words) {
    out.push_back(word.data());
  }
  out.push_back(nullptr);
  return out;
}

ExitStatus decode(int status, const rusage& usage) {
  ExitStatus out;
  if (WIFSIGNALED(status)) {
    out.signal = WTERMSIG(status);
    out.code = 128 + out.signal;
  } else {
    out.code = WEXITSTATUS(status);
  }
  out.cpu = std::chrono::seconds(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
            std::chrono::microseconds(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
  return out;
}

int milliseconds_left(std::chrono::steady_clock::time_point deadline) {
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
  return left < 0 ? 0 : static_cast<int>(std::min<long>(left, 3'600'000));
}

/// Owns the two attribute objects of posix_spawn.
struct SpawnSettings : private fairlead::Pinned {
  posix_spawn_file_actions_t actions{};
  posix_spawnattr_t attributes{};
  SpawnSettings() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
  }
  ~SpawnSettings() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
};

void set_output(SpawnSettings& settings, int from, int to) {
  if (from < 0) {
    posix_spawn_file_actions_addopen(&settings.actions, to, "/dev/null", O_WRONLY, 0);
  } else {
    posix_spawn_file_actions_adddup2(&settings.actions, from, to);
  }
}

void read_into(int fd, std::string& out) {
  char buffer[4096];
  const ssize_t n = ::read(fd, buffer, sizeof buffer);
  if (n > 0 && out.size() < kOutputLimit) {
    out.append(buffer, static_cast<std::size_t>(n));
  }
}

}  // namespace

std::string to_string(const ExitStatus& status) {
  if (status.signal != 0) {
    const char* text = ::sigdescr_np(status.signal);
    return "signal " + std::to_string(status.signal) + " (" + (text != nullptr ? text : "unknown") + ")";
  }
  return "exit status " + std::to_string(status.code);
}

Result<UniqueFd> open_pidfd(pid_t pid) {
  const long fd = ::syscall(SYS_pidfd_open, pid, 0);
  if (fd < 0) {
    return Error::from_errno(errno, "pidfd_open " + std::to_string(pid));
  }
  return UniqueFd(static_cast<int>(fd));
}

Result<pid_t> spawn(const Command& command) {
  if (command.argv.empty()) {
    return Error(Code::kInvalid, "no program to start");
  }
  SpawnSettings settings;
  posix_spawn_file_actions_addopen(&settings.actions, 0, "/dev/null", O_RDONLY, 0);
  set_output(settings, command.out, 1);
  set_output(settings, command.err, 2);
  if (!command.folder.empty()) {
    posix_spawn_file_actions_addchdir_np(&settings.actions, command.folder.c_str());
  }
  sigset_t none;
  sigset_t all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&settings.attributes, &none);
  posix_spawnattr_setsigdefault(&settings.attributes, &all);
  int flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
  if (command.own_group) {
    flags |= POSIX_SPAWN_SETPGROUP;
  }
  posix_spawnattr_setflags(&settings.attributes, static_cast<short>(flags));
  auto words = command.argv;
  auto variables = environment_with(command.env);
  pid_t pid = -1;
  const int failed = ::posix_spawnp(&pid, command.argv[0].c_str(), &settings.actions, &settings.attributes,
                                    pointers(words).data(), pointers(variables).data());
  if (failed != 0) {
    return Error::from_errno(failed, "start " + command.argv[0]);
  }
  return pid;
}

Result<std::optional<ExitStatus>> wait_for_exit(pid_t pid, std::chrono::milliseconds timeout) {
  FL_ASSIGN(const auto pidfd, open_pidfd(pid));
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  pollfd item{.fd = pidfd.get(), .events = POLLIN, .revents = 0};
  int ready = 0;
  do {
    ready = ::poll(&item, 1, milliseconds_left(deadline));
  } while (ready < 0 && errno == EINTR);
  if (ready == 0) {
    return std::optional<ExitStatus>();
  }
  int status = 0;
  rusage usage{};
  pid_t got = -1;
  do {
    got = ::wait4(pid, &status, 0, &usage);
  } while (got < 0 && errno == EINTR);
  if (got < 0) {
    return Error::from_errno(errno, "wait for process " + std::to_string(pid));
  }
  return std::optional(decode(status, usage));
}

Result<ExitStatus> wait_for_exit(pid_t pid) {
  while (true) {
    FL_ASSIGN(const auto status, wait_for_exit(pid, std::chrono::hours(1)));
    if (status) {
      return *status;
    }
  }
}

Result<Output> run(Command command, std::chrono::milliseconds timeout) {
  int ends[2] = {-1, -1};
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    return Error::from_errno(errno, "pipe");
  }
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  (void)::fcntl(reader.get(), F_SETFL, O_NONBLOCK);
  command.out = writer.get();
  command.err = writer.get();
  FL_ASSIGN(const pid_t pid, spawn(command));
  writer.reset();
  FL_ASSIGN(const auto pidfd, open_pidfd(pid));
  Output output;
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  pollfd items[2] = {{.fd = pidfd.get(), .events = POLLIN, .revents = 0},
                     {.fd = reader.get(), .events = POLLIN, .revents = 0}};
  // The process counts as finished when it has exited: a grandchild (a container) may hold the pipe for long.
  while (items[0].revents == 0) {
    const int left = milliseconds_left(deadline);
    if (left == 0) {
      (void)::kill(pid, SIGKILL);
      (void)wait_for_exit(pid);
      return Error(Code::kTimeout, command.argv[0] + " did not finish in time");
    }
    if (::poll(items, 2, left) > 0 && items[1].revents != 0) {
      read_into(reader.get(), output.out);
      if ((items[1].revents & POLLIN) == 0) {
        items[1].fd = -1;
      }
    }
  }
  for (std::size_t before = output.out.size() + 1; before != output.out.size();) {
    before = output.out.size();
    read_into(reader.get(), output.out);
  }
  FL_ASSIGN(output.status, wait_for_exit(pid));
  return output;
}

Result<> adopt_orphans() {
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0) {
    return Error::from_errno(errno, "prctl PR_SET_CHILD_SUBREAPER");
  }
  return {};
}

std::optional<std::string> find_program(const std::vector<std::string>& names) {
  const char* path = std::getenv("PATH");  // NOLINT(concurrency-mt-unsafe): the environment is never changed
  const std::string folders = std::string(path != nullptr ? path : "") + ":/usr/sbin:/usr/bin:/sbin:/bin";
  for (const auto& name : names) {
    if (name.find('/') != std::string::npos) {
      if (::access(name.c_str(), X_OK) == 0) {
        return name;
      }
      continue;
    }
    for (std::size_t at = 0; at <= folders.size();) {
      const auto end = std::min(folders.find(':', at), folders.size());
      const std::string candidate = folders.substr(at, end - at) + "/" + name;
      if (end > at && ::access(candidate.c_str(), X_OK) == 0) {
        return candidate;
      }
      at = end + 1;
    }
  }
  return std::nullopt;
}

}  // namespace drydock
