// SPDX-License-Identifier: Apache-2.0
// RDMA devices and their character devices, asked from the kernel (NETLINK_RDMA, include/uapi/rdma/rdma_netlink.h).
// Reading needs no capability.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fairlead/core/fd.h"
#include "fairlead/core/result.h"
#include "fairlead/sys/netlink/message.h"

namespace fairlead::netlink {

/// "0002:c903:00a1:b2c3", as sysfs writes it.
std::string guid_text(std::uint64_t guid);

/// An RDMA device (an HCA, or one of software).
struct RdmaDevice {
  std::uint32_t index = 0;
  std::string name;             // "mlx5_0"
  std::uint64_t node_guid = 0;  // 0: none was set
  std::uint8_t node_type = 0;   // enum rdma_node_type: 1 is a CA, 4 an RNIC
  std::uint32_t ports = 0;
  std::string firmware;  // empty: unknown
  std::string protocol;  // "ib", "roce", "iw", ...; empty: unknown
  friend bool operator==(const RdmaDevice&, const RdmaDevice&) = default;
};

/// A character device below /dev/infiniband.
struct RdmaCharDevice {
  std::string name;  // "uverbs0": the file's name
  std::uint32_t major = 0, minor = 0;
  std::uint64_t abi = 0;
  friend bool operator==(const RdmaCharDevice&, const RdmaCharDevice&) = default;
};

/// Whether a network namespace sees all RDMA devices, or its own only.
enum class RdmaNetnsMode : std::uint8_t { kExclusive, kShared };

/// Which character device is asked for.
struct RdmaCharDeviceQuery {
  std::string_view type;                     // "uverbs", "umad", "issm", "rdma_cm"
  std::optional<std::uint32_t> device = {};  // RdmaDevice::index; none for "rdma_cm", which all devices share
  std::optional<std::uint32_t> port = {};    // from 1: "umad" and "issm" are each of one port
};

/// One blocking socket, of the network namespace in which it was opened. One thread at a time.
class RdmaSocket {
 public:
  /// In the calling thread's namespace. kUnsupported: this kernel has no RDMA now (module ib_core).
  static Result<RdmaSocket> open();

  /// Those that the socket's namespace sees.
  Result<std::vector<RdmaDevice>> devices();
  /// nullopt: the device has none of that type. The kernel loads the module that makes it, if there is one.
  Result<std::optional<RdmaCharDevice>> char_device(const RdmaCharDeviceQuery& query);
  /// Of kernels that do not say it (before 5.3): shared.
  Result<RdmaNetnsMode> netns_mode();

 private:
  RdmaSocket(UniqueFd fd, std::uint32_t port) : fd_(std::move(fd)), port_(port) {}
  /// Returns the errno of the kernel's response, 0 on success. Calls `visit` for each message before it.
  Result<int> ask(codec::Bytes request, const std::function<void(const codec::Message&)>& visit);

  UniqueFd fd_;
  std::uint32_t port_ = 0;
  std::uint32_t sequence_ = 0;
  std::vector<std::uint8_t> buffer_;
};

}  // namespace fairlead::netlink
