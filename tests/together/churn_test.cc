// SPDX-License-Identifier: Apache-2.0
// A thousand claims come, are attached and go, through the whole agent: the kubelet's calls by gRPC, the API
// server by HTTPS, interfaces in a pod's namespace. What the process holds at the end is what it held after
// the first few: descriptors, files, links, memory, and writes to the API server that nobody asked for.
// Counts only, no times.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "drydock/cluster/api_server.h"
#include "drydock/cluster/testing/test_objects.h"
#include "drydock/node/dra_plugin.h"
#include "fairlead/agent/testing/kernel_fixture.h"
#include "fairlead/agent/ways/attach_ways.h"
#include "fairlead/core/pinned.h"
#include "fairlead/dra/plugin/plugin.h"
#include "fairlead/sys/files.h"

namespace fairlead {
namespace {

using namespace std::chrono_literals;
using drydock::Json;

constexpr const char* kDriver = "net.example.com";
constexpr const char* kNode = "node-1";
constexpr int kWave = 50;   // claims that are there at the same time
constexpr int kWaves = 20;  // a thousand claims
constexpr int kWarmUp = 4;  // waves until all that is kept for ever is there

std::string name_of(int claim) { return "c" + std::to_string(claim); }

/// A claim of two interfaces, as the scheduler leaves it: a macvlan and a veth whose host end is on the node.
void put_claim(drydock::Store& store, int number) {
  const std::string index = std::to_string(number % kWave);
  Json requests = Json::array();
  Json results = Json::array();
  Json configs = Json::array();
  const std::vector<std::pair<std::string, Json>> devices = {
      {"data", {{"kind", "macvlan"}, {"master", "eth0"}, {"interfaceName", "data" + index}}},
      {"ctrl", {{"kind", "veth"}, {"interfaceName", "ctrl" + index}}}};
  for (const auto& [request, netdev] : devices) {
    requests.push_back(drydock::testing::exactly(request, {{"deviceClassName", "network-devices"}}));
    results.push_back({{"request", request},
                       {"driver", kDriver},
                       {"pool", kNode},
                       {"device", "netdev-virtual"},
                       {"shareID", "11111111-2222-4333-8444-" + std::to_string(100'000'000'000 + number * 2 +
                                                                               (request == "data" ? 0 : 1))},
                       {"consumedCapacity", {{"slots", "1"}}}});
    configs.push_back(
        {{"source", "FromClaim"},
         {"requests", {request}},
         {"opaque", {{"driver", kDriver}, {"parameters", {{"type", "netdev"}, {"netdev", netdev}}}}}});
  }
  (void)store.create(drydock::kinds::kResourceClaim, "default",
                     drydock::testing::claim(name_of(number), requests));
  (void)store.modify(
      drydock::kinds::kResourceClaim, "default", name_of(number), drydock::Part::kStatus, [&](Json& object) {
        object["status"]["allocation"]["devices"] = {{"results", results}, {"config", configs}};
        object["status"]["reservedFor"] =
            Json::array({{{"resource", "pods"}, {"name", "web"}, {"uid", "web-uid"}}});
        return true;
      });
}

/// An API server in a process of its own, so that what it remembers is not taken for ours.
class FarApiServer : private Pinned {
 public:
  FarApiServer() {
    if (::pipe2(said_, O_CLOEXEC) != 0 || ::pipe2(end_, O_CLOEXEC) != 0) {
      return;
    }
    pid_ = ::fork();
    if (pid_ == 0) {
      (void)::close(end_[1]);
      serve();
    }
    (void)::close(said_[1]);
    (void)::close(end_[0]);
    char byte = 0;
    while (::read(said_[0], &byte, 1) == 1 && byte != '\0') {
      kubeconfig_ += byte;
    }
    std::string uid;
    while (uids_.size() < static_cast<std::size_t>(kWave * kWaves) && ::read(said_[0], &byte, 1) == 1) {
      if (byte == '\n') {
        uids_.push_back(std::exchange(uid, {}));
      } else {
        uid += byte;
      }
    }
  }
  ~FarApiServer() {
    (void)::close(end_[1]);
    (void)::close(said_[0]);
    (void)::waitpid(pid_, nullptr, 0);
  }

  [[nodiscard]] const std::string& kubeconfig() const { return kubeconfig_; }
  [[nodiscard]] const std::vector<std::string>& uids() const { return uids_; }  // of the claims, by number

