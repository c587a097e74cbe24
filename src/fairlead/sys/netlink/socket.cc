// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/netlink/socket.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <map>

#include "fairlead/sys/netlink/endpoint.h"
#include "fairlead/sys/netns.h"

namespace fairlead::netlink {
namespace {

// Room for the answers of one batch: each takes under 1 KiB of the receive buffer.
constexpr int kReceiveBuffer = 1 << 20;
constexpr std::size_t kMaxInFlight = 128;

std::string text_of(IfIndex link) { return "link " + std::to_string(link.value()); }

std::string text_of(const NewRoute& route) {
  std::string text = route.destination.network().to_string();
  if (route.gateway) {
    text += " via " + route.gateway->to_string();
  }
  return text + " on " + text_of(route.link);
}

std::string text_of(IfIndex link, const LinkChange& change) {
  std::string text = "set " + text_of(link);
  const auto add = [&](const std::string& part) { text += " " + part; };
  if (change.name) {
    add("name " + change.name->substr(0, 32));
  }
  if (change.mac) {
    add("address " + change.mac->to_string());
  }
  if (change.mtu) {
    add("mtu " + std::to_string(*change.mtu));
  }
  if (change.alias) {
    add("alias");
  }
  if (change.master) {
    add(change.master->valid() ? "master " + std::to_string(change.master->value()) : "nomaster");
  }
  if (change.group) {
    add("group " + std::to_string(*change.group));
  }
  if (!change.limits.empty()) {
    add("GSO and GRO limits");
  }
  if (change.mode) {
    add("mode " + std::to_string(*change.mode));
  }
  if (change.tx_queue_len) {
    add("txqueuelen " + std::to_string(*change.tx_queue_len));
  }
  if (change.flags) {
    std::array<char, 48> flags = {};
    (void)std::snprintf(flags.data(), flags.size(), "flags %#x of %#x",
                        change.flags->flags & change.flags->mask, change.flags->mask);
    add(flags.data());
  }
  if (change.arp_notify) {
    add(*change.arp_notify ? "arp_notify" : "no arp_notify");
  }
  if (change.up) {
    add(*change.up ? "up" : "down");
  }
  return text;
}

std::string text_of(const NewLink& link) {
  return "create " + std::string(kind_name(link)) + " " + link.name.substr(0, 32);
}

/// errno and the kernel's own sentence, if it gave one.
Error refusal(const std::string& what, const codec::Answer& answer) {
  return Error::from_errno(answer.error, answer.text.empty() ? what : what + ": " + answer.text);
}

bool same_route(const Route& route, const NewRoute& wanted) {
  constexpr std::uint32_t kDefaultMetric6 = 1024;  // IP6_RT_PRIO_USER
  const bool metric_is_same =
      route.metric == wanted.metric ||
      (wanted.metric == 0 && wanted.destination.is_v6() && route.metric == kDefaultMetric6);
  return metric_is_same && route.table == wanted.table && route.type == RTN_UNICAST &&
         route.destination == wanted.destination.network() &&
         (!wanted.source || route.source == wanted.source) &&
         route.hops == std::vector<NextHop>{{.link = wanted.link, .gateway = wanted.gateway}};
}

}  // namespace

// ---------------------------------------------------------------------------------------------- Batch

Batch::Request Batch::make(std::string what, Result<std::vector<std::uint8_t>> bytes, IfIndex link) {
  Request request{.what = std::move(what), .link = link};
  if (bytes) {
    request.bytes = std::move(*bytes);
  } else {
    request.refused = std::move(bytes).error();
  }
  return request;
}

Batch& Batch::create_link(const NewLink& link) {
  Request request = make(text_of(link), codec::create_link(link));
  if (!link.alias.empty() || kinds::peer_to_set_up(link.kind) != nullptr) {
    request.refused = Error(Code::kInvalid,
                            "the kernel takes no alias and no veth peer that is up at birth: set them in a "
                            "request of their own");
  }
  requests_.push_back(std::move(request));
  return *this;
}

Batch& Batch::change_link(IfIndex link, const LinkChange& change) {
  requests_.push_back(make(text_of(link, change), codec::change_link(link, change), link));
  return *this;
}

Batch& Batch::add_altname(IfIndex link, const std::string& altname) {
  requests_.push_back(
      make("give " + text_of(link) + " the altname " + altname, codec::add_altname(link, altname), link));
  return *this;
}

Batch& Batch::delete_altname(IfIndex link, const std::string& altname) {
  requests_.push_back(make("take the altname " + altname + " from " + text_of(link),
                           codec::delete_altname(link, altname), link));
  requests_.back().fine = {ENOENT, ENODEV};
  return *this;
}

Batch& Batch::delete_link(IfIndex link) {
  requests_.push_back(make("delete " + text_of(link), codec::delete_link(link), link));
  requests_.back().fine = {ENODEV};
  return *this;
}

Batch& Batch::add_address(const NewAddress& address) {
  requests_.push_back(make("add address " + address.prefix.to_string() + " to " + text_of(address.link),
                           codec::add_address(address), address.link));
  requests_.back().wanted = address;
  return *this;
}

Batch& Batch::delete_address(const NewAddress& address) {
  requests_.push_back(make("delete address " + address.prefix.to_string() + " of " + text_of(address.link),
                           codec::delete_address(address), address.link));
  requests_.back().fine = {EADDRNOTAVAIL, ENODEV};
  return *this;
}

Batch& Batch::add_route(const NewRoute& route) {
  requests_.push_back(make("add route " + text_of(route), codec::add_route(route), route.link));
  requests_.back().wanted = route;
  return *this;
}

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
  for (;;) {
    FL_ASSIGN(const auto datagram, receive_datagram(fd_.get(), buffer_));
    if (datagram) {
      return *datagram;
    }
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    if (left.count() <= 0) {
      return Error(Code::kTimeout, "no answer from netlink in time", ETIMEDOUT);
    }
    pollfd ready = {.fd = fd_.get(), .events = POLLIN, .revents = 0};
    if (::poll(&ready, 1, static_cast<int>(left.count())) < 0 && errno != EINTR) {
      return Error::from_errno(errno, "wait for netlink");
    }
  }
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

// ---------------------------------------------------------------------------------------------- requests

Result<bool> Socket::is_there(const Batch::Request& request) {
  if (const auto* address = std::get_if<NewAddress>(&request.wanted)) {
    FL_ASSIGN(const auto all, addresses(address->link));
    return std::ranges::any_of(all, [&](const Address& one) { return one.prefix == address->prefix; });
  }
  if (const auto* route = std::get_if<NewRoute>(&request.wanted)) {
    FL_ASSIGN(const auto all, routes(route->table));
    return std::ranges::any_of(all, [&](const Route& one) { return same_route(one, *route); });
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

Result<std::optional<std::int32_t>> Socket::netnsid_of(int netns) {
  auto request = Batch::make("ask for the number of a network namespace", codec::get_netnsid(netns));
  std::optional<std::int32_t> number;
  FL_ASSIGN(const codec::Answer answer, ask(request, [&](const codec::Message& message) {
              number = codec::read_netnsid(message);
              return number.has_value();
            }));
  if (answer.error != 0) {
    return refusal(request.what, answer);
  }
  return number && *number >= 0 ? number : std::nullopt;
}

Result<std::optional<Link>> Socket::get_link(Batch::Request request) {
  std::optional<Link> link;
  FL_ASSIGN(const codec::Answer answer, ask(request, [&](const codec::Message& message) {
              link = codec::read_link(message);
              return link.has_value();
            }));
  if (answer.error != 0 && answer.error != ENODEV) {
    return refusal(request.what, answer);
  }
  return link;
}

// ---------------------------------------------------------------------------------------------- links

Result<std::vector<Link>> Socket::links() {
  std::vector<Link> all;
  FL_TRY(dump(
      Batch::make("list links", codec::dump_links()), [&] { all.clear(); },
      [&](const codec::Message& message) {
        if (auto link = codec::read_link(message)) {
          all.push_back(std::move(*link));
        }
      }));
  return all;
}

Result<std::optional<Link>> Socket::link(IfIndex index) {
  return get_link(Batch::make("look up " + text_of(index), codec::get_link(index)));
}

Result<std::optional<Link>> Socket::link(std::string_view name) {
  return get_link(
      Batch::make("look up link \"" + std::string(name.substr(0, 64)) + "\"", codec::get_link(name)));
}

Result<> Socket::create_link(const NewLink& link) {
  Batch batch;
  batch.requests_.push_back(Batch::make(text_of(link), codec::create_link(link)));
  FL_TRY(run(std::move(batch)));
  auto done = finish_birth(link);
  if (!done) {
    take_back(link);
  }
  return done;
}

Result<> Socket::finish_birth(const NewLink& link) {
  if (!link.alias.empty()) {
    FL_TRY(change_in(link.netns, link.name, {.alias = link.alias}), text_of(link) + ": set its alias");
  }
  if (const VethPeer* peer = kinds::peer_to_set_up(link.kind)) {
    FL_TRY(change_in(peer->netns, peer->name, {.up = true}),
           text_of(link) + ": set its peer " + peer->name + " up");
  }
  return {};
}

Result<> Socket::change_in(std::optional<int> netns, const std::string& name, const LinkChange& change) {
  std::optional<Socket> over_there;
  if (netns) {
    FL_ASSIGN(over_there, open_in(*netns));
  }
  Batch batch;
  batch.requests_.push_back(Batch::make("link " + name, codec::change_link(name, change)));
  return (over_there ? *over_there : *this).run(std::move(batch));
}

void Socket::take_back(const NewLink& link) {
  std::optional<Socket> over_there;
  if (link.netns) {
    auto opened = open_in(*link.netns);
    if (!opened) {
      return;
    }
    over_there = std::move(*opened);
  }
  Socket& there = over_there ? *over_there : *this;
  if (const auto born = there.link(link.name).value_or(std::nullopt)) {
    (void)there.delete_link(born->index);
  }
}

Result<> Socket::add_altname(IfIndex link, const std::string& altname) {
  Batch batch;
  return run(std::move(batch.add_altname(link, altname)));
}

Result<> Socket::delete_altname(IfIndex link, const std::string& altname) {
  Batch batch;
  return run(std::move(batch.delete_altname(link, altname)));
}

Result<> Socket::change_link(IfIndex link, const LinkChange& change) {
  Batch batch;
  return run(std::move(batch.change_link(link, change)));
}

Result<> Socket::delete_link(IfIndex link) {
  Batch batch;
  return run(std::move(batch.delete_link(link)));
}

Result<UniqueFd> Socket::netns() const {
  const int fd = ::ioctl(fd_.get(), SIOCGSKNS);
  if (fd < 0) {
    return Error::from_errno(errno, "open the netlink socket's network namespace");
  }
  return UniqueFd(fd);
}

Result<Link> Socket::move_link(const MoveLink& move) {
  FL_ASSIGN(const auto before, link(move.link));
  if (!before) {
    return Error(Code::kNotFound, "move " + text_of(move.link) + ": there is no such link", ENODEV);
  }
  const std::string name = move.new_name.empty() ? before->name : move.new_name;
  const std::string what = "move link " + before->name + " to another network namespace as " + name;
  FL_ASSIGN(Socket target, open_in(move.netns), what);
  FL_ASSIGN(const auto taken, target.link(name), what);
  if (taken) {
    return Error(Code::kExists, what + ": a link of that name is there already", EEXIST);
  }
  auto request = Batch::make(what, codec::move_link(move));
  if (request.refused) {
    return std::move(*request.refused).with(what);
  }
  const auto answers = exchange(std::span(&request, 1));
  if (!answers) {
    return take_home(*before, move, Error(answers.error()).with(what), target);
  }
  if (answers->front().error != 0) {
    Error error = refusal(what, answers->front());
    if (answers->front().error == EEXIST && answers->front().text.empty()) {
      error = name_the_taken_altname(std::move(error), *before, target);
    }
    return take_home(*before, move, std::move(error), target);
  }
  FL_ASSIGN(auto after, target.link(name), what);
  if (!after) {
    return Error(Code::kConflict, what + ": it was moved, but is not there any more");
  }
  return std::move(*after);
}

Error Socket::name_the_taken_altname(Error error, const Link& moving, Socket& target) {
  for (const std::string& altname : moving.altnames) {
    const auto taken = target.link(altname);
    if (taken && *taken) {
      return {error.code(), error.what() + ": its altname " + altname + " belongs to a link there",
              error.sys_errno()};
    }
  }
  return error;
}

Error Socket::take_home(const Link& before, const MoveLink& move, Error error, Socket& target) {
  const auto is_it = [&](const Link& link) {
    return link.mac == before.mac && link.kind == before.kind &&
           (link.name == before.name || link.name == move.new_name);
  };
  const auto here = link(before.index).value_or(std::nullopt);
  if (here && is_it(*here)) {
    return error;
  }
  const auto there = target.links();
  if (!there) {
    return {error.code(), error.what() + "; where it is now is not known: " + there.error().what(),
            error.sys_errno()};
  }
  const auto found = std::ranges::find_if(*there, is_it);
  if (found == there->end()) {
    return {error.code(), error.what() + "; it is in neither namespace now", error.sys_errno()};
  }
  const auto back = bring_back(*found, before, target);
  return {error.code(),
          error.what() + (back ? "; it had left already and was taken home, without its addresses and routes"
                               : "; it is there now as " + found->name +
                                     " and cannot be taken home: " + back.error().what()),
          error.sys_errno()};
}

Result<> Socket::bring_back(const Link& stray, const Link& before, Socket& target) {
  FL_ASSIGN(const UniqueFd home, netns());
  auto request =
      Batch::make("move link " + stray.name + " home",
                  codec::move_link({.link = stray.index,
                                    .netns = home.get(),
                                    .new_name = stray.name == before.name ? std::string() : before.name}));
  Batch batch;
  batch.requests_.push_back(std::move(request));
  FL_TRY(target.run(std::move(batch)));
  FL_ASSIGN(const auto after, link(before.name));
  return after && before.is_up() ? set_up(after->index) : Result<>();
}

// ---------------------------------------------------------------------------------------------- addresses

Result<std::vector<Address>> Socket::addresses(IfIndex link) {
  std::vector<Address> all;
  FL_TRY(dump(
      Batch::make("list addresses", codec::dump_addresses(link)), [&] { all.clear(); },
      [&](const codec::Message& message) {
        const auto address = codec::read_address(message);
        if (address && (!link.valid() || address->link == link)) {
          all.push_back(*address);
        }
      }));
  return all;
}

Result<> Socket::add_address(const NewAddress& address) {
  Batch batch;
  return run(std::move(batch.add_address(address)));
}

Result<> Socket::delete_address(IfIndex link, const IpPrefix& prefix) {
  Batch batch;
  return run(std::move(batch.delete_address({.link = link, .prefix = prefix})));
}

Result<std::vector<ToldAddress>> Socket::told_addresses(IfIndex link) {
  std::vector<ToldAddress> all;
  FL_TRY(dump(
      Batch::make("list addresses", codec::dump_addresses(link)), [&] { all.clear(); },
      [&](const codec::Message& message) {
        const auto address = codec::read_address(message);
        if (address && address->link == link) {
          all.push_back({.address = *address, .told = codec::told_address(message)});
        }
      }));
  return all;
}

namespace {

std::string text_of_address(const Told& told) {
  const auto address = codec::read_address({.type = RTM_NEWADDR, .payload = told});
  return address ? address->prefix.to_string() : "that cannot be read";
}

std::string text_of_route(const Told& told) {
  const auto route = codec::read_route({.type = RTM_NEWROUTE, .payload = told});
  return route ? route->destination.to_string() : "that cannot be read";
}

}  // namespace

Result<> Socket::put_address(IfIndex link, const Told& told) {
  const std::string what = "add address " + text_of_address(told) + " to " + text_of(link);
  Batch batch;
  batch.requests_.push_back(Batch::make(what, codec::put_address(link, told, codec::PutStep::kAdd), link));
  if (const auto added = run(std::move(batch)); !added) {
    if (added.error().sys_errno() != EEXIST) {
      return added;
    }
    FL_ASSIGN(const auto there, told_addresses(link));
    return std::ranges::any_of(there,
                               [&](const ToldAddress& one) { return codec::same_address(one.told, told); })
               ? Result<>()
               : added;
  }
  if (!codec::needs_finish(told)) {
    return {};
  }
  Batch last;
  last.requests_.push_back(Batch::make(what, codec::put_address(link, told, codec::PutStep::kFinish), link));
  return run(std::move(last));
}

Result<> Socket::delete_address(IfIndex link, const Told& told) {
  Batch batch;
  batch.requests_.push_back(Batch::make("delete address " + text_of_address(told) + " of " + text_of(link),
                                        codec::delete_told_address(link, told), link));
  batch.requests_.back().fine = {EADDRNOTAVAIL, ENODEV};
  return run(std::move(batch));
}

// ---------------------------------------------------------------------------------------------- routes

Result<std::vector<ToldRoute>> Socket::told_routes(IfIndex link) {
  std::vector<ToldRoute> out;
  for (const std::uint8_t family : {std::uint8_t{AF_INET}, std::uint8_t{AF_INET6}}) {
    std::vector<Route> all;
    std::vector<Bytes> payloads;
    const auto done = dump(
        Batch::make("list routes", codec::dump_routes(family, std::nullopt)),
        [&] {
          all.clear();
          payloads.clear();
        },
        [&](const codec::Message& message) {
          auto route = codec::read_route(message);
          // A router has a million of them. Which hops a nexthop object stands for is looked up below.
          if (route && (route->nexthop_id != 0 ||
                        std::ranges::find(route->hops, link, &NextHop::link) != route->hops.end())) {
            all.push_back(std::move(*route));
            payloads.emplace_back(message.payload.begin(), message.payload.end());
          }
        });
    if (!done && done.error().sys_errno() != EOPNOTSUPP) {  // IPv6 is switched off
      return done.error();
    }
    FL_TRY(look_up_hops(all));
    for (std::size_t at = 0; at < all.size(); ++at) {
      if (std::ranges::find(all[at].hops, link, &NextHop::link) == all[at].hops.end()) {
        continue;
      }
      const codec::Message message{.type = RTM_NEWROUTE, .payload = payloads[at]};
      out.push_back({.route = all[at],
                     .told = codec::told_route(message, all[at]),
                     .expires = codec::expires(message)});
    }
  }
  return out;
}

Result<> Socket::put_route(IfIndex link, const Told& told) {
  Batch batch;
  batch.requests_.push_back(Batch::make("add route " + text_of_route(told) + " on " + text_of(link),
                                        codec::put_route(link, told), link));
  const auto added = run(std::move(batch));
  if (added || added.error().sys_errno() != EEXIST) {
    return added;
  }
  FL_ASSIGN(const auto there, told_routes(link));
  return std::ranges::find(there, told, &ToldRoute::told) == there.end() ? added : Result<>();
}

Result<std::vector<Route>> Socket::routes(std::optional<std::uint32_t> table) {
  std::vector<Route> all;
  for (const std::uint8_t family : {std::uint8_t{AF_INET}, std::uint8_t{AF_INET6}}) {
    std::vector<Route> some;
    const auto done = dump(
        Batch::make("list routes", codec::dump_routes(family, table)), [&] { some.clear(); },
        [&](const codec::Message& message) {
          auto route = codec::read_route(message);
          if (route && (table ? route->table == *table : route->table != RT_TABLE_LOCAL)) {
            some.push_back(std::move(*route));
          }
        });
    // ENOENT: no such table yet (net/ipv4/fib_frontend.c inet_dump_fib); EOPNOTSUPP: IPv6 is switched off.
    if (!done && done.error().sys_errno() != ENOENT && done.error().sys_errno() != EOPNOTSUPP) {
      return done.error();
    }
    all.insert(all.end(), std::make_move_iterator(some.begin()), std::make_move_iterator(some.end()));
  }
  FL_TRY(look_up_hops(all));
  return all;
}

Result<> Socket::visit_routes(std::uint8_t family, std::uint32_t table, const std::function<void()>& restart,
                              const std::function<void(const codec::Message&, const Route&)>& visit) {
  const auto done = dump(Batch::make("list routes", codec::dump_routes(family, table)), restart,
                         [&](const codec::Message& message) {
                           const auto route = codec::read_route(message);
                           if (route && route->table == table) {
                             visit(message, *route);
                           }
                         });
  // As in routes().
  const bool has_none =
      !done && (done.error().sys_errno() == ENOENT || done.error().sys_errno() == EOPNOTSUPP);
  return has_none ? Result<>() : done;
}

Result<> Socket::change_metric(const MetricChange& change) {
  const IpPrefix destination = change.destination.network();
  const std::string what = "give the route to " + destination.to_string() + " with metric " +
                           std::to_string(change.from) + " the metric " + std::to_string(change.to);
  Batch copies;
  Batch originals;
  const auto restart = [&] {
    copies.requests_.clear();
    originals.requests_.clear();
  };
  FL_TRY(
      visit_routes(destination.address().family(), change.table, restart,
                   [&](const codec::Message& message, const Route& route) {
                     const bool is_kept = route.protocol == RTPROT_KERNEL || route.protocol == RTPROT_RA;
                     if (!is_kept && route.destination == destination && route.metric == change.from) {
                       copies.requests_.push_back(Batch::make(what, codec::copy_route(message, change.to)));
                       originals.requests_.push_back(Batch::make(what, codec::delete_route(message)));
                     }
                   }),
      what);
  if (copies.empty()) {
    return {};
  }
  FL_TRY(run(std::move(copies)));
  return run(std::move(originals));
}

Result<> Socket::delete_route(const NewRoute& route) {
  const std::string what = "delete route " + text_of(route);
  Batch batch;
  FL_TRY(visit_routes(
             route.destination.address().family(), route.table, [&] { batch.requests_.clear(); },
             [&](const codec::Message& message, const Route& there) {
               if (same_route(there, route)) {
                 batch.requests_.push_back(Batch::make(what, codec::delete_route(message), route.link));
                 batch.requests_.back().fine = {ESRCH};
               }
             }),
         what);
  return batch.empty() ? Result<>() : run(std::move(batch));
}

/// Of routes that name a nexthop object and say no more.
Result<> Socket::look_up_hops(std::vector<Route>& routes) {
  const auto is_open = [](const Route& route) { return route.nexthop_id != 0 && route.hops.empty(); };
  if (std::ranges::none_of(routes, is_open)) {
    return {};
  }
  std::map<std::uint32_t, NextHopObject> objects;
  FL_TRY(dump(
      Batch::make("list nexthops", codec::dump_nexthops()), [&] { objects.clear(); },
      [&](const codec::Message& message) {
        if (auto object = codec::read_nexthop(message)) {
          objects[object->id] = std::move(*object);
        }
      }));
  for (Route& route : routes) {
    if (!is_open(route)) {
      continue;
    }
    const NextHopObject& object = objects[route.nexthop_id];
    const std::vector<std::uint32_t> ids =
        object.group.empty() ? std::vector{route.nexthop_id} : object.group;  // groups do not nest
    for (const std::uint32_t id : ids) {
      if (const NextHop& hop = objects[id].hop; hop.link.valid()) {
        route.hops.push_back(hop);
      }
    }
  }
  return {};
}

Result<> Socket::add_route(const NewRoute& route) {
  Batch batch;
  return run(std::move(batch.add_route(route)));
}

}  // namespace fairlead::netlink
