// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/netlink/kinds/vlan.h"

#include <arpa/inet.h>
#include <linux/if_link.h>

#include <string>

#include "fairlead/sys/netlink/wire.h"

namespace fairlead::netlink {
namespace {

using QosMap = std::map<std::uint32_t, std::uint32_t>;

void put_qos(codec::Writer& writer, std::uint16_t type, const QosMap& mappings) {
  if (mappings.empty()) {
    return;
  }
  writer.nest(type, [&] {
    for (const auto& [from, to] : mappings) {
      writer.value(IFLA_VLAN_QOS_MAPPING, ifla_vlan_qos_mapping{.from = from, .to = to});
    }
  });
}

QosMap read_qos(codec::View list) {
  QosMap mappings;
  codec::for_each_attribute(list, [&](std::uint16_t type, codec::View value) {
    const auto mapping = codec::read_fixed<ifla_vlan_qos_mapping>(value);
    if (type == IFLA_VLAN_QOS_MAPPING && mapping) {
      mappings[mapping->from] = mapping->to;
    }
  });
  return mappings;
}

/// The kernel masks a tag's priority to three bits (net/8021q/vlan_dev.c).
Result<> check_tag_priority(std::uint32_t priority, std::string_view which) {
  if (priority > Vlan::kMaxPriority) {
    return Error(Code::kInvalid, std::string(which) + ": VLAN priority " + std::to_string(priority) +
                                     " is not within 0 to 7");
  }
  return {};
}

}  // namespace

std::string_view to_string(VlanProtocol protocol) {
  switch (protocol) {
    case VlanProtocol::k8021q:
      return "802.1q";
    case VlanProtocol::k8021ad:
      return "802.1ad";
  }
  return "unknown";
}

std::optional<VlanProtocol> parse_vlan_protocol(std::string_view word) {
  for (const VlanProtocol protocol : {VlanProtocol::k8021q, VlanProtocol::k8021ad}) {
    if (word == to_string(protocol)) {
      return protocol;
    }
  }
  return std::nullopt;
}

Result<> Vlan::check() const {
  FL_TRY(codec::check_index(parent), "vlan parent");
  if (id > kMaxId) {
    return Error(Code::kInvalid, "VLAN id " + std::to_string(id) + " is not within 0 to 4094");
  }
  for (const auto& [tag, packet] : ingress_qos) {
    FL_TRY(check_tag_priority(tag, "ingress QoS map"));
  }
  for (const auto& [packet, tag] : egress_qos) {
    FL_TRY(check_tag_priority(tag, "egress QoS map"));
  }
  return {};
}

void Vlan::put(codec::Writer& writer) const {
  writer.nest(IFLA_INFO_DATA, [&] {
    writer.value(IFLA_VLAN_ID, id);
    writer.value(IFLA_VLAN_PROTOCOL, htons(static_cast<std::uint16_t>(protocol)));
    put_qos(writer, IFLA_VLAN_EGRESS_QOS, egress_qos);
    put_qos(writer, IFLA_VLAN_INGRESS_QOS, ingress_qos);
  });
}

std::optional<Vlan> Vlan::read(IfIndex parent, codec::View data) {
  Vlan link{.parent = parent};
  std::optional<std::uint16_t> id;
  std::uint16_t protocol = htons(static_cast<std::uint16_t>(VlanProtocol::k8021q));  // before Linux 3.10
  codec::for_each_attribute(data, [&](std::uint16_t type, codec::View value) {
    if (type == IFLA_VLAN_ID) {
      id = codec::read_fixed<std::uint16_t>(value);
    } else if (type == IFLA_VLAN_PROTOCOL) {
      codec::read_into(protocol, value);
    } else if (type == IFLA_VLAN_INGRESS_QOS) {
      link.ingress_qos = read_qos(value);
    } else if (type == IFLA_VLAN_EGRESS_QOS) {
      link.egress_qos = read_qos(value);
    }
  });
  link.protocol = static_cast<VlanProtocol>(ntohs(protocol));
  const bool known = link.protocol == VlanProtocol::k8021q || link.protocol == VlanProtocol::k8021ad;
  if (!id || !known) {
    return std::nullopt;
  }
  link.id = *id;
  return link;
}

}  // namespace fairlead::netlink