 private:
  [[noreturn]] void serve() {
    drydock::Store store;
    (void)store.create(drydock::kinds::kNamespace, "", {{"metadata", {{"name", "default"}}}});
    (void)store.create(drydock::kinds::kNode, "", {{"metadata", {{"name", kNode}}}});
    std::string text;
    for (int i = 0; i < kWave * kWaves; ++i) {
      put_claim(store, i);
      text += (*store.get(drydock::kinds::kResourceClaim, "default", name_of(i)))["metadata"]["uid"]
                  .get<std::string>() +
              "\n";
    }
    drydock::ApiServer server(store, {});
    if (!server.start()) {
      ::_exit(1);
    }
    text = server.kubeconfig() + '\0' + text;
    (void)!::write(said_[1], text.data(), text.size());
    char byte = 0;
    (void)!::read(end_[0], &byte, 1);  // until the test ends, however it does
    ::_exit(0);
  }

  int said_[2] = {-1, -1};  // NOLINT(modernize-avoid-c-arrays): pipe2
  int end_[2] = {-1, -1};   // NOLINT(modernize-avoid-c-arrays)
  pid_t pid_ = -1;
  std::string kubeconfig_;
  std::vector<std::string> uids_;
};

struct Holdings {
  std::size_t descriptors = 0;
  std::size_t heap = 0;
  std::vector<std::string> files, links;
};

class Churn : public agent::KernelTest {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) {
      return;
    }
    ASSERT_OK(node_->set_up(link(*node_, "lo").index));
    ASSERT_NE(::mkdtemp(dir_.data()), nullptr);
    api_ = std::make_unique<FarApiServer>();
    ASSERT_EQ(api_->uids().size(), static_cast<std::size_t>(kWave * kWaves))
        << "the API server did not start";
    ASSERT_OK(sys::replace_file(dir_, "kubeconfig", api_->kubeconfig()));
    start_agent();
  }
  void TearDown() override {
    kubelet_.reset();
    plugin_.reset();
    api_.reset();
    (void)sys::remove_tree(dir_);
  }

  /// As in app/cmd_run.cc.
  void start_agent() {
    agent::NetDriverOptions options{.guard_path = "/opt/fairlead-guard",
                                    .guard_socket = dir_ + "/state/guard.sock"};
    options.node = {.driver_name = kDriver, .mode = mode_, .kinds_of_kernel = kinds_};
    options.ways.emplace();
    dra::PluginOptions plugin;
    plugin.driver_name = kDriver;
    plugin.node_name = kNode;
    plugin.kubeconfig = dir_ + "/kubeconfig";
    plugin.registry_dir = dir_ + "/registry";
    plugin.plugin_dir = dir_ + "/plugin";
    plugin.cdi_dir = dir_ + "/cdi";
    plugin.state_dir = dir_ + "/state";
    plugin.kube_qps = 100'000;
    auto created =
        dra::Plugin::create(std::move(plugin), [&](dra::Host& host) -> Result<std::unique_ptr<dra::Driver>> {
          auto driver = agent::NetDriver::create(host, options, registry_);
          driver_ = driver ? driver->get() : nullptr;
          return driver;
        });
    ASSERT_OK(created);
    plugin_ = *std::move(created);
    ASSERT_OK(plugin_->start());
    kubelet_ = std::make_unique<drydock::DraPlugin>(
        drydock::DraPlugin::Settings{.driver = kDriver, .endpoint = dir_ + "/plugin/dra.sock"});
    ASSERT_TRUE(eventually([&] { return kubelet_->connected(); }));
    ASSERT_TRUE(eventually([&] { return counted("slice_writes_total", R"(verb="create")") == 1; }));
  }

  template <class Condition>
  static bool eventually(Condition condition) {
    const auto until = std::chrono::steady_clock::now() + 120s;
    while (!condition() && std::chrono::steady_clock::now() < until) {
      std::this_thread::sleep_for(20ms);
    }
    return condition();
  }

