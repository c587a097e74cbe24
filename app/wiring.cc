// SPDX-License-Identifier: Apache-2.0
#include "app/wiring.h"

#include <unistd.h>

#include <filesystem>
#include <memory>
#include <utility>

#include "fairlead/agent/probe.h"
#include "fairlead/agent/ways/attach_ways.h"
#include "fairlead/core/log.h"

namespace fairlead::app {
namespace {

Result<std::string> guard_beside_this_program() {
  std::error_code error;
  const auto own = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) {
    return Error(Code::kInternal, "cannot find the path of this program: " + error.message());
  }
  return (own.parent_path() / "fairlead-guard").string();
}

/// The guard's path for the CDI files: where the container runtime finds it.
Result<std::string> guard_path(const AgentFlags& flags, const agent::InstalledGuard& installed) {
  if (flags.guard_path.empty() && !installed.path.empty()) {
    return installed.path;
  }
  if (flags.guard_path.empty()) {
    FL_ASSIGN(std::string path, guard_beside_this_program());
    if (::access(path.c_str(), X_OK) != 0) {
      return Error(Code::kNotFound, path +
                                        " is not there; say with --guard-path where the container runtime "
                                        "finds fairlead-guard");
    }
    return path;
  }
  // It may exist only where the runtime runs, not in our own container: only
  // its form can be checked.
  if (!flags.guard_path.starts_with('/')) {
    return Error(Code::kInvalid, "--guard-path must be an absolute path, not " + flags.guard_path);
  }
  return flags.guard_path;
}

}  // namespace

Result<agent::InstalledGuard> installed_guard(const AgentFlags& flags, const dra::PluginOptions& plugin) {
  if (!flags.install_guard) {
    return agent::InstalledGuard{};
  }
  FL_ASSIGN(const std::string program, guard_beside_this_program());
  return agent::install_guard(program, plugin.plugin_dir);
}

Result<agent::NetDriverOptions> driver_options(const AgentFlags& flags, const dra::PluginOptions& plugin,
                                               const agent::InstalledGuard& installed,
                                               const devices::Registry& kinds) {
  agent::NetDriverOptions options;
  options.node.driver_name = plugin.driver_name;
  options.node.mode =
      flags.attach == "netdevices" ? devices::AttachMode::kNetdevices : devices::AttachMode::kGuard;
  options.node.slots = flags.slots;
  options.node.uplinks = flags.uplinks;
  options.node.not_uplinks = flags.not_uplinks;
  options.node.rdma_view = flags.rdma_view == "rdma" ? devices::RdmaView::kRdma : devices::RdmaView::kNic;
  options.node.allow_connected = flags.allow_connected;
  options.node.memory = std::make_shared<devices::NodeMemory>(plugin.state_dir);
  options.node.host_devices = flags.host_devices;
  FL_ASSIGN(options.node.kinds_of_kernel, agent::probe_kinds(kinds));
  auto guard = guard_path(flags, installed);
  if (guard) {
    options.guard_path = *std::move(guard);
  } else if (options.node.mode == devices::AttachMode::kGuard || guard.error().code() != Code::kNotFound) {
    return std::move(guard).error();
  } else {
    options.node.has_guard = false;
    log::warn("claims with addresses or routes are refused on this node",
              {{"attach", flags.attach}, {"reason", guard.error().what()}});
  }
  options.guard_socket = plugin.state_dir + "/guard.sock";
  options.ways.emplace();
  if (!flags.shared_dir.starts_with('/')) {
    return Error(Code::kInvalid, "--shared-dir must be an absolute path, not \"" + flags.shared_dir + "\"");
  }
  options.holders = agent::NicHolders::Options{
      .dir = flags.shared_dir, .driver = plugin.driver_name, .state_dir = plugin.state_dir};
  options.policy.level = policy::parse_level(flags.policy).value_or(policy::Level::kPrivileged);
  options.policy.file = flags.policy_file;
  options.policy.copy_dir = plugin.state_dir;
  if (!flags.policy_file.empty() && !flags.policy_file.starts_with('/')) {
    return Error(Code::kInvalid, "--policy-file must be an absolute path, not \"" + flags.policy_file + "\"");
  }
  if (flags.policy.empty()) {
    log::warn(
        "claims may write every field where no policy file gives another level, parents and VLANs of the "
        "node "
        "included; --policy baseline restricts that",
        {{"policy", std::string(to_string(options.policy.level))}});
  }
  if (flags.attach == "auto") {
    options.ways->nri = rpc::NriPluginOptions{
        .name = plugin.driver_name, .index = flags.nri_index, .socket = flags.nri_socket, .events = {}};
  }
  return options;
}

}  // namespace fairlead::app
