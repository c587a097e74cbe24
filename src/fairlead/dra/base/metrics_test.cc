// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/base/metrics.h"

#include <gmock/gmock.h>

#include <thread>
#include <vector>

namespace fairlead::dra {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(Metrics, SeriesExistFromTheStart) {
  const Metrics metrics("dra.example.com", "0.1.0");
  const std::string text = metrics.text();
  EXPECT_THAT(text, HasSubstr("# HELP fairlead_dra_claims_prepared Claims that are prepared now.\n"
                              "# TYPE fairlead_dra_claims_prepared gauge\n"
                              "fairlead_dra_claims_prepared{driver=\"dra.example.com\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("fairlead_dra_build_info{driver=\"dra.example.com\",version=\"0.1.0\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("fairlead_dra_claim_calls_total{driver=\"dra.example.com\",call=\"prepare\","
                              "result=\"error\"} 0\n"));
}

TEST(Metrics, ClaimFinished_CountsErrorsByCode_AndTimes) {
  Metrics metrics("d", "v");
  metrics.claim_finished(Metrics::Call::kPrepare, std::nullopt, Metrics::Seconds(0.003));
  metrics.claim_finished(Metrics::Call::kPrepare, Code::kInvalid, Metrics::Seconds(0.5));
  metrics.claim_finished(Metrics::Call::kPrepare, Code::kInvalid, Metrics::Seconds(100));
  const std::string text = metrics.text();
  const std::string labels = "{driver=\"d\",call=\"prepare\"";
  EXPECT_THAT(text, HasSubstr("fairlead_dra_claim_calls_total" + labels + ",result=\"ok\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("fairlead_dra_claim_calls_total" + labels + ",result=\"error\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("fairlead_dra_claim_errors_total" + labels + ",code=\"invalid\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("fairlead_dra_claim_duration_seconds_bucket" + labels + ",le=\"0.0025\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("fairlead_dra_claim_duration_seconds_bucket" + labels + ",le=\"0.005\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("fairlead_dra_claim_duration_seconds_bucket" + labels + ",le=\"0.5\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("fairlead_dra_claim_duration_seconds_bucket" + labels + ",le=\"45\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("fairlead_dra_claim_duration_seconds_bucket" + labels + ",le=\"+Inf\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("fairlead_dra_claim_duration_seconds_sum" + labels + "} 100.503\n"));
  EXPECT_THAT(text, HasSubstr("fairlead_dra_claim_duration_seconds_count" + labels + "} 3\n"));
}

TEST(Metrics, EveryCounter_ShowsInTheText) {
  Metrics metrics("d", "v");
  metrics.set_claims_prepared(3);
  metrics.set_devices_published(129);
  metrics.set_slices_published(2);
  metrics.record_quarantined();
  metrics.record_unreadable();
  metrics.registration_finished(true);
  metrics.registration_finished(false);
  metrics.set_registered(true);
  metrics.discovery_failed();
  metrics.slice_written("create", "ok");
  metrics.slice_written("update", "conflict");
  metrics.slice_repaired();
  metrics.field_dropped();
  metrics.invalid_left_out("attribute");
  metrics.kube_request("list", "resourceslices", 200, Metrics::Seconds(0.02));
  metrics.kube_request("list", "resourceslices", 0, Metrics::Seconds(5));
  metrics.kube_request("watch", "resourceslices", 200, Metrics::Seconds(300));
  metrics.status_written("ok");
  metrics.event_written("dropped");
  metrics.operation_finished("attach", "nri", std::nullopt, Metrics::Seconds(0.0015));
  metrics.operation_finished("attach", "nri", Code::kBusy, Metrics::Seconds(0.2));
  const std::string text = metrics.text();
  for (const char* line :
       {"claims_prepared{driver=\"d\"} 3",
        "devices_published{driver=\"d\"} 129",
        "slices_published{driver=\"d\"} 2",
        "records_quarantined_total{driver=\"d\"} 1",
        "record_read_errors_total{driver=\"d\"} 1",
        "registrations_total{driver=\"d\",result=\"ok\"} 1",
        "registrations_total{driver=\"d\",result=\"failed\"} 1",
        "registered{driver=\"d\"} 1",
        "discovery_failures_total{driver=\"d\"} 1",
        "slice_writes_total{driver=\"d\",result=\"ok\",verb=\"create\"} 1",
        "slice_writes_total{driver=\"d\",result=\"conflict\",verb=\"update\"} 1",
        "slice_repairs_total{driver=\"d\"} 1",
        "dropped_fields_total{driver=\"d\"} 1",
        "invalid_left_out_total{driver=\"d\",what=\"attribute\"} 1",
        "kube_requests_total{driver=\"d\",code=\"200\",resource=\"resourceslices\",verb=\"list\"} 1",
        "kube_requests_total{driver=\"d\",code=\"0\",resource=\"resourceslices\",verb=\"list\"} 1",
        "kube_request_duration_seconds_count{driver=\"d\",resource=\"resourceslices\",verb=\"list\"} 2",
        "kube_requests_total{driver=\"d\",code=\"200\",resource=\"resourceslices\",verb=\"watch\"} 1",
        "status_writes_total{driver=\"d\",result=\"ok\"} 1",
        "events_total{driver=\"d\",result=\"dropped\"} 1",
        "operation_duration_seconds_bucket{driver=\"d\",operation=\"attach\",via=\"nri\",le=\"0.002\"} 1",
        "operation_duration_seconds_count{driver=\"d\",operation=\"attach\",via=\"nri\"} 2",
        "operation_errors_total{driver=\"d\",code=\"busy\",operation=\"attach\",via=\"nri\"} 1"}) {
    EXPECT_THAT(text, HasSubstr("\nfairlead_dra_" + std::string(line) + "\n"));
  }
  EXPECT_THAT(
      text,
      Not(HasSubstr("duration_seconds_count{driver=\"d\",resource=\"resourceslices\",verb=\"watch\"}")));
}

TEST(Metrics, LabelValues_AreEscaped) {
  Metrics metrics("d", "a\"b\\c\nd");
  EXPECT_THAT(metrics.text(), HasSubstr("version=\"a\\\"b\\\\c\\nd\"} 1\n"));
}

TEST(Metrics, ManyThreads) {
  Metrics metrics("d", "v");
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 1000; ++n) {
        metrics.slice_repaired();
        metrics.claim_finished(Metrics::Call::kUnprepare, std::nullopt, Metrics::Seconds(0));
      }
      (void)metrics.text();
    });
  }
  threads.clear();
  EXPECT_THAT(metrics.text(), HasSubstr("slice_repairs_total{driver=\"d\"} 4000\n"));
}

}  // namespace
}  // namespace fairlead::dra
