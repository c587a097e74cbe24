// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/probe.h"

#include "fairlead/core/log.h"
#include "fairlead/sys/netns.h"

namespace fairlead::agent {

Result<std::set<std::string>> probe_kinds(const devices::Registry& kinds) {
  FL_ASSIGN(const UniqueFd netns, sys::create_netns(), "try which kinds of device this node can do");
  devices::CallScope scope;
  const devices::Side scratch{.netns = netns.get(), .scope = &scope};
  std::set<std::string> possible;
  for (const devices::Kind* kind : kinds.kinds()) {
    const auto probed = kind->probe(scratch);
    if (probed) {
      possible.insert(kind->name().kind);
    } else {
      log::info("this node cannot make devices of a kind",
                {{"kind", to_string(kind->name())}, {"reason", probed.error().what()}});
    }
  }
  return possible;
}

}  // namespace fairlead::agent
