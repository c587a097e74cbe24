// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/netlink/rdma.h"

#include <linux/netlink.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>

#include "fairlead/sys/netlink/endpoint.h"
#include "fairlead/sys/netlink/rdma_codec.h"

namespace fairlead::netlink {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kReceiveBuffer = 1 << 18;
constexpr std::chrono::seconds kTimeout{10};

constexpr WaitWords kWords = {.late = "the kernel did not respond about RDMA devices in time",
                              .wait = "wait for the kernel's response about RDMA devices"};

}  // namespace

std::string guid_text(std::uint64_t guid) {
  std::array<char, 32> text = {};
  const auto part = [&](unsigned shift) { return static_cast<unsigned>((guid >> shift) & 0xffffU); };
  (void)std::snprintf(text.data(), text.size(), "%04x:%04x:%04x:%04x", part(48), part(32), part(16), part(0));
  return text.data();
}

Result<RdmaSocket> RdmaSocket::open() {
  auto endpoint = open_endpoint(std::nullopt, kReceiveBuffer, NETLINK_RDMA);
  if (!endpoint && endpoint.error().sys_errno() == EPROTONOSUPPORT) {
    return Error(Code::kUnsupported, "this kernel has no RDMA now (module ib_core)", EPROTONOSUPPORT);
  }
  if (!endpoint) {
    return std::move(endpoint).error();
  }
  return RdmaSocket(std::move(endpoint->fd), endpoint->port);
}

Result<int> RdmaSocket::ask(codec::Bytes request, const std::function<void(const codec::Message&)>& visit) {
  codec::set_sequence(request, ++sequence_);
  const auto* header = reinterpret_cast<const nlmsghdr*>(request.data());
  const bool is_dump = (header->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
  while (::send(fd_.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) {
    const int e = errno;
    if (e != EINTR) {
      return Error::from_errno(e, "ask the kernel about RDMA devices");
    }
  }
  const auto deadline = Clock::now() + kTimeout;
  for (;;) {
    FL_ASSIGN(auto rest, receive_datagram_by(fd_.get(), buffer_, deadline, kWords));
    while (const auto message = codec::next_message(rest)) {
      if (message->sequence != sequence_ || message->port != port_) {
        continue;
      }
      if (const auto end = codec::read_answer(*message)) {
        return end->error;
      }
      visit(*message);
      if (!is_dump) {
        return 0;
      }
    }
  }
}

Result<std::vector<RdmaDevice>> RdmaSocket::devices() {
  FL_ASSIGN(auto request, codec::dump_rdma_devices());
  std::vector<RdmaDevice> devices;
  FL_ASSIGN(const int error, ask(std::move(request), [&](const codec::Message& message) {
              if (auto device = codec::read_rdma_device(message)) {
                devices.push_back(*std::move(device));
              }
            }));
  if (error != 0) {
    return Error::from_errno(error, "list RDMA devices");
  }
  return devices;
}

Result<std::optional<RdmaCharDevice>> RdmaSocket::char_device(const RdmaCharDeviceQuery& query) {
  FL_ASSIGN(auto request, codec::get_rdma_char_device(query));
  std::optional<RdmaCharDevice> device;
  FL_ASSIGN(const int error, ask(std::move(request), [&](const codec::Message& message) {
              device = codec::read_rdma_char_device(message);
            }));
  // drivers/infiniband/core/device.c ib_get_client_nl_info: EOPNOTSUPP without a client of that name, ENOENT of a
  // client that has none for this device; a client of ports returns EINVAL for one that it does not serve.
  if (error == EOPNOTSUPP || error == ENOENT || (error == EINVAL && query.port)) {
    return std::optional<RdmaCharDevice>();
  }
  const std::string what = "ask for the character device \"" + std::string(query.type) + "\"";
  if (error != 0) {
    return Error::from_errno(error, what);
  }
  if (!device) {
    return Error(Code::kCorrupt, what + ": the kernel's response lacks its name or number");
  }
  return device;
}

Result<RdmaNetnsMode> RdmaSocket::netns_mode() {
  FL_ASSIGN(auto request, codec::get_rdma_system());
  std::optional<RdmaNetnsMode> mode;
  FL_ASSIGN(const int error, ask(std::move(request), [&](const codec::Message& message) {
              mode = codec::read_rdma_system(message);
            }));
  if (error != 0 && error != EOPNOTSUPP && error != EINVAL) {
    return Error::from_errno(error, "ask how RDMA devices belong to network namespaces");
  }
  return mode.value_or(RdmaNetnsMode::kShared);
}

}  // namespace fairlead::netlink
