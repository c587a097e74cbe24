// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/link_messages.h"

#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <iterator>
#include <map>
#include <optional>
#include <span>
#include <utility>

#include "fairlead/sys/netlink/codec.h"
#include "fairlead/sys/netns.h"

namespace drydock {
namespace {

namespace codec = fairlead::netlink::codec;
namespace sys = fairlead::sys;
using fairlead::Code;
using fairlead::Error;
using fairlead::Result;
using fairlead::UniqueFd;
using fairlead::netlink::IfIndex;
using fairlead::netlink::IpAddress;
using fairlead::netlink::IpPrefix;

constexpr std::size_t kAlign = 4;  // NLMSG_ALIGNTO and RTA_ALIGNTO
constexpr std::size_t kAttributeHeader = 4;
constexpr std::size_t kReceiveBuffer = std::size_t{64} << 10U;
constexpr std::chrono::seconds kDumpPatience(10);
constexpr std::uint16_t kTypeMask = 0x3fff;  // NLA_TYPE_MASK
// IFLA_NETNS_IMMUTABLE, Linux 6.15: newer than the headers that this is built with.
constexpr std::uint16_t kNetnsImmutable = 67;
constexpr std::uint16_t kAddressProtocol = 11;  // IFA_PROTO, Linux 5.18: the origin

std::size_t aligned(std::size_t size) { return (size + kAlign - 1) & ~(kAlign - 1); }

/// Reads or writes a plain struct somewhere in a message.
template <class T>
T read_at(std::span<const std::uint8_t> bytes, std::size_t offset) {
  T out{};
  if (offset + sizeof(T) <= bytes.size()) {
    std::memcpy(&out, bytes.data() + offset, sizeof(T));
  }
  return out;
}
template <class T>
void append(LinkMessage& message, const T& value) {
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(&value);
  message.insert(message.end(), bytes, bytes + sizeof(T));
  message.resize(aligned(message.size()));
}
void append_attribute(LinkMessage& message, std::uint16_t type, std::span<const std::uint8_t> value) {
  append(message, static_cast<std::uint16_t>(kAttributeHeader + value.size()));
  message.resize(message.size() - 2);  // append() aligned it: the type follows the length directly
  append(message, type);
  message.insert(message.end(), value.begin(), value.end());
  message.resize(aligned(message.size()));
}
template <class T>
void append_number(LinkMessage& message, std::uint16_t type, T value) {
  append_attribute(message, type, {reinterpret_cast<const std::uint8_t*>(&value), sizeof value});
}

template <class Header>
LinkMessage new_request(std::uint16_t type, int flags, const Header& header) {
  LinkMessage out;
  append(out, nlmsghdr{.nlmsg_len = 0,
                       .nlmsg_type = type,
                       .nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags),
                       .nlmsg_seq = 0,
                       .nlmsg_pid = 0});
  append(out, header);
  return out;
}

std::uint16_t type_of(const LinkMessage& message) { return read_at<nlmsghdr>(message, 0).nlmsg_type; }
std::size_t header_size(const LinkMessage& message) {
  return sizeof(nlmsghdr) + (type_of(message) == RTM_NEWADDR ? sizeof(ifaddrmsg) : sizeof(rtmsg));
}

struct Attribute {
  std::uint16_t type = 0;
  std::span<const std::uint8_t> value;
};
/// What does not fit is left out.
std::vector<Attribute> attributes_of(const LinkMessage& message, std::size_t from) {
  std::vector<Attribute> out;
  const std::span<const std::uint8_t> bytes(message);
  for (std::size_t at = from; at + kAttributeHeader <= bytes.size();) {
    const auto size = read_at<std::uint16_t>(bytes, at);
    if (size < kAttributeHeader || at + size > bytes.size()) {
      break;
    }
    out.push_back({static_cast<std::uint16_t>(read_at<std::uint16_t>(bytes, at + 2) & kTypeMask),
                   bytes.subspan(at + kAttributeHeader, size - kAttributeHeader)});
    at += aligned(size);
  }
  return out;
}
std::vector<Attribute> attributes_of(const LinkMessage& message) {
  return attributes_of(message, header_size(message));
}
std::optional<std::span<const std::uint8_t>> find(const std::vector<Attribute>& all, std::uint16_t type) {
  const auto found = std::ranges::find(all, type, &Attribute::type);
  return found == all.end() ? std::nullopt : std::optional(found->value);
}

std::string hex(std::span<const std::uint8_t> bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const auto byte : bytes) {
    out += kDigits[byte >> 4U];
    out += kDigits[byte & 0xfU];
  }
  return out;
}

