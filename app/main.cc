// SPDX-License-Identifier: Apache-2.0
// The fairlead agent: flags, wiring, explicit registration of every kind.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "app/parameters.h"
#include "fairlead/agent/attach_ways.h"
#include "fairlead/agent/guard_install.h"
#include "fairlead/agent/net_driver.h"
#include "fairlead/agent/node_reader.h"
#include "fairlead/agent/probe.h"
#include "fairlead/core/log.h"
#include "fairlead/devices/all_kinds.h"
#include "fairlead/dra/plugin.h"
#include "fairlead/kube/client.h"
#include "fairlead/kube/config.h"
#include "fairlead/sys/memory.h"

namespace {

using fairlead::Code;
using fairlead::Error;
using fairlead::Result;
namespace agent = fairlead::agent;
namespace devices = fairlead::devices;
namespace dra = fairlead::dra;
namespace log = fairlead::log;

struct OwnFlags {
  std::string attach = "auto";
  std::string guard_path;
  bool install_guard = false;
  std::string daemonset;
  std::string nri_socket = "/var/run/nri/nri.sock";
  std::string nri_index = "50";
  int slots = 128;
  std::vector<std::string> uplinks;
  std::vector<std::string> not_uplinks;
  bool allow_connected = false;
  std::vector<std::string> host_devices;
  std::string shared_dir = agent::NicHolders::kDefaultFolder;

  void add_to(CLI::App& app) {
    constexpr int kMaxSlots = 1'000'000;
    app.footer(
        "fairlead parameters --markdown | --schema: prints what may be written in a claim's parameters");
    app.add_option(
           "--attach", attach,
           "how interfaces get into pods: auto (NRI where the runtime offers it, and the guard), "
           "guard (a createRuntime hook; any runtime), netdevices (the OCI runtime moves them: "
           "runc >= 1.4, crun >= 1.22; one container per claim; addresses and routes are the guard's)")
        ->envname("ATTACH")
        ->check(CLI::IsMember({"auto", "guard", "netdevices"}));
    app.add_option("--nri-socket", nri_socket, "where the container runtime offers NRI")
        ->envname("NRI_SOCKET");
    app.add_option("--nri-index", nri_index, "two digits: the order among the runtime's NRI plugins")
        ->envname("NRI_INDEX");
    app.add_option("--guard-path", guard_path,
                   "the program fairlead-guard, as the container runtime sees "
                   "it (default: beside this program)")
        ->envname("GUARD_PATH");
    app.add_flag("--install-guard", install_guard,
                 "copy fairlead-guard from beside this program into the plugin folder, where the container "
                 "runtime finds it (an agent in a container needs this)")
        ->envname("INSTALL_GUARD");
    app.add_option("--daemonset", daemonset,
                   "NAMESPACE/NAME of the DaemonSet this program runs in: when that is gone or being "
                   "deleted at the end, the installed guard is removed")
        ->envname("DAEMONSET");
    app.add_option("--slots", slots, "how many virtual links this node offers")
        ->envname("SLOTS")
        ->check(CLI::Range(1, kMaxSlots));
    app.add_option("--uplink", uplinks,
                   "a link that belongs to the node itself, besides those with its default route, its "
                   "address or a tunnel; while one is not there, no NIC is offered; repeatable")
        ->envname("UPLINK")
        ->delimiter(',');
    app.add_option("--not-uplink", not_uplinks,
                   "glob of names, or PCI address, of NICs to offer although they have a default route of "
                   "their own or were the uplink once; never the uplink in use; repeatable")
        ->envname("NOT_UPLINK")
        ->delimiter(',');
    app.add_flag("--allow-connected", allow_connected,
                 "take a NIC although the node itself has connections over its addresses, which end by that")
        ->envname("ALLOW_CONNECTED");
    app.add_option("--shared-dir", shared_dir,
                   "the folder, one for all fairlead drivers of this node, in which they record which driver "
                   "has a NIC")
        ->envname("SHARED_DIR");
    app.add_option("--host-devices", host_devices,
                   "glob of links to offer as NICs although they look virtual "
                   "(nested nodes); repeatable")
        ->envname("HOST_DEVICES")
        ->delimiter(',');
  }
};

Result<std::string> guard_beside_us() {
  std::error_code error;
  const auto own = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) {
    return Error(Code::kInternal, "cannot find the path of this program: " + error.message());
  }
  return (own.parent_path() / "fairlead-guard").string();
}

