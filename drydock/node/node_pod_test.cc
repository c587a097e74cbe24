// SPDX-License-Identifier: Apache-2.0
// Pods without claims on a real node: namespaces, images, network and every OCI runtime that is installed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <string>

#include "drydock/node/isolation.h"
#include "drydock/node/machine_state.h"
#include "drydock/node/pod_instance.h"
#include "fairlead/core/mutex.h"
#include "fairlead/core/pinned.h"
#include "fairlead/sys/files.h"

namespace drydock {
namespace {

using ::testing::IsEmpty;

const std::string kCgroup = "drydock-test-" + std::to_string(::getpid());

/// What the body of a node wants to tell the test outside: the first failed expectation.
class Report : private fairlead::Pinned {
 public:
  Report() : file_(::testing::TempDir() + "drydock-node-" + std::to_string(::getpid())) {}
  ~Report() { (void)fairlead::sys::remove_file(file_); }
  int fail(const std::string& why) const {
    (void)fairlead::sys::rewrite_file(file_, why);
    return 1;
  }
  [[nodiscard]] std::string text() const {
    const auto text = fairlead::sys::read_file_if_exists(file_);
    return text && *text ? **text : "";
  }

 private:
  std::string file_;
};

std::string pod_json(const std::string& script, const std::string& image) {
  return R"({"metadata": {"name": "one", "namespace": "default", "uid": "11111111-2222-3333-4444-555555555555"},
    "spec": {"nodeName": "node-a", "restartPolicy": "Never", "volumes": [{"name": "scratch", "emptyDir": {}}],
      "containers": [{"name": "main", "image": ")" +
         image + R"(", "command": ["sh", "-c", ")" + script + R"("],
        "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
        "env": [{"name": "ME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]}]}})";
}

struct PodOutcome {
  std::string output;
  int code = -1;
};

Result<PodOutcome> run_pod(NodeServices& services, const std::string& json) {
  FL_ASSIGN(auto pod, parse_pod(json));
  fairlead::Mutex mutex;
  PodOutcome out;
  PodInstance instance(services, pod, [&](const OutputLine& line) {
    const fairlead::Lock lock(mutex);
    out.output += line.text + "\n";
  });
  FL_TRY(instance.make_sandbox());
  FL_TRY(instance.start_container(pod.containers[0], {}));
  FL_ASSIGN(const bool ended, instance.wait(-1));
  out.code = ended ? instance.states()[0].exit->code : -1;
  FL_TRY(instance.stop_containers(std::chrono::seconds(5)));
  FL_TRY(instance.remove_sandbox());
  return out;
}

Result<PodOutcome> run_pod_on_new_node(const std::string& runtime_name, const std::string& json) {
  NodeServices services;
  FL_TRY(lay_out_node_folders(services.paths), "lay out");
  FL_TRY(adopt_orphans());
  FL_ASSIGN(const auto network, NodeNetwork::create({}, services.paths.netns), "network");
  FL_ASSIGN(auto runtime, Runtime::find(runtime_name, services.paths.runtime, kCgroup));
  ImageStore images(services.paths.images, {});
  CdiRegistry cdi({services.paths.static_cdi, services.paths.cdi});
  services.runtime = &runtime;
  services.images = &images;
  services.network = network.get();
  services.cdi = &cdi;
  FL_ASSIGN(const auto before, NodeNetwork::links());
  FL_ASSIGN(auto outcome, run_pod(services, json));
  FL_ASSIGN(const auto after, NodeNetwork::links());
  FL_ASSIGN(const auto sandboxes, fairlead::sys::list_dir(services.paths.netns));
  FL_ASSIGN(const auto bundles, fairlead::sys::list_dir(services.paths.bundles));
  if (before != after || !sandboxes.empty() || !bundles.empty()) {
    return Error(Code::kInternal, "something of the pod is left on the node");
  }
  return outcome;
}

class NodePod : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) {
      GTEST_SKIP() << "a node needs root";
    }
    if (!find_program({GetParam()})) {
      GTEST_SKIP() << GetParam() << " is not installed";
    }
  }
};

TEST_P(NodePod, RunsAndLeavesTheMachineAsItWas) {
  const Report report;
  const auto before = MachineState::read(kCgroup);
  ASSERT_TRUE(before);
  const auto code = run_isolated("node-a", [&] {
    const auto outcome =
        run_pod_on_new_node(GetParam(), pod_json("echo $ME at $IP; hostname; ip -o link | wc -l; touch "
                                                 "/scratch/x /root/y; ping -c1 -W5 198.18.0.1 "
                                                 ">/dev/null && echo world; ls /sys/class/net; exit 7",
                                                 "docker.io/library/busybox:1.36"));
    if (!outcome) {
      return report.fail(outcome.error().what());
    }
    const std::string want = "one at 10.85.0.2\none\n2\nworld\neth0\nlo\n";
    return outcome->code == 7 && outcome->output == want ? 0 : report.fail(outcome->output);
  });
  ASSERT_TRUE(code) << code.error().what();
  EXPECT_EQ(*code, 0) << report.text();
  const auto after = MachineState::read(kCgroup);
  ASSERT_TRUE(after);
  EXPECT_THAT(differences(*before, *after), IsEmpty());
}

TEST_P(NodePod, Iproute2Image_HasTheRealIp) {
  const Report report;
  const auto code = run_isolated("node-a", [&] {
    const auto outcome =
        run_pod_on_new_node(GetParam(), pod_json("ip -brief address show dev eth0", "iproute2"));
    if (!outcome) {
      return report.fail(outcome.error().what());
    }
    return outcome->code == 0 && outcome->output.find("10.85.0.2/24") != std::string::npos
               ? 0
               : report.fail(outcome->output);
  });
  ASSERT_TRUE(code) << code.error().what();
  EXPECT_EQ(*code, 0) << report.text();
}

TEST_P(NodePod, ProgramThatIsNotThere_FailsWithTheRuntimesWords) {
  const Report report;
  const auto code = run_isolated("node-a", [&] {
    const auto json = R"({"metadata": {"name": "one", "uid": "11111111-2222"},
      "spec": {"containers": [{"name": "main", "image": "busybox", "command": ["/no/such"]}]}})";
    const auto outcome = run_pod_on_new_node(GetParam(), json);
    return !outcome && outcome.error().what().find("/no/such") != std::string::npos
               ? 0
               : report.fail(outcome ? "it ran" : outcome.error().what());
  });
  ASSERT_TRUE(code) << code.error().what();
  EXPECT_EQ(*code, 0) << report.text();
}

INSTANTIATE_TEST_SUITE_P(Runtimes, NodePod, ::testing::Values("crun", "runc"),
                         [](const auto& param_info) { return std::string(param_info.param); });

}  // namespace
}  // namespace drydock
