// SPDX-License-Identifier: Apache-2.0
// The node's own folders, laid over the machine's inside the node's mount namespace:
//
//   /run, /var/run           tmpfs: CDI files of this boot, /run/netns, everything of drydock's own
//   /etc/cdi                 tmpfs
//   /var/lib/kubelet         tmpfs: plugins, plugins_registry, pods
//   /sys                     fresh, so that /sys/class/net shows the node's links
//   /sys/fs/cgroup           cgroup v2, for the runtimes that insist on one
//
// Nothing is created on the machine: where a folder's parent has no such entry, the parent is replaced, in
// the node only, by a tmpfs with links to a read-only view of the machine's parent.
#pragma once

#include <string>

#include "fairlead/core/result.h"

namespace drydock {

struct NodePaths {
  std::string kubelet = "/var/lib/kubelet";
  std::string registry = "/var/lib/kubelet/plugins_registry";
  std::string plugins = "/var/lib/kubelet/plugins";
  std::string pods = "/run/drydock/pods";
  std::string images = "/run/drydock/images";
  std::string bundles = "/run/drydock/bundles";
  std::string runtime = "/run/drydock/runtime";
  std::string logs = "/run/drydock/logs";
  std::string state = "/run/drydock/state";
  std::string netns = "/run/netns";
  std::string lower = "/run/drydock/lower";  // read-only views of the machine's folders that were replaced
  std::string nri = "/run/nri/nri.sock";
  std::string cdi = "/var/run/cdi";     // wins over
  std::string static_cdi = "/etc/cdi";  // this one
};

/// Inside run_isolated() only. Makes all folders of `paths` too.
fairlead::Result<> lay_out_node_folders(const NodePaths& paths);

/// A fresh tmpfs at `folder`, which need not exist (see above). Exposed for its test.
fairlead::Result<> make_private_folder(const std::string& folder);

}  // namespace drydock
