// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/netlink/socket.h"

#include <linux/netlink.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>

#include "fairlead/sys/netlink/endpoint.h"
#include "fairlead/sys/netlink/request_text.h"

namespace fairlead::netlink {
namespace {

// Room for the responses to one batch: each takes under 1 KiB of the receive buffer.
constexpr int kReceiveBuffer = 1 << 20;
constexpr std::size_t kMaxInFlight = 128;

}  // namespace

// ---------------------------------------------------------------------------------------------- transport

Socket::Socket(UniqueFd fd, std::uint32_t port)
    : fd_(std::move(fd)),
      port_(port),
      // Seeded from the clock, so that an answer to an earlier owner of the port number cannot match.
      sequence_(static_cast<std::uint32_t>(Clock::now().time_since_epoch().count())) {}

Result<Socket> Socket::open() {
  FL_ASSIGN(Endpoint endpoint, open_endpoint(std::nullopt, kReceiveBuffer));
  return Socket(std::move(endpoint.fd), endpoint.port);
}

Result<Socket> Socket::open_in(int netns) {
  FL_ASSIGN(Endpoint endpoint, open_endpoint(netns, kReceiveBuffer));
  return Socket(std::move(endpoint.fd), endpoint.port);
}

std::uint32_t Socket::next_sequence() {
  if (++sequence_ == 0) {
    ++sequence_;  // 0 is the kernel's, for events
  }
  return sequence_;
}

Result<> Socket::send(std::span<Batch::Request> requests) const {
  std::vector<iovec> parts;
  parts.reserve(requests.size());
  for (auto& request : requests) {
    parts.push_back({.iov_base = request.bytes.data(), .iov_len = request.bytes.size()});
  }
  sockaddr_nl kernel = {};
  kernel.nl_family = AF_NETLINK;
  msghdr message = {};
  message.msg_name = &kernel;
  message.msg_namelen = sizeof kernel;
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  while (::sendmsg(fd_.get(), &message, MSG_NOSIGNAL) < 0) {
    const int e = errno;
    if (e != EINTR) {
      return Error::from_errno(e, "send to netlink");
    }
  }
  return {};
}

Result<Socket::View> Socket::receive(Clock::time_point deadline) {
  return receive_datagram_by(fd_.get(), buffer_, deadline);
}

Result<> Socket::receive_until(const std::function<bool(const codec::Message&)>& visit) {
  const auto deadline = Clock::now() + timeout_;
  for (;;) {
    FL_ASSIGN(View rest, receive(deadline));
    while (const auto message = codec::next_message(rest)) {
      if (message->port == port_ && visit(*message)) {
        return {};
      }
    }
  }
}

Result<std::vector<codec::Answer>> Socket::exchange(std::span<Batch::Request> requests) {
  std::vector<std::uint32_t> sequences;
  for (auto& request : requests) {
    sequences.push_back(next_sequence());
    codec::set_sequence(request.bytes, sequences.back());
  }
  FL_TRY(send(requests));
  std::vector<codec::Answer> answers(requests.size());
  std::size_t missing = requests.size();
  FL_TRY(receive_until([&](const codec::Message& message) {
    const auto at = std::ranges::find(sequences, message.sequence);
    auto answer = codec::read_answer(message);
    if (at != sequences.end() && answer) {
      answers.at(static_cast<std::size_t>(at - sequences.begin())) = std::move(*answer);
      --missing;
    }
    return missing == 0;
  }));
  return answers;
}

Result<UniqueFd> Socket::netns() const {
  const int fd = ::ioctl(fd_.get(), SIOCGSKNS);
  if (fd < 0) {
    return Error::from_errno(errno, "open the netlink socket's network namespace");
  }
  return UniqueFd(fd);
}

// ---------------------------------------------------------------------------------------------- requests

Result<bool> Socket::is_there(const Batch::Request& request) {
  if (const auto* address = std::get_if<NewAddress>(&request.wanted)) {
    FL_ASSIGN(const auto all, addresses(address->link));
    return std::ranges::any_of(all, [&](const Address& one) { return one.prefix == address->prefix; });
  }
  if (const auto* route = std::get_if<NewRoute>(&request.wanted)) {
    FL_ASSIGN(const auto all, routes(route->table));
    return std::ranges::any_of(all, [&](const Route& one) { return is_what_was_asked_for(one, *route); });
  }
  return false;
}

Result<bool> Socket::is_fine(const Batch::Request& request, int error) {
  if (error == 0 || std::ranges::find(request.fine, error) != request.fine.end()) {
    return true;
  }
  return error == EEXIST ? is_there(request) : Result<bool>(false);
}

Result<> Socket::run(Batch batch) {
  const std::span<Batch::Request> all(batch.requests_);
  if (all.size() > 1) {
    for (std::size_t at = 0; at < all.size(); ++at) {
      all[at].what +=
          " (netlink message " + std::to_string(at + 1) + " of " + std::to_string(all.size()) + ")";
    }
  }
  FL_ASSIGN(const auto failures, run_each(std::move(batch)));
  if (failures.empty()) {
    return {};
  }
  const Error& first = failures.front().error;
  if (failures.size() == 1) {
    return first;
  }
  return Error(first.code(), first.what() + " (and " + std::to_string(failures.size() - 1) + " more failed)",
               first.sys_errno());
}

Result<std::vector<BatchFailure>> Socket::run_each(Batch batch) {
  const std::span<Batch::Request> all(batch.requests_);
  for (Batch::Request& request : all) {
    if (request.refused) {
      return std::move(*request.refused).with(request.what);
    }
  }
  std::vector<BatchFailure> failures;
  for (std::size_t start = 0; start < all.size(); start += kMaxInFlight) {
    FL_TRY(run_part(all.subspan(start, std::min(kMaxInFlight, all.size() - start)), start, failures));
  }
  return failures;
}

Result<> Socket::run_part(std::span<Batch::Request> requests, std::size_t first,
                          std::vector<BatchFailure>& failures) {
  FL_ASSIGN(const auto answers, exchange(requests), requests.front().what);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    FL_ASSIGN(const bool fine, is_fine(requests[i], answers[i].error), requests[i].what);
    if (!fine) {
      name_link(requests[i]);
      failures.push_back({.at = first + i, .error = refusal(requests[i].what, answers[i])});
    }
  }
  return {};
}

