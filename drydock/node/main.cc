// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>

#include "drydock/node/run.h"
#include "fairlead/core/log.h"

namespace {

constexpr auto kFooter = R"(
In a driver's command these are replaced:
  {kubeconfig}  a kubeconfig for the node's API server       also $KUBECONFIG
  {node}        the node's name                              $NODE_NAME
  {plugins}     the kubelet's folder for plugins' sockets    $PLUGINS_DIR
  {registry}    the kubelet's registration folder            $REGISTRY_DIR
  {cdi}         the node's folder for CDI files              $CDI_DIR
  {nri}         the runtime's socket for NRI plugins         $NRI_SOCKET
  {state}       an empty folder of the driver's own          $STATE_DIR
  {log}         the file that keeps what the driver prints
Also set: KUBELET_DIR, NODE_IP, POD_NAMESPACE, NAMESPACE, CDI_ROOT, KUBERNETES_SERVICE_HOST and _PORT, with a
service account in /var/run/secrets/kubernetes.io/serviceaccount, as in a pod.

The node is made of namespaces: its links, mounts and processes are its own and go when drydock ends, however it
ends. It needs root, and crun or runc. A container that fails is started again as its pod's restartPolicy says, at
most --retries times; a pod has succeeded when its containers end with 0, or with --for when it is time.

Exit status: 0 all pods succeeded and nothing is left; 1 not so; 2 wrong usage; 130 interrupted.

Example:
  drydock run --driver 'my-driver --kubeconfig={kubeconfig} --node={node}' -f pod.yaml
)";

/// CLI11's own way of saying what is wrong with a value is the message of ValidationError.
template <class Parse>
auto checked(const Parse& parse) {
  return [parse](const std::string& text) {
    const auto parsed = parse(text);
    return parsed ? std::string() : parsed.error().what();
  };
}

struct Words {
  std::vector<std::string> images;
  std::string timeout = "60s", run_for, lose_sandbox, wipe_delay = "30s", grace = "2s",
              nri_request_timeout = "2s";
};

void describe(CLI::App& run, drydock::RunOptions& options, Words& words) {
  run.add_option("--driver", options.drivers, "Shell command that starts a DRA driver (repeatable)")
      ->required()
      ->type_name("COMMAND")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  run.add_option("-f,--filename", options.manifests, "Manifests to apply (repeatable)")
      ->required()
      ->type_name("FILE")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->check(CLI::ExistingFile);
  run.add_option("--image", words.images,
                 "An image for pods: a root file system or an OCI layout (repeatable)")
      ->type_name("NAME=FOLDER")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->check(checked(drydock::parse_image));
  run.add_option("--runtime", options.runtime, "OCI runtime to use instead of the first of crun, runc")
      ->type_name("PROGRAM")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  run.add_option("--nic", options.nics, "One more network interface for the node (repeatable)")
      ->type_name("NAME")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  run.add_option("--lend", options.lent,
                 "A link of this machine that the node has for the time of the run, by name or PCI address "
                 "(repeatable)")
      ->type_name("LINK")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  run.add_option("--confine", options.confine,
                 "Run the drivers in a container, as the DaemonSet in this manifest says")
      ->type_name("FILE")
      ->check(CLI::ExistingFile)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  const auto duration = [&](const char* name, std::string& value, const char* text, bool shown) {
    auto* option = run.add_option(name, value, text)
                       ->type_name("DURATION")
                       ->check(checked(drydock::parse_duration))
                       ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    if (shown) {
      option->capture_default_str();
    }
  };
  duration("--timeout", words.timeout, "How long drivers may take to publish, and pods to start", true);
  duration("--for", words.run_for, "Stop pods after this time and count them as succeeded", false);
  duration("--lose-sandbox", words.lose_sandbox,
           "Each pod's sandbox dies once, this long after its containers have started", false);
  duration("--grace", words.grace, "Longest time between SIGTERM and SIGKILL for a container", true);
  duration("--slice-wipe-delay", words.wipe_delay, "When the slices of a driver that is gone are deleted",
           true);
  run.add_option("--retries", options.retries,
                 "How often a failed Prepare, sandbox or container is tried again")
      ->capture_default_str()
      ->check(CLI::Range(0, 1000))
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  run.add_flag("--restart-driver", options.restart_driver,
               "Start a driver that has died again, as a DaemonSet does (else it fails the run)");
  run.add_flag("!--no-nri", options.nri, "A runtime without NRI");
  run.add_option(
         "--nri-dialect", options.nri_dialect,
         "How events reach NRI plugins: 0.11 (containerd 1.7 to 2.2, CRI-O to 1.36) or 0.12 (containerd 2.3)")
      ->capture_default_str()
      ->type_name("VERSION")
      ->check(CLI::IsMember({"0.11", "0.12"}))
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  duration("--nri-request-timeout", words.nri_request_timeout,
           "How long NRI plugins may take to respond (containerd: plugin_request_timeout)", true);
  run.add_option("--nri-cut", options.nri_cuts,
                 "End all NRI connections just before this event, once (repeatable)")
      ->type_name("EVENT")
      ->expected(1)
      ->check(CLI::IsMember({"RunPodSandbox", "StopPodSandbox", "RemovePodSandbox", "CreateContainer",
                             "PostCreateContainer", "StartContainer", "PostStartContainer", "StopContainer",
                             "RemoveContainer"}))
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  run.add_option("--node-name", options.node_name, "The node's name")
      ->capture_default_str()
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  run.add_option("--show-log", options.show_log, "Show the lines of the drivers' logs that have this text")
      ->type_name("TEXT")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  run.add_flag("--keep-going", options.keep_going,
               "When a pod fails, wait for all others, not only for those that run to completion");
  run.add_flag("-v,--verbose", options.verbose, "Say more, and show the drivers' logs");
  run.add_flag("--json", options.json, "Print one JSON document at the end, and nothing else");
}

/// The words were checked by the parser.
void take(const Words& words, drydock::RunOptions& options) {
  for (const auto& text : words.images) {
    const auto image = drydock::parse_image(text);
    options.images.insert(*image);
  }
  options.timeout = *drydock::parse_duration(words.timeout);
  options.wipe_delay = *drydock::parse_duration(words.wipe_delay);
  options.grace = std::chrono::ceil<std::chrono::seconds>(*drydock::parse_duration(words.grace));
  options.nri_request_timeout = *drydock::parse_duration(words.nri_request_timeout);
  if (!words.run_for.empty()) {
    options.run_for = *drydock::parse_duration(words.run_for);
  }
  if (!words.lose_sandbox.empty()) {
    options.lose_sandbox = *drydock::parse_duration(words.lose_sandbox);
  }
}

int run_main(int argc, char** argv) {
  CLI::App app("drydock: a Kubernetes node for developing DRA drivers, on this machine, without a cluster",
               "drydock");
  app.require_subcommand(1);
  auto* version = app.add_subcommand("version", "Print the version");
  auto* run =
      app.add_subcommand("run", "Start drivers, apply manifests, run their pods, take all down again");
  run->footer(kFooter);
  drydock::RunOptions options;
  Words words;
  describe(*run, options, words);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : drydock::kExitUsage;
  }
  if (version->parsed()) {
    (void)std::puts("drydock " DRYDOCK_VERSION);
    return 0;
  }
  take(words, options);
  fairlead::log::set_level(options.verbose ? fairlead::log::Level::kDebug : fairlead::log::Level::kWarn);
  return drydock::run_command(options);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run_main(argc, argv);
  } catch (const std::exception& e) {
    (void)std::fprintf(stderr, "drydock: %s\n", e.what());
    return drydock::kExitFailed;
  }
}
