// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/ways/guard_server.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string_view>
#include <thread>

#include "fairlead/core/executor.h"
#include "fairlead/core/log.h"
#include "fairlead/core/text.h"
#include "fairlead/rpc/unix_listener.h"
#include "fairlead/sys/netns.h"

namespace fairlead::agent {
namespace {

constexpr std::size_t kMaxMessage = 4096;
constexpr int kRetryListenMs = 200;
/// How often to check that the socket is still where the guard finds it.
constexpr int kLookMs = 400;
constexpr std::string_view kGreeting = "fairlead-guard 1\n";

/// One message received on a connection: text, and at most one descriptor.
struct Message {
  std::string text;
  UniqueFd fd;
};

/// Takes every descriptor out of the control data; keeps the first, closes the others.
void take_descriptors(msghdr& header, UniqueFd& kept) {
  for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) {
      continue;
    }
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + (i * sizeof(int)), sizeof fd);
      UniqueFd owned(fd);
      if (!kept.valid()) {
        kept = std::move(owned);
      }
    }
  }
}

Result<Message> receive(int connection) {
  Message message;
  std::array<char, kMaxMessage> buffer = {};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(8 * sizeof(int))> control = {};
  while (true) {
    iovec part{.iov_base = buffer.data(), .iov_len = buffer.size()};
    msghdr header = {};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    const ssize_t n = ::recvmsg(connection, &header, MSG_CMSG_CLOEXEC);
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n < 0) {
      return Error::from_errno(errno, "read the guard's message");
    }
    take_descriptors(header, message.fd);
    if (n == 0) {
      return message;
    }
    message.text.append(buffer.data(), static_cast<std::size_t>(n));
    if (message.text.size() > kMaxMessage) {
      return Error(Code::kInvalid, "the guard's message is too long");
    }
  }
}

/// The rest of the line "<key> ..." at the start of `text`, which loses it.
std::optional<std::string> take_line(std::string_view& text, std::string_view key) {
  const auto end = text.find('\n');
  if (!text.starts_with(key) || end == std::string_view::npos || end < key.size()) {
    return std::nullopt;
  }
  std::string value(text.substr(key.size(), end - key.size()));
  text.remove_prefix(end + 1);
  return value;
}

Result<GuardCall> parse(Message message) {
  const auto wrong = [] {
    return Error(Code::kInvalid,
                 "the guard's message is not understood; are fairlead and fairlead-guard the same version?");
  };
  std::string_view text = message.text;
  if (!text.starts_with(kGreeting)) {
    return wrong();
  }
  text.remove_prefix(kGreeting.size());
  auto claim = take_line(text, "claim ");
  auto container = take_line(text, "container ");
  if (!claim || !is_uid(*claim) || !container || !text.empty()) {
    return wrong();
  }
  if (!message.fd.valid()) {
    return Error(Code::kInvalid, "the guard sent no network namespace");
  }
  FL_TRY(sys::check_netns(message.fd.get()), "what the guard sent");
  return GuardCall{
      .claim_uid = *std::move(claim), .container = *std::move(container), .netns = std::move(message.fd)};
}

Result<> check_peer(int connection) {
  ucred peer = {};
  socklen_t size = sizeof peer;
  if (::getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
    return Error::from_errno(errno, "ask who connected");
  }
  if (peer.uid != 0) {
    return Error(Code::kDenied, "only root may ask for interfaces, not user " + std::to_string(peer.uid));
  }
  return {};
}

void set_timeouts(int connection, std::chrono::milliseconds timeout) {
  const timeval value{.tv_sec = timeout.count() / 1000, .tv_usec = (timeout.count() % 1000) * 1000};
  (void)::setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &value, sizeof value);
  (void)::setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &value, sizeof value);
}

void answer(int connection, const Result<>& result) {
  std::string text = "done\n";
  if (!result) {
    text = "error " + result.error().what();
    std::ranges::replace(text, '\n', ' ');
    text += '\n';
  }
  // The guard may be gone (its deadline, a killed container): the error is ignored.
  (void)::send(connection, text.data(), text.size(), MSG_NOSIGNAL);
}

}  // namespace

struct GuardServer::Impl {
  Options options;
  Attach attach;
  std::optional<rpc::UnixListener> listener;
  UniqueFd stop_event;
  std::optional<Executor> workers;
  std::thread thread;

  void run();
  bool wait(int fd, int timeout_ms) const;
  bool listen();
  void note_unreachable(const Error& error) const;
  void listen_again();
  [[nodiscard]] bool accept_one();
  void handle(int connection);
};

/// True when `fd` (if any) became readable or the time is over, false when the server is stopping.
bool GuardServer::Impl::wait(int fd, int timeout_ms) const {
  std::array<pollfd, 2> fds = {
      {{.fd = stop_event.get(), .events = POLLIN, .revents = 0}, {.fd = fd, .events = POLLIN, .revents = 0}}};
  while (::poll(fds.data(), fds.size(), timeout_ms) < 0 && errno == EINTR) {
  }
  return fds[0].revents == 0;
}

