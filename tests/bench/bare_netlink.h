// SPDX-License-Identifier: Apache-2.0
// The bare exchange that benchmarks compare with: libmnl, one message and its answer at a time.
#pragma once

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <memory>

#include "fairlead/core/result.h"

namespace fairlead {

/// One thread: every message is built in the one buffer. The socket is in the namespace of whoever made it.
class BareNetlink {
 public:
  /// The first exchange fails when there is no socket.
  BareNetlink() : socket_(mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC)) {
    if (socket_ != nullptr && mnl_socket_bind(socket_.get(), 0, MNL_SOCKET_AUTOPID) < 0) {
      socket_.reset();
    }
  }
  [[nodiscard]] bool is_open() const { return socket_ != nullptr; }

  Result<> up(unsigned index) {
    nlmsghdr* header = message(RTM_NEWLINK, 0);
    ifinfomsg* info = link_header(header, index);
    info->ifi_flags = IFF_UP;
    info->ifi_change = IFF_UP;
    return exchange(header);
  }

 protected:
  nlmsghdr* message(std::uint16_t type, std::uint16_t flags) {
    nlmsghdr* header = mnl_nlmsg_put_header(buffer_.data());
    header->nlmsg_type = type;
    header->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags);
    header->nlmsg_seq = ++sequence_;
    return header;
  }
  static ifinfomsg* link_header(nlmsghdr* header, unsigned index) {
    auto* info = static_cast<ifinfomsg*>(mnl_nlmsg_put_extra_header(header, sizeof(ifinfomsg)));
    info->ifi_index = static_cast<int>(index);
    return info;
  }
  /// The raw answer stands in the buffer.
  Result<> ask(nlmsghdr* header, ssize_t& got) {
    if (!is_open()) {
      return Error(Code::kUnavailable, "there is no netlink socket");
    }
    if (mnl_socket_sendto(socket_.get(), header, header->nlmsg_len) < 0) {
      return Error::from_errno(errno, "send");
    }
    got = mnl_socket_recvfrom(socket_.get(), buffer_.data(), buffer_.size());
    return got < 0 ? Result<>(Error::from_errno(errno, "answer")) : Result<>();
  }
  Result<> exchange(nlmsghdr* header) {
    ssize_t got = 0;
    FL_TRY(ask(header, got));
    if (mnl_cb_run(buffer_.data(), static_cast<std::size_t>(got), sequence_,
                   mnl_socket_get_portid(socket_.get()), nullptr, nullptr) < 0) {
      return Error::from_errno(errno, "answer");
    }
    return {};
  }
  [[nodiscard]] const void* answer() const { return buffer_.data(); }

 private:
  struct Close {
    void operator()(mnl_socket* socket) const { (void)mnl_socket_close(socket); }
  };
  std::unique_ptr<mnl_socket, Close> socket_;
  unsigned sequence_ = 0;
  std::array<char, 16384> buffer_ = {};
};

}  // namespace fairlead
