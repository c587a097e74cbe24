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
#include "fairlead/sys/netlink/socket.h"
#include "fairlead/sys/netlink/wire.h"

namespace fairlead::netlink {
namespace {

constexpr int kReceiveBuffer = 1 << 14;

/// The errno of the response; 0: it is the number. The kernel responds within sendto(2).
Result<int> ask(const Endpoint& endpoint, const codec::Bytes& request) {
  if (::send(endpoint.fd.get(), request.data(), request.size(), 0) < 0) {
    return Error::from_errno(errno, "ask for the number of a network namespace");
  }
  std::vector<std::uint8_t> buffer;
  FL_ASSIGN(const auto datagram, receive_datagram(endpoint.fd.get(), buffer));
  codec::View rest = datagram.value_or(codec::View());
  while (const auto message = codec::next_message(rest)) {
    if (const auto answer = codec::read_answer(*message)) {
      return answer->error;
    }
    if (codec::read_netnsid(*message)) {
      return 0;
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

}  // namespace

Result<std::int32_t> number_netns(int netns) {
  FL_ASSIGN(Socket socket, Socket::open());
  return socket.number_netns(netns);
}

Result<bool> is_netns_number_in_use(std::int32_t number) {
  FL_ASSIGN(const Endpoint endpoint, open_endpoint(std::nullopt, kReceiveBuffer));
  FL_ASSIGN(const codec::Bytes request, get_number(number));
  FL_ASSIGN(const int error, ask(endpoint, request));
  if (error == ENOENT) {
    return false;
  }
  if (error == EINVAL || error == EOPNOTSUPP) {
    return Error(Code::kUnsupported, "this kernel cannot be asked for the number of a network namespace");
  }
  if (error != 0) {
    return Error::from_errno(error, "ask for the number of a network namespace");
  }
  return true;
}

}  // namespace fairlead::netlink