/// The payload of a response, with a new header.
LinkMessage kept(const codec::Message& message) {
  LinkMessage out;
  append(
      out,
      nlmsghdr{.nlmsg_len = 0, .nlmsg_type = message.type, .nlmsg_flags = 0, .nlmsg_seq = 0, .nlmsg_pid = 0});
  out.insert(out.end(), message.payload.begin(), message.payload.end());
  return out;
}

/// What the kernel says to one request.
struct Answers {
  std::string what;
  std::uint32_t sequence = 0;
  std::vector<LinkMessage> messages;
  bool interrupted = false;  // there was a change meanwhile: the messages do not fit together

  /// True with the last one.
  Result<bool> take(const codec::Message& message) {
    if (message.sequence != sequence) {
      return false;
    }
    interrupted = interrupted || (message.flags & NLM_F_DUMP_INTR) != 0;
    const auto answer = codec::read_answer(message);
    if (!answer) {
      messages.push_back(kept(message));
      return (message.flags & NLM_F_MULTI) == 0;
    }
    if (answer->error != 0) {
      return Error::from_errno(answer->error, answer->text.empty() ? what : what + ": " + answer->text);
    }
    return true;
  }
};

bool is_address(const LinkMessage& message) { return type_of(message) == RTM_NEWADDR; }

/// IFA_FLAGS and ifa_flags without what the kernel finds out itself.
std::uint32_t asked_flags(std::uint32_t flags) {
  return flags & ~static_cast<std::uint32_t>(IFA_F_TENTATIVE | IFA_F_DADFAILED | IFA_F_PERMANENT |
                                             IFA_F_SECONDARY | IFA_F_DEPRECATED);
}

/// Copied into a new request for `link`; what only the kernel can know is left out.
LinkMessage request_from(const LinkMessage& message, IfIndex link, bool at_once) {
  const bool address = is_address(message);
  LinkMessage out;
  if (address) {
    auto header = read_at<ifaddrmsg>(message, sizeof(nlmsghdr));
    header.ifa_index = static_cast<std::uint32_t>(link.value());
    header.ifa_flags = static_cast<std::uint8_t>(asked_flags(header.ifa_flags));
    out = new_request(RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, header);
  } else {
    auto header = read_at<rtmsg>(message, sizeof(nlmsghdr));
    header.rtm_flags &= RTNH_F_ONLINK;  // the others say how the link was
    // IPv4 keeps routes that differ in their next hop only in the order in which they were appended.
    const int create = header.rtm_family == AF_INET ? NLM_F_APPEND : NLM_F_EXCL;
    out = new_request(RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | create, header);
  }
  const bool v6 = message[sizeof(nlmsghdr)] == AF_INET6;
  for (const auto& [type, value] : attributes_of(message)) {
    if (address && type == IFA_FLAGS) {
      append_number(out, type,
                    asked_flags(read_at<std::uint32_t>(value, 0)) |
                        (at_once && v6 ? static_cast<std::uint32_t>(IFA_F_NODAD) : 0U));
    } else if (!address && type == RTA_OIF) {
      append_number(out, type, static_cast<std::uint32_t>(link.value()));
    } else if (!address && type == RTA_CACHEINFO) {
      continue;
    } else {
      append_attribute(out, type, value);
    }
  }
  return out;
}

}  // namespace

std::string identity(const LinkMessage& message) {
  // The kernel's attributes in their order of type; a map, because that order is not promised.
  std::map<std::uint16_t, std::string> parts;
  const bool address = is_address(message);
  for (const auto& [type, value] : attributes_of(message)) {
    const bool changes =
        address ? type == IFA_CACHEINFO || type == IFA_FLAGS || type == IFA_LABEL || type == kAddressProtocol
                : type == RTA_OIF || type == RTA_CACHEINFO;
    if (!changes) {
      parts[type] = hex(value);
    }
  }
  // Of the fixed headers: family, length and scope, or family, lengths, TOS, table, protocol, scope and type.
  std::string out = address ? "address " : "route ";
  const std::span<const std::uint8_t> all(message);
  if (address) {
    const auto header = read_at<ifaddrmsg>(message, sizeof(nlmsghdr));
    out += std::to_string(header.ifa_family) + " " + std::to_string(header.ifa_prefixlen) + " " +
           std::to_string(header.ifa_scope);
  } else {
    out += hex(all.subspan(sizeof(nlmsghdr), std::min<std::size_t>(8, all.size() - sizeof(nlmsghdr))));
  }
  for (const auto& [type, value] : parts) {
    out += " " + std::to_string(type) + "=" + value;
  }
  return out;
}

