// SPDX-License-Identifier: Apache-2.0
// fairlead-guard: the createRuntime hook that a claim's CDI device carries (OCI runtime-spec, config.md
// "POSIX platform hooks"). The runtime runs it on the host before the container's program starts, with the
// container's state on stdin. It hands the container's network namespace, as a descriptor, to the fairlead
// agent and waits for the word "done". Anything else fails the container, with the agent's sentence as
// reason. If the agent is gone, or ends before it responded, it is being restarted: the guard calls its
// successor, for as long as it has time. That is safe, since attaching is idempotent.
//
// One static binary without the C++ library and without allocation: it starts for every container, on any
// host.
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "guard/oci_state.h"

namespace {

// Below the hook's own timeout in the CDI file, so that the reason is reported instead of "hook killed".
constexpr std::int64_t kDeadlineMs = 28'000;
constexpr int kConnectAgainMs = 50;
constexpr std::size_t kMaxState = std::size_t{256} << 10;  // annotations can be long
constexpr std::size_t kMaxAnswer = 4096;

void say(std::string_view a, std::string_view b = {}, std::string_view c = {}) {
  (void)!::write(STDERR_FILENO, "fairlead-guard: ", 16);
  for (const std::string_view part : {a, b, c}) {
    (void)!::write(STDERR_FILENO, part.data(), part.size());
  }
  (void)!::write(STDERR_FILENO, "\n", 1);
}

[[noreturn]] void fail(std::string_view a, std::string_view b = {}, std::string_view c = {}) {
  say(a, b, c);
  ::_exit(1);
}

std::string_view reason(int error) {
  return std::strerror(error);  // NOLINT(concurrency-mt-unsafe): one thread
}

std::int64_t now_ms() {
  timespec now = {};
  (void)::clock_gettime(CLOCK_MONOTONIC, &now);
  return (std::int64_t{now.tv_sec} * 1000) + (now.tv_nsec / 1'000'000);
}

struct Arguments {
  std::string_view socket, claim;
  std::int64_t patience_ms = kDeadlineMs;
};

Arguments parse_arguments(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view flag = argv[i];
    if (flag == "--socket") {
      arguments.socket = argv[i + 1];
    } else if (flag == "--claim") {
      arguments.claim = argv[i + 1];
    } else if (flag == "--patience-ms") {
      arguments.patience_ms = std::atol(argv[i + 1]);  // NOLINT(cert-err34-c): nonsense is no patience
    } else {
      fail("unknown flag ", flag);
    }
  }
  if (arguments.socket.empty() || arguments.claim.empty() || argc % 2 == 0) {
    fail(
        "usage: fairlead-guard --socket PATH --claim UID [--patience-ms 28000], with the OCI container state "
        "on "
        "stdin");
  }
  return arguments;
}

std::array<char, kMaxState> state_buffer;
std::array<char, kMaxAnswer> answer_buffer;

std::string_view read_state() {
  std::size_t size = 0;
  while (true) {
    const ssize_t n = ::read(STDIN_FILENO, state_buffer.data() + size, state_buffer.size() - size);
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n < 0) {
      fail("cannot read the container's state from stdin: ", reason(errno));
    }
    if (n == 0) {
      return {state_buffer.data(), size};
    }
    size += static_cast<std::size_t>(n);
    if (size == state_buffer.size()) {
      fail("the container's state on stdin is too long");
    }
  }
}

int open_netns(long pid) {
  std::array<char, 64> path = {};
  (void)std::snprintf(path.data(), path.size(), "/proc/%ld/ns/net", pid);
  const int fd = ::open(path.data(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    fail("cannot open the container's network namespace ", path.data(),
         errno == ENOENT ? ": no such process" : "");
  }
  return fd;
}

/// One attempt; -1 with errno.
int try_connect(const sockaddr_un& address) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    fail("cannot make a socket: ", reason(errno));
  }
  const auto* generic = static_cast<const sockaddr*>(static_cast<const void*>(&address));
  if (::connect(fd, generic, sizeof address) == 0) {
    return fd;
  }
  const int e = errno;
  (void)::close(fd);
  errno = e;
  return -1;
}

