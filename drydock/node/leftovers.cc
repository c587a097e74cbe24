// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/leftovers.h"

#include "drydock/node/machine_state.h"
#include "fairlead/sys/files.h"

namespace drydock {
namespace {

Result<std::set<std::string>> folder_entries(const std::string& folder) {
  FL_ASSIGN(const auto names, fairlead::sys::list_dir(folder));
  return std::set<std::string>(names.begin(), names.end());
}

}  // namespace

Result<NodeState> read_node_state(const NodeServices& services, Cluster& cluster,
                                  const ClaimManager& claims) {
  NodeState out;
  FL_ASSIGN(const auto machine, MachineState::read(""));
  out["mount"] = machine.mounts;
  FL_ASSIGN(const auto links, NodeNetwork::links());
  out["link"] = {links.begin(), links.end()};
  FL_ASSIGN(const auto files, services.cdi->files());
  out["CDI file"] = {files.begin(), files.end()};
  FL_ASSIGN(out["network namespace"], folder_entries(services.paths.netns));
  FL_ASSIGN(out["container bundle"], folder_entries(services.paths.bundles));
  FL_ASSIGN(out["pod folder"], folder_entries(services.paths.pods));
  for (const auto& claim : claims.in_use()) {
    out["prepared claim"].insert(claim.namespace_ + "/" + claim.name);
  }
  for (const auto& claim : cluster.store().all(kinds::kResourceClaim)) {
    out["ResourceClaim"].insert(claim["metadata"].value("namespace", "") + "/" +
                                claim["metadata"].value("name", ""));
  }
  return out;
}

std::vector<std::string> node_differences(const NodeState& before, const NodeState& after) {
  std::vector<std::string> out;
  static const std::set<std::string> kNone;
  const auto of = [](const NodeState& state, const std::string& kind) -> const std::set<std::string>& {
    const auto found = state.find(kind);
    return found == state.end() ? kNone : found->second;
  };
  for (const auto& [kind, names] : after) {
    for (const auto& name : names) {
      if (!of(before, kind).contains(name)) {
        out.push_back(kind + " " + name + " is left");
      }
    }
  }
  for (const auto& [kind, names] : before) {
    for (const auto& name : names) {
      if (!of(after, kind).contains(name)) {
        out.push_back(kind + " " + name + " is gone");
      }
    }
  }
  return out;
}

}  // namespace drydock
