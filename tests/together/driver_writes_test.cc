// SPDX-License-Identifier: Apache-2.0
// What a driver tells people goes through its own client into this API server: status of claims, events.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "drydock/cluster/api_server.h"
#include "drydock/cluster/testing/test_client.h"
#include "drydock/cluster/testing/test_objects.h"
#include "fairlead/dra/reports/claim_reporter.h"
#include "fairlead/dra/reports/pod_events.h"
#include "fairlead/kube/client.h"

namespace drydock {
namespace {

using namespace std::chrono_literals;
namespace dra = fairlead::dra;
namespace kube = fairlead::kube;

constexpr const char* kDriver = "d.example";

class DriverWritesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(store_.create(kinds::kNamespace, "", {{"metadata", {{"name", "default"}}}}));
    ASSERT_TRUE(server_.start());
    kube::ClientConfig config;
    config.server = "https://127.0.0.1:" + std::to_string(server_.port());
    config.ca.text = server_.ca_pem();
    config.token = server_.token();
    auto client =
        kube::Client::open(config, {.qps = 0, .observer = [this](const kube::RequestRecord& record) {
                                      refused_ += record.code == 0 ? 1 : 0;
                                    }});
    ASSERT_TRUE(client) << client.error().what();
    client_ = *std::move(client);
    status_api_ = dra::make_claim_status_api(*client_, kDriver);
  }

  /// A record of an allocated claim default/c with the devices a and b.
  dra::ClaimRecord claim() {
    const Json request = testing::exactly("nic", {{"deviceClassName", "c"}});
    (void)store_.create(kinds::kResourceClaim, "default", testing::claim("c", Json::array({request})));
    dra::ClaimRecord record;
    (void)store_.modify(kinds::kResourceClaim, "default", "c", Part::kStatus, [&](Json& object) {
      Json results = Json::array();
      for (const char* name : {"a", "b"}) {
        results.push_back({{"request", "nic"}, {"driver", kDriver}, {"pool", "p"}, {"device", name}});
        record.claim.devices.emplace_back();
        record.claim.devices.back().pool = "p";
        record.claim.devices.back().device = name;
      }
      object["status"]["allocation"]["devices"]["results"] = results;
      return true;
    });
    record.state = dra::ClaimState::kPrepared;
    record.claim.namespace_ = "default";
    record.claim.name = "c";
    record.claim.uid = stored()["metadata"]["uid"];
    record.claim.reserved_for = {{.name = "web", .uid = "web-uid"}};
    return record;
  }
  std::unique_ptr<dra::ClaimReporter> reporter_of(const dra::ClaimRecord& record) {
    dra::ClaimReporter::Options options;
    options.driver_name = kDriver;
    auto reporter = std::make_unique<dra::ClaimReporter>(
        options, *status_api_, [record](const std::string&) { return std::optional(record); }, metrics_);
    reporter->start();
    return reporter;
  }
  Json stored() { return *store_.get(kinds::kResourceClaim, "default", "c"); }
  template <class Condition>
  static bool eventually(Condition condition) {
    const auto until = std::chrono::steady_clock::now() + 60s;
    while (!condition() && std::chrono::steady_clock::now() < until) {
      std::this_thread::yield();
    }
    return condition();
  }
  [[nodiscard]] int patches() const {
    int count = 0;
    for (const auto& request : server_.requests()) {
      count += request.method == "PATCH" ? 1 : 0;
    }
    return count;
  }

  std::atomic<int> refused_ = 0;
  Store store_;
  ApiServer server_{store_, {.bookmark_interval = 50ms}};
  std::unique_ptr<kube::Client> client_;
  std::unique_ptr<dra::ClaimStatusApi> status_api_;
  dra::Metrics metrics_{kDriver, "1"};
};

TEST_F(DriverWritesTest, Report_StandsInTheStatus_AndIsNotWrittenAgainAfterARestart) {
  const auto record = claim();
  const dra::DeviceReport up{.ready = true,
                             .unknown = false,
                             .reason = "Attached",
                             .message = "net1 is in the pod",
                             .interface_name = "net1",
                             .ips = {"10.0.0.5/24", "2001:db8::1/64"},
                             .hardware_address = "02:00:00:00:00:01"};
  const dra::DeviceReport down{.ready = false, .unknown = false, .reason = "LinkDown"};
  auto reporter = reporter_of(record);
  reporter->report(record.claim.uid, {up, down});
  ASSERT_TRUE(eventually([&] { return stored()["status"].contains("devices"); }));
  const Json devices = stored()["status"]["devices"];
  ASSERT_EQ(devices.size(), 2U);
  EXPECT_EQ(devices[0]["conditions"][0]["status"], "True");
  EXPECT_EQ(devices[0]["networkData"]["interfaceName"], "net1");
  EXPECT_EQ(devices[0]["networkData"]["ips"], (Json{"10.0.0.5/24", "2001:db8::1/64"}));
  EXPECT_EQ(devices[1]["conditions"][0]["reason"], "LinkDown");
  ASSERT_EQ(patches(), 1);

  reporter = reporter_of(record);
  server_.clear_requests();
  reporter->report(record.claim.uid, {up, down});
  ASSERT_TRUE(eventually([&] { return !server_.requests().empty(); }));
  reporter->report(record.claim.uid, {up, up});
  ASSERT_TRUE(
      eventually([&] { return stored()["status"]["devices"][1]["conditions"][0]["status"] == "True"; }));
  EXPECT_EQ(patches(), 1) << "only the change";
  EXPECT_EQ(stored()["status"]["devices"][0], devices[0]) << "its transition time too";

  reporter->report(record.claim.uid, {});
  EXPECT_TRUE(eventually([&] { return stored()["status"].value("devices", Json::array()).empty(); }));
}

TEST_F(DriverWritesTest, ServerStoppedAndStarted_GetsTheReport) {
  const auto record = claim();
  const auto reporter = reporter_of(record);
  server_.stop();
  dra::DeviceReport report;
  report.ready = true;
  reporter->report(record.claim.uid, {report, report});
  ASSERT_TRUE(eventually([&] { return refused_ >= 3; }));
  ASSERT_TRUE(server_.start());
  EXPECT_TRUE(eventually([&] { return stored()["status"].contains("devices"); }));
}

TEST_F(DriverWritesTest, Event_IsCreatedAndCountsUp) {
  const auto api = dra::make_event_api(*client_);
  dra::EventBook::Options options;
  options.component = kDriver;
  options.host = "node-1";
  options.first_distance = 1ms;
  dra::PodEvents events(options, *api, metrics_);
  events.start();
  const auto record = claim();
  const auto all = [&] { return store_.all(kinds::kEvent, {}); };
  events.tell(record.claim, "FailedPrepareClaim", "no parent eth9");
  ASSERT_TRUE(eventually([&] { return all().size() == 1; }));
  events.tell(record.claim, "FailedPrepareClaim", "no parent eth9");
  ASSERT_TRUE(eventually([&] { return all().at(0)["count"] == 2; }));
  ASSERT_EQ(all().size(), 1U);
  const Json event = all().at(0);
  EXPECT_EQ(event["involvedObject"]["kind"], "Pod");
  EXPECT_EQ(event["involvedObject"]["uid"], "web-uid");
  EXPECT_EQ(event["message"], "no parent eth9");
  EXPECT_EQ(event["source"], (Json{{"component", kDriver}, {"host", "node-1"}}));
}

}  // namespace
}  // namespace drydock
