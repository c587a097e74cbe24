// SPDX-License-Identifier: Apache-2.0
// An NRI plugin for drydock's own tests: says what it is told, in its log, and misbehaves on request.
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "fairlead/rpc/nri/plugin.h"

namespace {

namespace rpc = fairlead::rpc;
using fairlead::Code;
using fairlead::Error;
using fairlead::Result;

struct Options {
  std::string socket, name = "test", index = "50", refuse, freeze, die;
  std::string reason = "no cable";
  int failures = 1000;
  std::vector<std::string> env;
};

void say(const std::string& text) {
  (void)std::puts(("nri " + text).c_str());
  (void)std::fflush(stdout);
}

std::string state_of(const rpc::NriPod& pod) {
  struct statfs info{};
  constexpr long kNsfs = 0x6e736673;
  const bool netns = !pod.netns.empty() && ::statfs(pod.netns.c_str(), &info) == 0 && info.f_type == kNsfs;
  const bool alive = pod.pid != 0 && ::kill(static_cast<pid_t>(pod.pid), 0) == 0;
  return " netns=" + std::string(pod.netns.empty() ? "none" : (netns ? "there" : "gone")) +
         " pid=" + (alive ? "alive" : "dead") + " ips=" + std::to_string(pod.ips.size());
}

std::string event_name(rpc::NriEvent event) {
  switch (event) {
    case rpc::NriEvent::kPostCreateContainer:
      return "PostCreateContainer";
    case rpc::NriEvent::kStartContainer:
      return "StartContainer";
    case rpc::NriEvent::kPostStartContainer:
      return "PostStartContainer";
    case rpc::NriEvent::kStopContainer:
      return "StopContainer";
    case rpc::NriEvent::kRemoveContainer:
      return "RemoveContainer";
    default:
      return "?";
  }
}

/// Stops all of this process for longer than the runtime waits.
void freeze() {
  const pid_t me = ::getpid();
  if (::fork() == 0) {
    (void)::sleep(3);
    (void)::kill(me, SIGCONT);
    ::_exit(0);
  }
  // To this thread: with kill() another one might take it, and this one would still answer.
  (void)::raise(SIGSTOP);
}

class Handler final : public rpc::NriHandler {
 public:
  explicit Handler(Options options) : options_(std::move(options)) {}
  void configured(const rpc::NriRuntime& runtime) override {
    say("Configure nri=" + (runtime.nri_version.empty() ? "old" : runtime.nri_version));
  }
  Result<> synchronize(const std::vector<rpc::NriPod>& pods, const std::vector<rpc::NriContainer>& containers,
                       const rpc::NriCall& /*call*/) override {
    return act("Synchronize",
               "pods=" + std::to_string(pods.size()) + " containers=" + std::to_string(containers.size()));
  }
  Result<> run_pod_sandbox(const rpc::NriPod& pod, const rpc::NriCall& /*call*/) override {
    return act("RunPodSandbox",
               pod.name + state_of(pod) +
                   " label=" + (pod.labels.contains("app") ? pod.labels.at("app") : "none") +
                   " annotation=" + (pod.annotations.contains("note") ? pod.annotations.at("note") : "none"));
  }
  Result<> stop_pod_sandbox(const rpc::NriPod& pod, const rpc::NriCall& /*call*/) override {
    return act("StopPodSandbox", pod.name + state_of(pod));
  }
  Result<> remove_pod_sandbox(const rpc::NriPod& pod, const rpc::NriCall& /*call*/) override {
    return act("RemovePodSandbox", pod.name + state_of(pod));
  }
  Result<rpc::NriAdjustment> create_container(const rpc::NriPod& pod, const rpc::NriContainer& container,
                                              const rpc::NriCall& /*call*/) override {
    FL_TRY(act("CreateContainer",
               pod.name + "/" + container.name + " cdi=" + std::to_string(container.cdi_devices.size())));
    rpc::NriAdjustment out;
    for (const auto& entry : options_.env) {
      out.env[entry.substr(0, entry.find('='))] = entry.substr(entry.find('=') + 1);
    }
    if (!options_.env.empty()) {
      out.mounts.push_back(
          {.destination = "/from-nri", .type = "bind", .source = "/usr", .options = {"rbind", "ro"}});
      out.devices.push_back(
          {.path = "/dev/nri-null", .type = "c", .major = 1, .minor = 3, .file_mode = 0666});
    }
    return out;
  }
  Result<> container_event(rpc::NriEvent event, const rpc::NriPod& pod, const rpc::NriContainer& container,
                           const rpc::NriCall& /*call*/) override {
    return act(event_name(event), pod.name + "/" + container.name);
  }
  void disconnected(const Error& why) override { say("disconnected: " + why.what()); }

 private:
  Result<> act(const std::string& event, const std::string& what) {
    say(event + " " + what);
    if (event == options_.die) {
      (void)::kill(::getpid(), SIGKILL);
    }
    const bool now = left_ > 0 && (event == options_.freeze || event == options_.refuse);
    left_ -= now ? 1 : 0;
    if (now && event == options_.freeze) {
      freeze();
    }
    return now && event == options_.refuse ? Result<>(Error(Code::kInternal, options_.reason)) : Result<>();
  }
  const Options options_;
  int left_ = options_.failures;
};

int run(int argc, char** argv) {
  CLI::App app("an NRI plugin for tests");
  Options options;
  app.add_option("--socket", options.socket)->required();
  app.add_option("--name", options.name);
  app.add_option("--index", options.index);
  app.add_option("--refuse", options.refuse);
  app.add_option("--reason", options.reason);
  app.add_option("--freeze", options.freeze);
  app.add_option("--die", options.die);
  app.add_option("--failures", options.failures);
  app.add_option("--env", options.env);
  CLI11_PARSE(app, argc, argv);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  (void)::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  Handler handler(options);
  using E = rpc::NriEvent;
  rpc::NriPluginOptions wanted;
  wanted.name = options.name;
  wanted.index = options.index;
  wanted.socket = options.socket;
  wanted.events = {E::kRunPodSandbox,      E::kStopPodSandbox,      E::kRemovePodSandbox,
                   E::kCreateContainer,    E::kPostCreateContainer, E::kStartContainer,
                   E::kPostStartContainer, E::kStopContainer,       E::kRemoveContainer};
  const auto plugin = rpc::NriPlugin::create(std::move(wanted), handler);
  if (!plugin) {
    say(plugin.error().what());
    return 1;
  }
  (*plugin)->start();
  int signal = 0;
  (void)::sigwait(&set, &signal);
  (*plugin)->stop();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& e) {
    (void)std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
