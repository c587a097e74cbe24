// SPDX-License-Identifier: Apache-2.0
// What a NIC is, whatever its interface is called: facts that a reboot, another order of probing, an
// administrator or a pod does not change. The names of devices in ResourceSlices come from it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fairlead/core/result.h"
#include "fairlead/sys/inventory.h"

namespace fairlead::devices {

/// Empty: the NIC has no such fact.
struct NicIdentity {
  std::string name;        // its device name by this identity
  std::string pci_bus_id;  // "0000:03:00.1", of its own function or of the virtio device it is
  std::string port;        // of a function with several links, all but the first: "p1", "pf0vf0"
  std::string
      permanent_mac;   // "02:00:00:00:00:03"; of InfiniBand the GUID: the rest of the address may change
  std::string driver;  // without a PCI address: two NICs may have one MAC (a VF and its stand-in)
  /// Of the PF of a VF. A VF's own address lasts only until its PF is set up anew.
  std::string pf_permanent_mac;
};

/// The name is the link's own, without regard to others: see device_names(). `inventory` has the PF, if it is
/// to be had.
NicIdentity identity_of(const sys::InventoryLink& link, const sys::Inventory& inventory);

/// A DNS label (RFC 1123) by what the NIC is:
///   pci-0000-03-00-1      its PCI address; with a suffix such as -p1 when the function has several links
///   mac-020000000003-r8152   the permanent MAC and the driver of a NIC on another bus
///   eth1                  neither is known (a veth): the link's name, see name_by_link()
std::string permanent_name(const sys::InventoryLink& link);
/// The permanent name with the permanent MAC appended to a PCI address.
std::string name_with_mac(const sys::InventoryLink& link);
/// The same for all agents of the node, whatever each of them can see now, and for a link read from a record:
/// the permanent name, or "ifindex-7" (its index on the node) for a link that has neither a PCI address nor a
/// permanent MAC.
std::string node_wide_name(const sys::InventoryLink& link);
/// One unique name per link: the permanent name; with the permanent MAC where that is not unique; and finally
/// with the link's name.
std::vector<std::string> device_names(const std::vector<const sys::InventoryLink*>& links);
/// The link's name if it is a DNS label, else one made from it. What version 0.1 called its devices.
std::string name_by_link(std::string_view link_name);

/// {"identity": {...}}: the `data` of a device in a claim's status.
std::string to_json(const NicIdentity& identity);
/// Reads that again; empty if it is text in another format.
NicIdentity parse_identity(std::string_view data);
/// Compares with the `data` that the claim's status has from an earlier prepare of the same allocation; text
/// in another format is ignored. kInvalid, with a sentence that names both NICs, if it is another NIC now.
/// `who` begins the sentence: "the device eth1 of request \"nic\"".
Result<> check_is_same(std::string_view reported, const NicIdentity& now, const std::string& who);

}  // namespace fairlead::devices
