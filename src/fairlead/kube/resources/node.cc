// SPDX-License-Identifier: Apache-2.0
#include "fairlead/kube/resources/node.h"

namespace fairlead::kube {

Node ResourceTraits<Node>::read(const JsonReader& in) {
  Node node{.meta = read_meta(in.object("metadata")), .internal_addresses = {}};
  for (const JsonReader& entry : in.object("status").objects("addresses")) {
    if (entry.string("type") == "InternalIP") {
      node.internal_addresses.push_back(entry.string("address"));
    }
  }
  return node;
}

}  // namespace fairlead::kube
