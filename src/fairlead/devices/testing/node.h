// SPDX-License-Identifier: Apache-2.0
// A node made of values, for tests.
#pragma once

#include <net/if.h>
#include <net/if_arp.h>

#include <memory>
#include <string>
#include <vector>

#include "fairlead/devices/all_kinds.h"
#include "fairlead/devices/node.h"

namespace fairlead::devices::testing {

inline netlink::Link ethernet(int index, std::string name) {
  netlink::Link link{.index = netlink::IfIndex(index), .name = std::move(name), .mtu = 1500};
  link.flags = IFF_UP | IFF_RUNNING;
  link.operstate = netlink::OperState::kUp;
  link.arphrd = ARPHRD_ETHER;
  link.mac = *netlink::MacAddress::parse("02:00:00:00:00:0" + std::to_string(index));
  return link;
}

/// lo, the uplink eth0, two NICs (nic1, nic2), a bridge br0 with the NIC port0 as its port, a VLAN eth0.7 and
/// a veth nested0.
inline sys::Inventory inventory() {
  std::vector<sys::InventoryLink> links;
  netlink::Link lo{.index = netlink::IfIndex(1), .name = "lo", .mtu = 65536, .flags = IFF_LOOPBACK};
  lo.arphrd = ARPHRD_LOOPBACK;
  links.push_back({.link = lo});
  links.push_back({.link = ethernet(2, "eth0"),
                   .is_uplink = true,
                   .uses = {{.kind = sys::NodeUse::Kind::kBestRoute,
                             .text = "carries the node's default route (IPv4)"}}});
  netlink::Link nic1 = ethernet(3, "nic1");
  nic1.parent_bus = "pci";
  nic1.parent_dev = "0000:03:00.1";
  nic1.altnames = {"enp3s0f1"};
  nic1.permanent_mac = nic1.mac;
  links.push_back({.link = nic1,
                   .pci = sys::PciDevice{.bdf = "0000:03:00.1",
                                         .vendor = 0x8086,
                                         .device = 0x10c9,
                                         .driver = "igb",
                                         .numa_node = 1,
                                         .pcie_root = "pci0000:00"}});
  links.push_back({.link = ethernet(4, "nic2")});
  netlink::Link bridge = ethernet(5, "br0");
  bridge.kind = "bridge";
  links.push_back({.link = bridge});
  netlink::Link port = ethernet(6, "port0");
  port.master = bridge.index;
  links.push_back({.link = port});
  netlink::Link vlan = ethernet(7, "eth0.7");
  vlan.kind = "vlan";
  vlan.parent = netlink::IfIndex(2);
  links.push_back({.link = vlan});
  netlink::Link nested = ethernet(8, "nested0");
  nested.kind = "veth";
  links.push_back({.link = nested});
  return sys::Inventory(std::move(links));
}

inline NodeOptions node_options() {
  return {.driver_name = "net.example.com", .kinds_of_kernel = {"dummy", "macvlan", "veth"}};
}

}  // namespace fairlead::devices::testing