std::string destination(const LinkMessage& message) {
  const auto all = attributes_of(message);
  std::optional<std::span<const std::uint8_t>> octets;
  std::size_t length = 0;
  if (is_address(message)) {
    octets = find(all, IFA_LOCAL);
    octets = octets ? octets : find(all, IFA_ADDRESS);
    length = read_at<ifaddrmsg>(message, sizeof(nlmsghdr)).ifa_prefixlen;
  } else {
    octets = find(all, RTA_DST);
    length = read_at<rtmsg>(message, sizeof(nlmsghdr)).rtm_dst_len;
  }
  const auto ip = octets ? IpAddress::from_octets(*octets) : std::nullopt;
  return ip ? IpPrefix(*ip, length).to_string() : "default";
}

std::string why_not_alone(const LinkMessage& route) {
  const auto all = attributes_of(route);
  if (find(all, RTA_MULTIPATH)) {
    return "has several next hops";
  }
  return find(all, RTA_NH_ID) ? "uses a nexthop object" : "";
}

Result<LinkMessages> LinkMessages::open_in(int netns) {
  FL_ASSIGN(auto fd, sys::with_netns(netns, []() -> Result<UniqueFd> {
              const int fd = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
              return fd < 0 ? Result<UniqueFd>(Error::from_errno(errno, "open a netlink socket"))
                            : Result<UniqueFd>(UniqueFd(fd));
            }));
  const int one = 1;
  (void)::setsockopt(fd.get(), SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof one);
  (void)::setsockopt(fd.get(), SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof one);
  const timeval patience{.tv_sec = 10, .tv_usec = 0};
  (void)::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  UniqueFd own(::fcntl(netns, F_DUPFD_CLOEXEC, 0));
  if (!own.valid()) {
    return Error::from_errno(errno, "keep a network namespace");
  }
  return LinkMessages(std::move(fd), std::move(own));
}

/// One datagram into `buffer`; how much of it is filled.
Result<codec::View> LinkMessages::receive(LinkMessage& buffer) const {
  ssize_t got = 0;
  do {
    got = ::recv(fd_.get(), buffer.data(), buffer.size(), MSG_TRUNC);
  } while (got < 0 && errno == EINTR);
  if (got < 0) {
    return Error::from_errno(errno, "read the kernel's response");
  }
  if (static_cast<std::size_t>(got) > buffer.size()) {
    return Error(Code::kOverflow, "the kernel's response was cut off", EMSGSIZE);
  }
  return codec::View(buffer).first(static_cast<std::size_t>(got));
}

/// Everything that the kernel sends, up to the last message: the rest would mix with the next response, and
/// it refuses a second dump on a socket while one is running.
Result<std::vector<LinkMessage>> LinkMessages::exchange(LinkMessage request, const std::string& what) {
  auto header = read_at<nlmsghdr>(request, 0);
  header.nlmsg_len = static_cast<std::uint32_t>(request.size());
  std::memcpy(request.data(), &header, sizeof header);
  codec::set_sequence(request, ++sequence_);
  if (::send(fd_.get(), request.data(), request.size(), 0) < 0) {
    return Error::from_errno(errno, what + ": ask the kernel");
  }
  Answers answers{.what = what, .sequence = sequence_};
  LinkMessage buffer(kReceiveBuffer);
  bool ended = false;
  while (!ended) {
    FL_ASSIGN(codec::View rest, receive(buffer), what);
    while (const auto message = ended ? std::nullopt : codec::next_message(rest)) {
      FL_ASSIGN(ended, answers.take(*message));
    }
  }
  if (answers.interrupted) {
    return Error(Code::kUnavailable, what + ": changes kept interrupting it", EINTR);
  }
  return std::move(answers.messages);
}

Result<> LinkMessages::ask(LinkMessage request, const std::string& what) {
  FL_TRY(exchange(std::move(request), what));
  return {};
}

/// A change while the kernel lists makes the list unreliable: it is asked again, for a while.
Result<std::vector<LinkMessage>> LinkMessages::dump(const Result<LinkMessage>& request,
                                                    const std::string& what) {
  FL_TRY(request, what);
  const auto deadline = std::chrono::steady_clock::now() + kDumpPatience;
  while (true) {
    auto out = exchange(*request, what);
    if (out || out.error().sys_errno() != EINTR || std::chrono::steady_clock::now() >= deadline) {
      return out;
    }
  }
}

