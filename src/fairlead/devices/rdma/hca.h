// SPDX-License-Identifier: Apache-2.0
// The node's RDMA devices (HCAs, and those of software) as devices to offer: what each is called, and what it is,
// whatever the kernel calls it now.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fairlead/core/result.h"
#include "fairlead/sys/facts/node_facts.h"

namespace fairlead::devices::rdma {

/// Points into the facts.
struct Hca {
  const sys::RdmaDevice* device = nullptr;
  const sys::NetFunction* function = nullptr;  // nullptr: it is of no network function
  std::vector<const sys::InventoryLink*> links;
  /// A DNS label by what it is, unique on the node:
  ///   rdma-0000-03-00-0            its PCI address; with the node GUID if the function has several
  ///   rdma-guid-505400fffeaa0200   the node GUID; with its own name if several have that
  ///   rdma-mlx5-2                  its own name, if no GUID was set
  std::string name;

  [[nodiscard]] bool is_vf() const { return function != nullptr && function->pci.is_vf(); }
};
/// In the order of the devices' own names.
std::vector<Hca> hcas(const sys::NodeFacts& facts);

/// Empty: it has no such fact.
struct HcaIdentity {
  std::string name;        // Hca::name
  std::string pci_bus_id;  // "0000:03:00.0"
  std::string node_guid;   // not of a VF: its PF's administrator may change it
  std::string pf_node_guid;
};
HcaIdentity identity_of(const Hca& hca, const sys::NodeFacts& facts);
/// The object {"name": ..., "nodeGUID": ..., ...}.
std::string to_json(const HcaIdentity& identity);
/// Compares with the {"identity": {...}} that an earlier prepare of the allocation reported; text in another format
/// is ignored. kInvalid, with a sentence that begins with `who`, if it is another one now.
Result<> check_is_same(std::string_view reported, std::string_view now, const std::string& who);

}  // namespace fairlead::devices::rdma
