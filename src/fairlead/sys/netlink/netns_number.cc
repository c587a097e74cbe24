// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/netlink/netns_number.h"

#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cerrno>
#include <optional>
#include <vector>

#include "fairlead/sys/netlink/endpoint.h"
#include "fairlead/sys/netlink/link_codec.h"
#include "fairlead/sys/netlink/message.h"
#include "fairlead/sys/netlink/wire.h"

namespace fairlead::netlink {
namespace {

constexpr int kReceiveBuffer = 1 << 14;

struct Response {
  int error = 0;  // errno
  std::optional<std::int32_t> number;
};

/// The kernel responds within sendto(2).
Result<Response> ask(const Endpoint& endpoint, const codec::Bytes& request) {
  if (::send(endpoint.fd.get(), request.data(), request.size(), 0) < 0) {
    return Error::from_errno(errno, "ask for the number of a network namespace");
  }
  Response response;
  std::vector<std::uint8_t> buffer;
  FL_ASSIGN(const auto datagram, receive_datagram(endpoint.fd.get(), buffer));
  codec::View rest = datagram.value_or(codec::View());
  while (const auto message = codec::next_message(rest)) {
    if (const auto answer = codec::read_answer(*message)) {
      response.error = answer->error;
      return response;
    }
    if (const auto number = codec::read_netnsid(*message)) {
      response.number = number;
      return response;
    }
  }
  return Error(Code::kInternal, "the kernel gave no response about a network namespace's number");
}

Result<codec::Bytes> get_number(std::int32_t number) {
  codec::Writer writer(RTM_GETNSID, NLM_F_REQUEST);
  writer.fixed<rtgenmsg>().rtgen_family = AF_UNSPEC;
  writer.value(NETNSA_NSID, number);
  return writer.finish();
}

Result<codec::Bytes> give_number(int netns) {
  constexpr std::int32_t kAny = -1;
  codec::Writer writer(RTM_NEWNSID, NLM_F_REQUEST | NLM_F_ACK);
  writer.fixed<rtgenmsg>().rtgen_family = AF_UNSPEC;
  writer.value(NETNSA_NSID, kAny);
  writer.descriptor(NETNSA_FD, netns);
  return writer.finish();
}

}  // namespace

Result<std::int32_t> number_netns(int netns) {
  FL_ASSIGN(const Endpoint endpoint, open_endpoint(std::nullopt, kReceiveBuffer));
  FL_ASSIGN(const codec::Bytes get, codec::get_netnsid(netns));
  FL_ASSIGN(Response response, ask(endpoint, get));
  if (response.number && *response.number >= 0) {
    return *response.number;
  }
  FL_ASSIGN(const codec::Bytes give, give_number(netns));
  FL_ASSIGN(const Response given, ask(endpoint, give));
  if (given.error != 0 && given.error != EEXIST) {
    return Error::from_errno(given.error, "give a network namespace a number");
  }
  FL_ASSIGN(response, ask(endpoint, get));
  if (!response.number || *response.number < 0) {
    return Error(Code::kInternal, "the kernel gave a network namespace no number");
  }
  return *response.number;
}

Result<bool> is_netns_number_in_use(std::int32_t number) {
  FL_ASSIGN(const Endpoint endpoint, open_endpoint(std::nullopt, kReceiveBuffer));
  FL_ASSIGN(const codec::Bytes request, get_number(number));
  FL_ASSIGN(const Response response, ask(endpoint, request));
  if (response.error == ENOENT) {
    return false;
  }
  if (response.error == EINVAL || response.error == EOPNOTSUPP) {
    return Error(Code::kUnsupported, "this kernel cannot be asked for the number of a network namespace");
  }
  if (response.error != 0) {
    return Error::from_errno(response.error, "ask for the number of a network namespace");
  }
  return true;
}

}  // namespace fairlead::netlink