Result<std::vector<LinkMessage>> LinkMessages::addresses(IfIndex link) {
  FL_ASSIGN(auto all, dump(codec::dump_addresses(link), "list addresses"));
  std::erase_if(all, [&](const LinkMessage& one) {
    return type_of(one) != RTM_NEWADDR ||
           read_at<ifaddrmsg>(one, sizeof(nlmsghdr)).ifa_index != static_cast<std::uint32_t>(link.value());
  });
  return all;
}

namespace {

/// Not the kernel's own, not those of router advertisements, not cached ones.
bool is_configured(const LinkMessage& message) {
  const auto header = read_at<rtmsg>(message, sizeof(nlmsghdr));
  return type_of(message) == RTM_NEWROUTE && header.rtm_protocol != RTPROT_KERNEL &&
         header.rtm_protocol != RTPROT_RA && header.rtm_protocol != RTPROT_REDIRECT &&
         (header.rtm_flags & RTM_F_CLONED) == 0;
}

bool leads_over(const LinkMessage& route, IfIndex link) {
  const auto attributes = attributes_of(route);
  if (const auto oif = find(attributes, RTA_OIF)) {
    return read_at<std::int32_t>(*oif, 0) == link.value();
  }
  const auto hops = find(attributes, RTA_MULTIPATH);
  for (std::size_t at = 0; hops && at + sizeof(rtnexthop) <= hops->size();) {
    const auto hop = read_at<rtnexthop>(*hops, at);
    if (hop.rtnh_ifindex == link.value()) {
      return true;
    }
    at += std::max(aligned(hop.rtnh_len), sizeof(rtnexthop));
  }
  return false;
}

bool has_gateway(const LinkMessage& route) {
  const auto attributes = attributes_of(route);
  return find(attributes, RTA_GATEWAY) || find(attributes, RTA_VIA);
}

}  // namespace

Result<std::vector<LinkMessage>> LinkMessages::routes(IfIndex link) {
  std::vector<LinkMessage> out;
  for (const unsigned char family : {std::uint8_t{AF_INET}, std::uint8_t{AF_INET6}}) {
    FL_ASSIGN(const auto all, dump(codec::dump_routes(family, std::nullopt), "list routes"));
    std::ranges::copy_if(all, std::back_inserter(out), [&](const LinkMessage& one) {
      return is_configured(one) && read_at<rtmsg>(one, sizeof(nlmsghdr)).rtm_family == family &&
             leads_over(one, link);
    });
  }
  // Gateways are reached through the routes without one.
  std::ranges::stable_partition(out, [](const LinkMessage& one) { return !has_gateway(one); });
  return out;
}

Result<> LinkMessages::add(const LinkMessage& message, IfIndex link, bool at_once) {
  auto done = ask(request_from(message, link, at_once),
                  std::string(is_address(message) ? "add address " : "add route ") + destination(message));
  if (!done && done.error().sys_errno() == EEXIST) {
    return {};
  }
  return done;
}

Result<> LinkMessages::set_flags(IfIndex link, std::uint32_t mask, std::uint32_t flags) {
  return ask(new_request(RTM_NEWLINK, NLM_F_ACK,
                         ifinfomsg{.ifi_family = AF_UNSPEC,
                                   .ifi_index = link.value(),
                                   .ifi_flags = flags & mask,
                                   .ifi_change = mask}),
             "set the link's flags");
}

Result<bool> LinkMessages::can_leave(IfIndex link) {
  FL_ASSIGN(auto request, codec::get_link(link), "ask for the link");
  FL_ASSIGN(const auto told, exchange(std::move(request), "ask for the link"));
  for (const auto& one : told) {
    const auto value = find(attributes_of(one, sizeof(nlmsghdr) + sizeof(ifinfomsg)), kNetnsImmutable);
    if (value && !value->empty()) {
      return value->front() == 0;
    }
  }
  // Older kernels: a move to where it is already does nothing, but is refused for a link that may not leave
  // (net/core/dev.c dev_change_net_namespace looks at that first).
  auto move =
      new_request(RTM_NEWLINK, NLM_F_ACK, ifinfomsg{.ifi_family = AF_UNSPEC, .ifi_index = link.value()});
  append_number(move, IFLA_NET_NS_FD, static_cast<std::uint32_t>(netns_.get()));
  const auto done = ask(std::move(move), "ask whether the link may leave");
  if (!done && done.error().sys_errno() == EINVAL) {
    return false;
  }
  FL_TRY(done);
  return true;
}

}  // namespace drydock
