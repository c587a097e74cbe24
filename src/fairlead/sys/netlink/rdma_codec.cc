// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/netlink/rdma_codec.h"

#include <rdma/rdma_netlink.h>

#include "fairlead/sys/netlink/wire.h"

namespace fairlead::netlink::codec {
namespace {

constexpr std::uint16_t type_of(std::uint16_t command) {
  return static_cast<std::uint16_t>(RDMA_NL_GET_TYPE(RDMA_NL_NLDEV, command));
}

/// include/linux/kdev_t.h new_encode_dev: 12 bits of major, 20 of minor, of which 8 are below the major.
void read_number(RdmaCharDevice& device, View value) {
  std::uint64_t number = 0;
  read_into(number, value);
  device.major = static_cast<std::uint32_t>((number & 0xfff00U) >> 8U);
  device.minor = static_cast<std::uint32_t>((number & 0xffU) | ((number >> 12U) & 0xfff00U));
}

}  // namespace

Result<Bytes> dump_rdma_devices() { return Writer(type_of(RDMA_NLDEV_CMD_GET), kDump).finish(); }

Result<Bytes> get_rdma_char_device(const RdmaCharDeviceQuery& query) {
  Writer writer(type_of(RDMA_NLDEV_CMD_GET_CHARDEV), NLM_F_REQUEST);
  writer.text(RDMA_NLDEV_ATTR_CHARDEV_TYPE, query.type);
  if (query.device) {
    writer.u32(RDMA_NLDEV_ATTR_DEV_INDEX, *query.device);
  }
  if (query.port) {
    writer.u32(RDMA_NLDEV_ATTR_PORT_INDEX, *query.port);
  }
  return writer.finish();
}

Result<Bytes> get_rdma_system() { return Writer(type_of(RDMA_NLDEV_CMD_SYS_GET), NLM_F_REQUEST).finish(); }

std::optional<RdmaDevice> read_rdma_device(const Message& message) {
  if (message.type != type_of(RDMA_NLDEV_CMD_GET)) {
    return std::nullopt;
  }
  RdmaDevice device;
  bool has_index = false;
  for_each_attribute(message.payload, [&](std::uint16_t type, View value) {
    switch (type) {
      case RDMA_NLDEV_ATTR_DEV_INDEX:
        has_index = value.size() >= sizeof device.index;
        return read_into(device.index, value);
      case RDMA_NLDEV_ATTR_DEV_NAME:
        device.name = read_text(value);
        return;
      case RDMA_NLDEV_ATTR_PORT_INDEX:  // here: the number of the last one
        return read_into(device.ports, value);
      case RDMA_NLDEV_ATTR_FW_VERSION:
        device.firmware = read_text(value);
        return;
      case RDMA_NLDEV_ATTR_NODE_GUID:
        return read_into(device.node_guid, value);
      case RDMA_NLDEV_ATTR_DEV_NODE_TYPE:
        return read_into(device.node_type, value);
      case RDMA_NLDEV_ATTR_DEV_PROTOCOL:
        device.protocol = read_text(value);
        return;
      default:
        return;
    }
  });
  return has_index && !device.name.empty() ? std::optional(std::move(device)) : std::nullopt;
}

std::optional<RdmaCharDevice> read_rdma_char_device(const Message& message) {
  if (message.type != type_of(RDMA_NLDEV_CMD_GET_CHARDEV)) {
    return std::nullopt;
  }
  RdmaCharDevice device;
  bool has_number = false;
  for_each_attribute(message.payload, [&](std::uint16_t type, View value) {
    if (type == RDMA_NLDEV_ATTR_CHARDEV_NAME) {
      device.name = read_text(value);
    } else if (type == RDMA_NLDEV_ATTR_CHARDEV_ABI) {
      read_into(device.abi, value);
    } else if (type == RDMA_NLDEV_ATTR_CHARDEV) {
      has_number = value.size() >= sizeof(std::uint64_t);
      read_number(device, value);
    }
  });
  return has_number && !device.name.empty() ? std::optional(std::move(device)) : std::nullopt;
}

std::optional<RdmaNetnsMode> read_rdma_system(const Message& message) {
  if (message.type != type_of(RDMA_NLDEV_CMD_SYS_GET)) {
    return std::nullopt;
  }
  std::optional<RdmaNetnsMode> mode;
  for_each_attribute(message.payload, [&](std::uint16_t type, View value) {
    if (type == RDMA_NLDEV_SYS_ATTR_NETNS_MODE && !value.empty()) {
      mode = value.front() == 0 ? RdmaNetnsMode::kExclusive : RdmaNetnsMode::kShared;
    }
  });
  return mode;
}

}  // namespace fairlead::netlink::codec
