// SPDX-License-Identifier: Apache-2.0
// The fairlead agent: flags, wiring, explicit registration of every kind.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

#include "fairlead/agent/guard_server.h"
#include "fairlead/agent/link_watch.h"
#include "fairlead/agent/net_driver.h"
#include "fairlead/agent/probe.h"
#include "fairlead/core/log.h"
#include "fairlead/devices/netdev/dummy/dummy.h"
#include "fairlead/devices/netdev/host_device/host_device.h"
#include "fairlead/devices/netdev/macvlan/macvlan.h"
#include "fairlead/devices/netdev/veth/veth.h"
#include "fairlead/devices/registry.h"
#include "fairlead/dra/plugin.h"

namespace {

using fairlead::Code;
using fairlead::Error;
using fairlead::Result;
namespace agent = fairlead::agent;
namespace devices = fairlead::devices;
namespace dra = fairlead::dra;
namespace log = fairlead::log;

/// Below the guard's own 28 s, which is below the hook's 30 s: the innermost
/// knows best what went wrong.
constexpr std::chrono::seconds kAttachTime{25};

struct OwnFlags {
  std::string attach = "auto";
  std::string guard_path;
  int slots = 128;
  std::vector<std::string> uplinks;
  std::vector<std::string> host_devices;

  void add_to(CLI::App& app) {
    constexpr int kMaxSlots = 1'000'000;
    app.add_option("--attach", attach,
                   "how interfaces get into pods: guard (a createRuntime hook; "
                   "any runtime), netdevices (the OCI "
                   "runtime moves them: runc >= 1.4, crun >= 1.22; no routes, "
                   "one container per claim), auto (today: "
                   "guard)")
        ->envname("ATTACH")
        ->check(CLI::IsMember({"auto", "guard", "netdevices"}));
    app.add_option("--guard-path", guard_path,
                   "the program fairlead-guard, as the container runtime sees "
                   "it (default: beside this program)")
        ->envname("GUARD_PATH");
    app.add_option("--slots", slots, "how many virtual links this node offers")
        ->envname("SLOTS")
        ->check(CLI::Range(1, kMaxSlots));
    app.add_option("--uplink", uplinks,
                   "a link that belongs to the node itself, besides those with "
                   "a default route; repeatable")
        ->envname("UPLINK")
        ->delimiter(',');
    app.add_option("--host-devices", host_devices,
                   "glob of links to offer as NICs although they look virtual "
                   "(nested nodes); repeatable")
        ->envname("HOST_DEVICES")
        ->delimiter(',');
  }
};

/// Every kind this program knows. A new kind is one line here.
devices::Registry all_kinds() {
  devices::Registry registry;
  registry.add(std::make_unique<devices::netdev::DummyKind>());
  registry.add(std::make_unique<devices::netdev::HostDeviceKind>());
  registry.add(std::make_unique<devices::netdev::MacvlanKind>());
  registry.add(std::make_unique<devices::netdev::VethKind>());
  return registry;
}

Result<std::string> guard_beside_us() {
  std::error_code error;
  const auto own = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) {
    return Error(Code::kInternal, "cannot tell where this program is: " + error.message());
  }
  return (own.parent_path() / "fairlead-guard").string();
}

Result<std::string> guard_path(const OwnFlags& flags) {
  if (flags.guard_path.empty()) {
    FL_ASSIGN(std::string path, guard_beside_us(), "");
    if (::access(path.c_str(), X_OK) != 0) {
      return Error(Code::kNotFound, path +
                                        " is not there; say with --guard-path "
                                        "where the container runtime finds "
                                        "fairlead-guard");
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

Result<agent::NetDriverOptions> driver_options(const OwnFlags& flags, const dra::PluginOptions& plugin) {
  agent::NetDriverOptions options;
  options.node.driver_name = plugin.driver_name;
  options.node.mode =
      flags.attach == "netdevices" ? devices::AttachMode::kNetdevices : devices::AttachMode::kGuard;
  options.node.slots = flags.slots;
  options.node.uplinks = flags.uplinks;
  options.node.host_devices = flags.host_devices;
  FL_ASSIGN(options.node.kinds_of_kernel, agent::probe_link_kinds(), "");
  if (options.node.mode == devices::AttachMode::kGuard) {
    FL_ASSIGN(options.guard_path, guard_path(flags), "");
  }
  const std::string state_dir = plugin.state_dir.empty() ? "/run/" + plugin.driver_name : plugin.state_dir;
  options.guard_socket = state_dir + "/guard.sock";
  return options;
}

/// The guard's call: attach, one at a time for each claim, with the new state
/// on disk before the answer.
Result<> attach(dra::Plugin& plugin, agent::NetDriver& driver, const agent::GuardCall& call) {
  const auto deadline = std::chrono::steady_clock::now() + kAttachTime;
  auto result = plugin.update(call.claim_uid, deadline, [&](const dra::ClaimRecord& record) {
    return driver.attach(record, call.netns.get(), call.container);
  });
  if (!result && result.error().code() == Code::kNotFound && !plugin.find(call.claim_uid)) {
    return Error(Code::kNotFound, "the claim " + call.claim_uid + " is not prepared on this node");
  }
  return result;
}

Result<int> run(const OwnFlags& flags, dra::PluginOptions plugin_options) {
  const devices::Registry registry = all_kinds();
  FL_ASSIGN(agent::NetDriverOptions options, driver_options(flags, plugin_options), "");
  const std::string guard_socket = options.guard_socket;
  // These refer to each other through callbacks, which run only between
  // create() and the end of run().
  std::unique_ptr<agent::GuardServer> guard;
  std::unique_ptr<agent::LinkWatch> watch;
  dra::Plugin* plugin_now = nullptr;
  options.on_restored = [&guard] { guard->serve(); };
  options.before_first_discover = [&] {
    auto started = agent::LinkWatch::start([&] { plugin_now->republish(); });
    if (started) {
      watch = *std::move(started);
    } else {
      log::error("changes of links are seen at the next resync only", {{"error", started.error().what()}});
    }
  };
  options.records = [&plugin_now] { return plugin_now->records(); };
  agent::NetDriver driver(std::move(options), registry);
  FL_ASSIGN(const auto plugin, dra::Plugin::create(std::move(plugin_options), driver), "");
  plugin_now = plugin.get();
  FL_ASSIGN(
      guard,
      agent::GuardServer::open({.path = guard_socket},
                               [&](const agent::GuardCall& call) { return attach(*plugin, driver, call); }),
      "");
  const int status = plugin->run();
  guard.reset();
  watch.reset();
  return status;
}

}  // namespace

int main(int argc, char** argv) {
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