void GuardServer::Impl::note_unreachable(const Error& error) const {
  log::error(
      "the socket of the guard cannot be made; until it can, no container that lists a claim starts on this "
      "node; retrying",
      {{"socket", options.path}, {"error", error.what()}});
}

/// Another instance listens: waits until it has ended. False when the server is stopping.
bool GuardServer::Impl::listen() {
  std::string told;
  while (!listener) {
    auto opened = rpc::UnixListener::open(options.path);
    if (opened) {
      listener.emplace(*std::move(opened));
      continue;
    }
    if (opened.error().code() != Code::kBusy && opened.error().what() != told) {
      told = opened.error().what();
      note_unreachable(opened.error());
    }
    if (!wait(-1, kRetryListenMs)) {
      return false;
    }
  }
  return true;
}

/// The name was removed (by an operator, a cleaner of old files) or taken by another instance: binds it
/// again, since no container of any claim could start otherwise.
void GuardServer::Impl::listen_again() {
  auto opened = rpc::UnixListener::open(options.path);
  if (!opened) {
    if (opened.error().code() != Code::kBusy) {  // else the other one serves
      note_unreachable(opened.error());
    }
    return;
  }
  while (accept_one()) {  // who had connected before
  }
  listener.emplace(*std::move(opened));
  log::warn("the guard's socket was removed and has been bound again", {{"socket", options.path}});
}

void GuardServer::Impl::run() {
  if (!listen()) {
    return;
  }
  while (wait(listener->descriptor(), kLookMs)) {
    (void)accept_one();
    if (!listener->is_in_place()) {
      listen_again();
    }
  }
}

/// False: no connection is pending.
bool GuardServer::Impl::accept_one() {
  UniqueFd connection(::accept4(listener->descriptor(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!connection.valid()) {
    if (errno == EMFILE || errno == ENFILE || errno == ENOMEM) {
      (void)wait(-1, 100);  // out of descriptors: do not spin
    }
    return false;
  }
  // Two guards of one pod and one claim may call at once; dra::Host::update serializes them.
  const auto submitted =
      workers->submit({}, [this, owned = std::move(connection)](Executor::Turn&) { handle(owned.get()); });
  if (!submitted) {
    log::warn("a guard's call was refused", {{"error", submitted.error().what()}});
  }
  return true;
}

void GuardServer::Impl::handle(int connection) {
  set_timeouts(connection, options.read_timeout);
  std::string claim;
  std::string container;
  bool hung_up = false;
  const Result<> result = [&]() -> Result<> {
    FL_TRY(check_peer(connection));
    FL_ASSIGN(Message message, receive(connection));
    hung_up = message.text.empty() && !message.fd.valid();
    FL_ASSIGN(const GuardCall call, parse(std::move(message)));
    claim = call.claim_uid;
    container = call.container;
    return attach(call);
  }();
  if (hung_up) {
    return;  // only a check whether we listen, as the other instance does in a rolling update
  }
  if (!result && result.error().code() == Code::kCancelled) {
    return;  // we are stopping: without a response the guard calls the next agent
  }
  if (result) {
    log::info("claim attached", {{"via", "guard"}, {"claim", claim}, {"container", container}});
  } else {
    log::error("attach failed",
               {{"claim", claim}, {"container", container}, {"error", result.error().what()}});
  }
  answer(connection, result);
}

GuardServer::GuardServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<GuardServer>> GuardServer::open(Options options, Attach attach) {
  auto impl = std::make_unique<Impl>();
  impl->options = std::move(options);
  impl->attach = std::move(attach);
  impl->stop_event = UniqueFd(::eventfd(0, EFD_CLOEXEC));
  if (!impl->stop_event.valid()) {
    return Error::from_errno(errno, "make an eventfd");
  }
  auto listener = rpc::UnixListener::open(impl->options.path);
  if (listener) {
    impl->listener.emplace(*std::move(listener));
  } else if (listener.error().code() != Code::kBusy) {
    return std::move(listener).error().with("listen to the guard");
  }
  return std::unique_ptr<GuardServer>(new GuardServer(std::move(impl)));
}

GuardServer::~GuardServer() { stop(); }

void GuardServer::serve() {
  impl_->workers.emplace(
      Executor::Options{.lanes = {impl_->options.workers}, .queue_limit = impl_->options.queue_limit});
  impl_->thread = std::thread([impl = impl_.get()] { impl->run(); });
}

void GuardServer::stop() {
  if (impl_->thread.joinable()) {
    const std::uint64_t one = 1;
    (void)!::write(impl_->stop_event.get(), &one, sizeof one);
    impl_->thread.join();
  }
  if (impl_->workers) {
    impl_->workers->stop();
  }
  impl_->listener.reset();
}

}  // namespace fairlead::agent
