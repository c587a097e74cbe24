// SPDX-License-Identifier: Apache-2.0
// Messages about RDMA devices (RDMA_NL_NLDEV). Pure, any thread. Input is untrusted, as of codec.h.
#pragma once

#include <optional>

#include "fairlead/core/result.h"
#include "fairlead/sys/netlink/message.h"
#include "fairlead/sys/netlink/rdma.h"

namespace fairlead::netlink::codec {

// ---- requests
Result<Bytes> dump_rdma_devices();
Result<Bytes> get_rdma_char_device(const RdmaCharDeviceQuery& query);
Result<Bytes> get_rdma_system();

// ---- responses; nullopt: it is another message, or lacks what it must have
std::optional<RdmaDevice> read_rdma_device(const Message& message);
std::optional<RdmaCharDevice> read_rdma_char_device(const Message& message);
std::optional<RdmaNetnsMode> read_rdma_system(const Message& message);

}  // namespace fairlead::netlink::codec