/// Retries until `deadline`; then it fails with the reason.
int connect_to_agent(std::string_view path, std::int64_t deadline) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    fail("the agent's socket path is too long: ", path);
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  while (true) {
    const int fd = try_connect(address);
    if (fd >= 0) {
      return fd;
    }
    const int e = errno;
    const bool away = e == ENOENT || e == ECONNREFUSED;
    if (away && now_ms() < deadline) {
      (void)::poll(nullptr, 0, kConnectAgainMs);
      continue;
    }
    if (away) {
      fail("the fairlead agent is not running on this node (no process listens on ", path, ")");
    }
    fail("cannot reach the fairlead agent: ", reason(e));
  }
}

/// The agent at the other end is gone: calls its successor.
bool is_hang_up(int error) { return error == EPIPE || error == ECONNRESET || error == ENOTCONN; }

/// False: the agent hung up.
bool send_request(int agent, int netns, std::string_view claim, std::string_view container) {
  std::array<char, 1024> text = {};
  const int size = std::snprintf(text.data(), text.size(), "fairlead-guard 1\nclaim %.*s\ncontainer %.*s\n",
                                 static_cast<int>(claim.size()), claim.data(),
                                 static_cast<int>(container.size()), container.data());
  if (size < 0 || static_cast<std::size_t>(size) >= text.size()) {
    fail("the claim's or the container's id is too long");
  }
  iovec part{.iov_base = text.data(), .iov_len = static_cast<std::size_t>(size)};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control = {};
  msghdr header = {};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  cmsghdr* rights = CMSG_FIRSTHDR(&header);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(rights), &netns, sizeof netns);
  if (::sendmsg(agent, &header, MSG_NOSIGNAL) == size && ::shutdown(agent, SHUT_WR) == 0) {
    return true;
  }
  const int e = errno;
  if (!is_hang_up(e)) {
    fail("cannot talk to the fairlead agent: ", reason(e));
  }
  return false;
}

/// Everything that the agent sends until it closes the connection; empty if it sent nothing.
std::string_view read_answer(int agent, std::int64_t deadline) {
  std::size_t size = 0;
  while (size < answer_buffer.size()) {
    const std::int64_t left = deadline - now_ms();
    pollfd ready{.fd = agent, .events = POLLIN, .revents = 0};
    const int polled = left > 0 ? ::poll(&ready, 1, static_cast<int>(left)) : 0;
    if (polled == 0) {
      fail("the fairlead agent did not answer in time (28 seconds, with all tries)");
    }
    const ssize_t n =
        polled < 0 ? -1 : ::read(agent, answer_buffer.data() + size, answer_buffer.size() - size);
    if (n < 0 && errno != EINTR && !is_hang_up(errno)) {
      fail("lost the connection to the fairlead agent: ", reason(errno));
    }
    if (n == 0 || (n < 0 && is_hang_up(errno))) {
      break;
    }
    size += n > 0 ? static_cast<std::size_t>(n) : 0;
  }
  return {answer_buffer.data(), size};
}

/// The response line, without its newline. An incomplete response counts as none.
std::string_view ask(const Arguments& arguments, int netns, std::string_view container) {
  const std::int64_t deadline = now_ms() + arguments.patience_ms;
  while (true) {
    const int agent = connect_to_agent(arguments.socket, deadline);
    std::string_view answer;
    if (send_request(agent, netns, arguments.claim, container)) {
      answer = read_answer(agent, deadline);
    }
    (void)::close(agent);
    if (answer.ends_with('\n')) {
      answer.remove_suffix(1);
      return answer;
    }
    if (answer.size() == kMaxAnswer) {
      return answer;  // a very long sentence
    }
    if (now_ms() >= deadline) {
      fail("the fairlead agent ended before it answered; the container is tried again");
    }
    (void)::poll(nullptr, 0, kConnectAgainMs);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments arguments = parse_arguments(argc, argv);
  const auto state = guard::parse_oci_state(read_state());
  if (!state.valid) {
    fail("stdin is not an OCI container state with a \"pid\"");
  }
  const int netns = open_netns(state.pid);
  const std::string_view answer = ask(arguments, netns, state.id);
  if (answer == "done") {
    return 0;
  }
  if (answer.starts_with("error ")) {
    fail(answer.substr(6));
  }
  fail("the fairlead agent's answer is not understood; are fairlead and fairlead-guard the same version?");
}
