// SPDX-License-Identifier: Apache-2.0
// The kubelet and the control plane together, without pods: who deletes ResourceSlices, and when.
#include "drydock/node/kubelet.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <thread>

#include "drydock/node/testing/fake_plugin.h"
#include "drydock/node/testing/temp_folder.h"

namespace drydock {
namespace {

using namespace std::chrono_literals;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class KubeletSlices : public ::testing::Test {
 protected:
  void SetUp() override {
    auto cluster = Cluster::start({.node_name = "node-a"});
    ASSERT_TRUE(cluster) << cluster.error().what();
    cluster_ = *std::move(cluster);
    ASSERT_TRUE(fairlead::sys::make_dirs(folder_.path() + "/r"));
  }
  void start() {
    auto kubelet = Kubelet::start({.cluster = cluster_.get(),
                                   .console = &console_,
                                   .services = {},
                                   .pods = {},
                                   .plugins = {.registry = folder_.path() + "/r", .wipe_delay = 50ms}});
    ASSERT_TRUE(kubelet) << kubelet.error().what();
    kubelet_ = *std::move(kubelet);
  }
  void publish(const std::string& driver, const std::string& node) {
    const auto made =
        cluster_->store().create(kinds::kResourceSlice, "",
                                 {{"apiVersion", "resource.k8s.io/v1"},
                                  {"kind", "ResourceSlice"},
                                  {"metadata", {{"name", node + "-" + driver}}},
                                  {"spec",
                                   {{"driver", driver},
                                    {"nodeName", node},
                                    {"pool", {{"name", node}, {"generation", 1}, {"resourceSliceCount", 1}}},
                                    {"devices", Json::array({{{"name", "d0"}}})}}}});
    ASSERT_TRUE(made) << made.error().message;
  }
  [[nodiscard]] std::vector<std::string> slices() {
    std::vector<std::string> out;
    for (const auto& slice : cluster_->store().all(kinds::kResourceSlice)) {
      out.push_back(slice["metadata"]["name"]);
    }
    return out;
  }
  template <class Condition>
  [[nodiscard]] static bool eventually(const Condition& condition) {
    const auto deadline = std::chrono::steady_clock::now() + 15s;
    while (!condition() && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::yield();
    }
    return condition();
  }
  [[nodiscard]] FakePlugin::Settings settings() const {
    FakePlugin::Settings out;
    out.registration_socket = folder_.path() + "/r/test-reg.sock";
    out.endpoint = folder_.path() + "/dra.sock";
    return out;
  }

  TempFolder folder_;
  Console console_{-1, Console::Colour::kNever, Console::Amount::kNothing};
  std::unique_ptr<Cluster> cluster_;
  std::unique_ptr<Kubelet> kubelet_;
};

TEST_F(KubeletSlices, Start_DeletesThoseOfThisNodeOnly) {
  publish("test.example.com", "node-a");
  publish("other.example.com", "node-a");
  publish("test.example.com", "node-b");
  start();
  EXPECT_THAT(slices(), UnorderedElementsAre("node-b-test.example.com"));
}

TEST_F(KubeletSlices, DriverThatIsGone_LosesItsOwnAfterTheDelay) {
  start();
  {
    const FakePlugin plugin(settings());
    ASSERT_TRUE(eventually([&] {
      const auto found = kubelet_->plugins().plugin("test.example.com");
      return !kubelet_->sockets().empty() && found && found->connected();
    }));
    publish("test.example.com", "node-a");
    publish("other.example.com", "node-a");
  }
  EXPECT_TRUE(eventually([&] { return slices().size() == 1; }));
  EXPECT_THAT(slices(), UnorderedElementsAre("node-a-other.example.com"));
  EXPECT_THAT(kubelet_->sockets(), IsEmpty());
}

}  // namespace
}  // namespace drydock
