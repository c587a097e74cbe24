// SPDX-License-Identifier: Apache-2.0
#include "app/cmd_run.h"

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <utility>

#include "app/cmd_probe.h"
#include "app/wiring.h"
#include "fairlead/agent/attach/roll_back.h"
#include "fairlead/agent/install/daemonset.h"
#include "fairlead/core/log.h"
#include "fairlead/devices/all_kinds.h"
#include "fairlead/kube/client.h"
#include "fairlead/kube/config.h"
#include "fairlead/sys/memory.h"

namespace fairlead::app {
namespace {

struct RunFlags {
  dra::PluginOptions plugin;
  AgentFlags agent;
  std::string probe;
};

void add_agent_flags(CLI::App& app, AgentFlags& flags) {
  constexpr int kMaxSlots = 1'000'000;
  app.add_option("--attach", flags.attach,
                 "how interfaces get into pods: auto (NRI where the runtime offers it, and the guard), "
                 "guard (a createRuntime hook; any runtime), netdevices (the OCI runtime moves them: "
                 "runc >= 1.4, crun >= 1.22; one container per claim; addresses and routes are the guard's)")
      ->envname("ATTACH")
      ->check(CLI::IsMember({"auto", "guard", "netdevices"}));
  app.add_option("--nri-socket", flags.nri_socket, "where the container runtime offers NRI")
      ->envname("NRI_SOCKET");
  app.add_option("--nri-index", flags.nri_index, "two digits: the order among the runtime's NRI plugins")
      ->envname("NRI_INDEX");
  app.add_option("--guard-path", flags.guard_path,
                 "the program fairlead-guard, as the container runtime sees "
                 "it (default: beside this program)")
      ->envname("GUARD_PATH");
  app.add_flag("--install-guard", flags.install_guard,
               "copy fairlead-guard from beside this program into the plugin folder, where the container "
               "runtime finds it (an agent in a container needs this)")
      ->envname("INSTALL_GUARD");
  app.add_option("--daemonset", flags.daemonset,
                 "NAMESPACE/NAME of the DaemonSet this program runs in: when that is gone or being "
                 "deleted at the end, the installed guard is removed; when it was rolled back to version "
                 "0.1, the interfaces in pods are marked as that version knows them")
      ->envname("DAEMONSET");
  app.add_option("--slots", flags.slots, "how many virtual links this node offers")
      ->envname("SLOTS")
      ->check(CLI::Range(1, kMaxSlots));
  app.add_option("--uplink", flags.uplinks,
                 "a link that belongs to the node itself, besides those with its default route, its "
                 "address or a tunnel; while one is not there, no NIC is offered; repeatable")
      ->envname("UPLINK")
      ->delimiter(',');
  app.add_option("--not-uplink", flags.not_uplinks,
                 "glob of names, or PCI address, of NICs to offer although they have a default route of "
                 "their own or were the uplink once; never the uplink in use; repeatable")
      ->envname("NOT_UPLINK")
      ->delimiter(',');
  app.add_option(
         "--rdma-view", flags.rdma_view,
         "as what hardware with RDMA is offered: nic (its network interface) or rdma (its RDMA device "
         "instead, and the RDMA devices of software)")
      ->envname("RDMA_VIEW")
      ->check(CLI::IsMember({"nic", "rdma"}));
  app.add_flag("--allow-connected", flags.allow_connected,
               "take a NIC although the node itself has connections over its addresses, which end by that")
      ->envname("ALLOW_CONNECTED");
  app.add_option("--shared-dir", flags.shared_dir,
                 "the folder, one for all fairlead drivers of this node, in which they record which driver "
                 "has a NIC")
      ->envname("SHARED_DIR");
  app.add_option(
         "--policy", flags.policy,
         "what claims of namespaces may write that the policy file does not list: privileged (every "
         "field; the default), baseline (fields that concern the pod's own interface only), restricted "
         "(interfaceName); DeviceClasses can set and open more")
      ->envname("POLICY")
      ->check(CLI::IsMember({"privileged", "baseline", "restricted"}));
  app.add_option(
         "--policy-file", flags.policy_file,
         "levels of namespaces, and bounds of parents, addresses and VLANs (YAML); read again when it "
         "changes")
      ->envname("POLICY_FILE");
  app.add_option("--host-devices", flags.host_devices,
                 "glob of links to offer as NICs although they look virtual "
                 "(nested nodes); repeatable")
      ->envname("HOST_DEVICES")
      ->delimiter(',');
}

/// Removes the guard; another instance that holds it keeps it.
Result<> remove_guard(const dra::Plugin& plugin, agent::InstalledGuard guard) {
  const dra::PluginOptions& options = plugin.options();
  FL_ASSIGN(const auto claims, plugin.records());  // unknown is an error, not zero
  guard.hold.reset();
  FL_TRY(agent::remove_guard({.path = options.plugin_dir + "/fairlead-guard",
                              .plugin_dir = options.plugin_dir,
                              .claims = claims.size(),
                              .state_dir = options.state_dir}));
  log::info("fairlead was uninstalled, the guard and its folders are removed");
  return {};
}

Result<> mark_for_previous(const dra::Plugin& plugin, const devices::Registry& registry) {
  FL_ASSIGN(const auto claims, plugin.records());
  const std::size_t marked = agent::mark_for_previous(plugin.options().driver_name, claims, registry);
  log::info("the DaemonSet was rolled back to version 0.1; interfaces of claims are marked as it knows them",
            {{"claims", marked}});
  return {};
}

/// At the very end: what an uninstallation or a roll-back to version 0.1 needs.
void leave(const AgentFlags& flags, const dra::Plugin& plugin, agent::InstalledGuard guard,
           const devices::Registry& registry) {
  if (flags.daemonset.empty()) {
    return;
  }
  const auto fate = [&]() -> Result<agent::DaemonSetFate> {
    FL_ASSIGN(
        auto config,
        kube::load_config({.kubeconfig = plugin.options().kubeconfig, .context = {}, .environment = {}}));
    FL_ASSIGN(const auto client, kube::Client::open(std::move(config)));
    return agent::daemonset_fate(*client, flags.daemonset);
  }();
  Result<> done = fate ? Result<>() : Result<>(fate.error());
  if (fate && *fate == agent::DaemonSetFate::kUninstalled && flags.install_guard) {
    done = remove_guard(plugin, std::move(guard));
  } else if (fate && *fate == agent::DaemonSetFate::kRolledBack) {
    done = mark_for_previous(plugin, registry);
  }
  if (!done) {
    log::warn(
        fate && *fate == agent::DaemonSetFate::kRolledBack ? "roll-back incomplete" : "uninstall incomplete",
        {{"error", done.error().what()}});
  }
}

Result<int> run_agent(const AgentFlags& flags, dra::PluginOptions plugin_options) {
  if (!flags.daemonset.empty()) {
    FL_TRY(agent::validate_daemonset(flags.daemonset));
  }
  plugin_options.fill_defaults();  // the guard and its socket live in these folders too
  FL_TRY(plugin_options.validate());
  const devices::Registry registry = devices::all_kinds();
  FL_ASSIGN(agent::InstalledGuard guard, installed_guard(flags, plugin_options));
  FL_ASSIGN(agent::NetDriverOptions options, driver_options(flags, plugin_options, guard, registry));
  FL_ASSIGN(auto plugin, dra::Plugin::create(std::move(plugin_options),
                                             [&](dra::Host& host) -> Result<std::unique_ptr<dra::Driver>> {
                                               return agent::NetDriver::create(host, std::move(options),
                                                                               registry);
                                             }));
  const int status = plugin->run();
  leave(flags, *plugin, std::move(guard), registry);
  return status;
}

int run(const RunFlags& flags) {
  if (!flags.probe.empty()) {
    return probe(flags.plugin.http_listen, flags.probe);
  }
  sys::use_one_heap();
  log::set_level(flags.plugin.log_level);  // what is logged before Plugin::create() too
  const auto status = run_agent(flags.agent, flags.plugin);
  if (!status) {
    log::error("fairlead cannot start", {{"error", status.error().what()}});
    return 1;
  }
  return *status;
}

}  // namespace

std::function<int()> add_run(CLI::App& app) {
  auto flags = std::make_shared<RunFlags>();
  flags->plugin.driver_name = "net.fairlead.dev";
  flags->plugin.add_flags(app);
  add_agent_flags(app, flags->agent);
  // The manifests of version 0.1 have this instead of the subcommand `probe`.
  add_page(app, "--probe", flags->probe)->group("");
  return [flags] { return run(*flags); };
}

}  // namespace fairlead::app
