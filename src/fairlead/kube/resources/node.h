// SPDX-License-Identifier: Apache-2.0
// core/v1 Node: the fields that an agent reads of its own node.
#pragma once

#include <string>
#include <vector>

#include "fairlead/kube/resource_type.h"

namespace fairlead::kube {

struct Node {
  ObjectMeta meta;
  std::vector<std::string> internal_addresses;  // status.addresses of type InternalIP; may be empty
};

template <>
struct ResourceTraits<Node> {
  static constexpr ResourceType kType{
      .group = "", .version = "v1", .plural = "nodes", .kind = "Node", .namespaced = false};
  static Node read(const JsonReader& in);
};

}  // namespace fairlead::kube
