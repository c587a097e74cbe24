// SPDX-License-Identifier: Apache-2.0
// The node's network, all of it inside the node's own namespace:
//
//    world (a namespace of its own)           node                              pod
//    world0  198.18.0.1/24 ──veth── eth0  198.18.0.2/24, default route
//    world-N               ──veth── the NICs asked for with --nic
//                                   pods0 10.85.0.1/24 (bridge) ──veth── eth0 10.85.0.x/24
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "fairlead/core/fd.h"
#include "fairlead/core/mutex.h"
#include "fairlead/core/result.h"

namespace drydock {

/// A pod's network namespace, owned by the node.
struct Sandbox {
  std::string id;
  std::string netns_path;  // bind mount in /run/netns
  std::string ip;
  int host_number = 0;  // the last octet
};

/// Any thread.
class NodeNetwork {
 public:
  /// Sets up everything but pods in the calling process's network namespace, which must be new.
  static fairlead::Result<std::unique_ptr<NodeNetwork>> create(const std::vector<std::string>& nics,
                                                               std::string netns_folder);

  /// kInvalid, with one sentence: a name that no link can have, one that is given twice, or one of
  /// own_names({}).
  [[nodiscard]] static fairlead::Result<> check_nics(const std::vector<std::string>& nics);

  [[nodiscard]] static std::string node_ip() { return "198.18.0.2"; }
  /// Names that links of the node have or may get: lo, eth0, pods0, pod2 to pod254 and `nics`.
  [[nodiscard]] static std::set<std::string> own_names(const std::vector<std::string>& nics);

  /// As a CNI plugin would: lo up, eth0 with an address and a default route.
  fairlead::Result<Sandbox> add_sandbox(const std::string& id);
  /// The pod's links are removed with the namespace, unless another process still holds it open.
  fairlead::Result<> remove_sandbox(const Sandbox& sandbox);

  /// Names of the node's links, sorted.
  [[nodiscard]] static fairlead::Result<std::vector<std::string>> links();

 private:
  explicit NodeNetwork(std::string netns_folder) : netns_folder_(std::move(netns_folder)) {}
  fairlead::Result<int> take_host_number();
  void give_back(int host_number);
  fairlead::Result<> connect(const Sandbox& sandbox, int netns);

  const std::string netns_folder_;
  fairlead::UniqueFd world_;
  fairlead::Mutex mutex_;
  std::set<int> taken_ FL_GUARDED_BY(mutex_);
};

}  // namespace drydock