/// The installed guard, held from now on; empty if --install-guard is not set.
Result<agent::InstalledGuard> installed_guard(const OwnFlags& flags, const dra::PluginOptions& plugin) {
  if (!flags.install_guard) {
    return agent::InstalledGuard{};
  }
  FL_ASSIGN(const std::string program, guard_beside_us());
  return agent::install_guard(program, plugin.plugin_dir);
}

/// The guard's path for the CDI files: where the container runtime finds it.
Result<std::string> guard_path(const OwnFlags& flags, const agent::InstalledGuard& installed) {
  if (flags.guard_path.empty() && !installed.path.empty()) {
    return installed.path;
  }
  if (flags.guard_path.empty()) {
    FL_ASSIGN(std::string path, guard_beside_us());
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

Result<agent::NetDriverOptions> driver_options(const OwnFlags& flags, const dra::PluginOptions& plugin,
                                               const agent::InstalledGuard& installed,
                                               const devices::Registry& kinds) {
  agent::NetDriverOptions options;
  options.node.driver_name = plugin.driver_name;
  options.node.mode =
      flags.attach == "netdevices" ? devices::AttachMode::kNetdevices : devices::AttachMode::kGuard;
  options.node.slots = flags.slots;
  options.node.uplinks = flags.uplinks;
  options.node.not_uplinks = flags.not_uplinks;
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
  if (flags.attach == "auto") {
    options.ways->nri = fairlead::rpc::NriPluginOptions{
        .name = plugin.driver_name, .index = flags.nri_index, .socket = flags.nri_socket, .events = {}};
  }
  return options;
}

/// At the very end: the guard is removed when fairlead was uninstalled, and only then. A successor that holds
/// it by then keeps it.
void leave_the_host(const OwnFlags& flags, const dra::Plugin& plugin, agent::InstalledGuard guard) {
  if (!flags.install_guard || flags.daemonset.empty()) {
    return;
  }
  const dra::PluginOptions& options = plugin.options();
  const auto left = [&]() -> Result<bool> {
    FL_ASSIGN(auto config, fairlead::kube::load_config(
                               {.kubeconfig = options.kubeconfig, .context = {}, .environment = {}}));
    FL_ASSIGN(const auto client, fairlead::kube::Client::open(std::move(config)));
    FL_ASSIGN(const bool uninstalled, agent::is_uninstalled(*client, flags.daemonset));
    if (uninstalled) {
      FL_ASSIGN(const auto claims, plugin.records());  // unknown is an error, not zero
      guard.hold.reset();
      FL_TRY(agent::remove_guard({.path = options.plugin_dir + "/fairlead-guard",
                                  .plugin_dir = options.plugin_dir,
                                  .claims = claims.size(),
                                  .state_dir = options.state_dir}));
    }
    return uninstalled;
  }();
  if (!left) {
    log::warn("uninstall incomplete", {{"error", left.error().what()}});
  } else if (*left) {
    log::info("fairlead was uninstalled, the guard and its folders are removed");
  }
}

Result<int> run(const OwnFlags& flags, dra::PluginOptions plugin_options) {
  if (!flags.daemonset.empty()) {
    FL_TRY(agent::validate_daemonset(flags.daemonset));
  }
  dra::fill_defaults(plugin_options);  // the guard and its socket live in these folders too
  const devices::Registry registry = devices::all_kinds();
  FL_ASSIGN(agent::InstalledGuard guard, installed_guard(flags, plugin_options));
  FL_ASSIGN(agent::NetDriverOptions options, driver_options(flags, plugin_options, guard, registry));
  FL_ASSIGN(auto plugin, dra::Plugin::create(std::move(plugin_options),
                                             [&](dra::Host& host) -> Result<std::unique_ptr<dra::Driver>> {
                                               return agent::NetDriver::create(host, std::move(options),
                                                                               registry);
                                             }));
  const int status = plugin->run();
  leave_the_host(flags, *plugin, std::move(guard));
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && argv[1] == fairlead::app::kParametersCommand) {
    return fairlead::app::print_parameters(fairlead::devices::all_kinds(), argc - 1, argv + 1);
  }
  fairlead::sys::use_one_heap();
  OwnFlags flags;
  auto options = dra::PluginOptions::from_args(argc, argv, {.driver_name = "net.fairlead.dev"},
                                               [&](CLI::App& app) { flags.add_to(app); });
  if (!options) {
    if (options.error().code() == Code::kCancelled) {
      return 0;
    }
    (void)std::fprintf(stderr, "fairlead: %s\n", options.error().what().c_str());
    return 2;
  }
  const auto status = run(flags, *std::move(options));
  if (!status) {
    log::error("fairlead cannot start", {{"error", status.error().what()}});
    return 1;
  }
  return *status;
}