  /// The sum of a counter's series whose labels contain this.
  [[nodiscard]] long counted(const std::string& metric, const std::string& labels = "") const {
    std::istringstream lines(plugin_->metrics_text());
    long sum = 0;
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with("fairlead_dra_" + metric + "{") && line.find(labels) != std::string::npos) {
        sum += std::lround(std::stod(line.substr(line.rfind(' '))));
      }
    }
    return sum;
  }
  [[nodiscard]] long api_writes() const {
    long sum = 0;
    for (const char* verb : {"create", "update", "patch", "delete"}) {
      sum += counted("kube_requests_total", "verb=\"" + std::string(verb) + "\"");
    }
    return sum;
  }

  Holdings holdings() {
    Holdings now;
    for ([[maybe_unused]] const auto& each : std::filesystem::directory_iterator("/proc/self/fd")) {
      ++now.descriptors;
    }
    for (const auto& each : std::filesystem::recursive_directory_iterator(dir_)) {
      now.files.push_back(each.path().string());
    }
    std::ranges::sort(now.files);
    now.links = node_names();
    now.heap = ::mallinfo2().uordblks;
    return now;
  }

  /// Claims come together, are attached by the guard's way in, reported, and go together.
  void wave(int number) {
    std::vector<drydock::ClaimId> ids;
    for (int i = number * kWave; i < (number + 1) * kWave; ++i) {
      ids.push_back(
          {.namespace_ = "default", .name = name_of(i), .uid = api_->uids().at(static_cast<std::size_t>(i))});
    }
    const long reported = counted("status_writes_total", R"(result="ok")");
    const auto prepared = kubelet_->prepare(ids);
    ASSERT_OK(prepared);
    for (const auto& [uid, answer] : *prepared) {
      ASSERT_EQ(answer.error, "");
      ASSERT_OK(driver_->attach_service().attach({.via = agent::AttachVia::kGuard,
                                                  .claim_uid = uid,
                                                  .netns = pod_.netns.get(),
                                                  .sandbox = "",
                                                  .container = "container",
                                                  .deadline = std::chrono::steady_clock::now() + 60s}));
    }
    ASSERT_EQ(names(*pod_.socket).size(), 1U + (2U * kWave)) << "lo, and two for each claim";
    ASSERT_TRUE(
        eventually([&] { return counted("status_writes_total", R"(result="ok")") == reported + kWave; }));
    const auto unprepared = kubelet_->unprepare(ids);
    ASSERT_OK(unprepared);
    for (const auto& [uid, answer] : *unprepared) {
      ASSERT_EQ(answer.error, "");
    }
    ASSERT_EQ(names(*pod_.socket).size(), 1U);
  }

  std::string dir_ = ::testing::TempDir() + "fl-churn-XXXXXX";
  std::unique_ptr<FarApiServer> api_;
  agent::NetDriver* driver_ = nullptr;  // the plugin's
  std::unique_ptr<dra::Plugin> plugin_;
  std::unique_ptr<drydock::DraPlugin> kubelet_;
};

TEST_F(Churn, AThousandClaims_LeaveTheProcessAsItWas) {
  // One record that nobody can read, and one that is damaged: they are nobody else's trouble.
  ASSERT_OK(sys::make_dirs(dir_ + "/state/claims/unreadable.json"));
  ASSERT_OK(sys::replace_file(dir_ + "/state/claims", "damaged.json", "{"));
  for (int i = 0; i < kWarmUp; ++i) {
    ASSERT_NO_FATAL_FAILURE(wave(i));
  }
  const Holdings before = holdings();
  const long writes = api_writes();
  const long of_slices = counted("slice_writes_total");
  for (int i = kWarmUp; i < kWaves; ++i) {
    ASSERT_NO_FATAL_FAILURE(wave(i));
  }
  const Holdings after = holdings();
  EXPECT_EQ(after.files, before.files);
  EXPECT_EQ(after.links, before.links);
  EXPECT_LE(after.descriptors, before.descriptors + 8) << "connections that are kept for the next request";
  EXPECT_EQ(counted("slice_writes_total"), of_slices) << "nothing of the node has changed";
  EXPECT_EQ(api_writes() - writes, (kWaves - kWarmUp) * kWave) << "one for each claim's status";
  EXPECT_LE(counted("events_total"), 0);
  const auto grown = static_cast<long>(after.heap) - static_cast<long>(before.heap);
  // What threads keep for their next malloc() counts as used, and grows for a long while: CMakeLists.txt
  // switches that off.
  const bool exact =
      std::getenv("GLIBC_TUNABLES") != nullptr;  // NOLINT(concurrency-mt-unsafe): nobody sets it
  EXPECT_LT(grown, exact ? 1L << 18 : 1L << 20) << "a record that stays is some KiB, and 800 have come";
  RecordProperty("heap_grown", std::to_string(grown));
  RecordProperty("descriptors", std::to_string(after.descriptors));
}

}  // namespace
}  // namespace fairlead
