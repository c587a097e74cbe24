// SPDX-License-Identifier: Apache-2.0
// From the agent's flags to the options of its driver.
#pragma once

#include <string>
#include <vector>

#include "fairlead/agent/install/guard_install.h"
#include "fairlead/agent/net_driver.h"
#include "fairlead/core/result.h"
#include "fairlead/devices/registry.h"
#include "fairlead/dra/plugin/plugin.h"

namespace fairlead::app {

/// The flags that the agent has besides those of dra::PluginOptions.
struct AgentFlags {
  std::string attach = "auto";
  std::string guard_path;
  bool install_guard = false;
  std::string daemonset;
  std::string nri_socket = "/var/run/nri/nri.sock";
  std::string nri_index = "50";
  int slots = 128;
  std::vector<std::string> uplinks;
  std::vector<std::string> not_uplinks;
  std::string rdma_view = "nic";
  bool allow_connected = false;
  std::vector<std::string> host_devices;
  std::string shared_dir = agent::NicHolders::kDefaultFolder;
  std::string policy;  // a level; empty: not said
  std::string policy_file;
};

/// The installed guard, held from now on; empty if --install-guard is not set.
Result<agent::InstalledGuard> installed_guard(const AgentFlags& flags, const dra::PluginOptions& plugin);

/// kInvalid and kNotFound for flags that do not fit this node. `kinds` are tried with this kernel.
Result<agent::NetDriverOptions> driver_options(const AgentFlags& flags, const dra::PluginOptions& plugin,
                                               const agent::InstalledGuard& installed,
                                               const devices::Registry& kinds);

}  // namespace fairlead::app