void Socket::name_link(Batch::Request& request) {
  const auto found = request.link.valid() ? link(request.link) : Result<std::optional<Link>>(std::nullopt);
  const std::string number = text_of(request.link);
  const std::size_t at = request.what.find(number);
  if (found && *found && at != std::string::npos) {
    request.what.replace(at, number.size(), (*found)->name);
  }
}

Result<> Socket::dump(Batch::Request request, const std::function<void()>& restart, const Visitor& visit) {
  if (request.refused) {
    return std::move(*request.refused).with(request.what);
  }
  const auto deadline = Clock::now() + timeout_;
  do {
    restart();
    FL_ASSIGN(const bool whole, dump_once(request, visit));
    if (whole) {
      return {};
    }
  } while (Clock::now() < deadline);
  return Error(Code::kUnavailable, request.what + ": changes kept interrupting it", EINTR);
}

Result<bool> Socket::dump_once(Batch::Request& request, const Visitor& visit) {
  const std::uint32_t sequence = next_sequence();
  codec::set_sequence(request.bytes, sequence);
  FL_TRY(send(std::span(&request, 1)), request.what);
  bool interrupted = false;
  codec::Answer answer;
  FL_TRY(receive_until([&](const codec::Message& message) {
           if (message.sequence != sequence) {
             return false;
           }
           interrupted = interrupted || (message.flags & NLM_F_DUMP_INTR) != 0;
           auto end = codec::read_answer(message);
           if (!end) {
             visit(message);
             return false;
           }
           answer = std::move(*end);
           return true;
         }),
         request.what);
  if (answer.error != 0) {
    return refusal(request.what, answer);
  }
  return !interrupted;
}

/// One request, one answer: what `take` takes, or an error.
Result<codec::Answer> Socket::ask(Batch::Request& request,
                                  const std::function<bool(const codec::Message&)>& take) {
  if (request.refused) {
    return std::move(*request.refused).with(request.what);
  }
  const std::uint32_t sequence = next_sequence();
  codec::set_sequence(request.bytes, sequence);
  FL_TRY(send(std::span(&request, 1)), request.what);
  codec::Answer answer;
  FL_TRY(receive_until([&](const codec::Message& message) {
           if (message.sequence != sequence) {
             return false;
           }
           if (auto end = codec::read_answer(message)) {
             answer = std::move(*end);
             return true;
           }
           return take(message);
         }),
         request.what);
  return answer;
}

}  // namespace fairlead::netlink
