// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/base/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <sstream>
#include <utility>

namespace fairlead::dra {
namespace {

using prometheus::Labels;
using Counters = prometheus::Family<prometheus::Counter>;
using Gauges = prometheus::Family<prometheus::Gauge>;
using Histograms = prometheus::Family<prometheus::Histogram>;

/// Seconds, from one netlink exchange to the kubelet's own deadline of 45 s.
const prometheus::Histogram::BucketBoundaries& buckets() {
  static const prometheus::Histogram::BucketBoundaries boundaries = {
      0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 45};
  return boundaries;
}

/// Seconds, from a few netlink exchanges to the runtime's deadline for a plugin.
const prometheus::Histogram::BucketBoundaries& operation_buckets() {
  static const prometheus::Histogram::BucketBoundaries boundaries = {
      0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10};
  return boundaries;
}

std::string to_string(Metrics::Call call) {
  return call == Metrics::Call::kPrepare ? "prepare" : "unprepare";
}

}  // namespace

struct Metrics::Impl {
  Impl(std::string_view driver_name, std::string_view version)
      : driver{{"driver", std::string(driver_name)}} {
    gauges("fairlead_dra_build_info", "Always 1; the version is a label.")
        .Add({{"version", std::string(version)}})
        .Set(1);
    // Series that are always there, so that a first error is seen as a change from 0.
    for (const Call call : {Call::kPrepare, Call::kUnprepare}) {
      for (const char* result : {"ok", "error"}) {
        claim_calls.Add({{"call", to_string(call)}, {"result", result}});
      }
      claim_seconds.Add({{"call", to_string(call)}}, buckets());
    }
    for (const char* result : {"ok", "failed"}) {
      registrations.Add({{"result", result}});
    }
  }

  Counters& counters(const char* name, const char* help) {
    return prometheus::BuildCounter().Name(name).Help(help).Labels(driver).Register(registry);
  }
  Histograms& histograms(const char* name, const char* help) {
    return prometheus::BuildHistogram().Name(name).Help(help).Labels(driver).Register(registry);
  }
  Gauges& gauges(const char* name, const char* help) {
    return prometheus::BuildGauge().Name(name).Help(help).Labels(driver).Register(registry);
  }

  Labels driver;
  prometheus::Registry registry;
  Counters& claim_calls = counters("fairlead_dra_claim_calls_total", "Claims answered to the kubelet.");
  Counters& claim_errors = counters("fairlead_dra_claim_errors_total", "Claims answered with an error.");
  Histograms& claim_seconds = histograms("fairlead_dra_claim_duration_seconds", "Time to answer one claim.");
  Histograms& operation_seconds =
      histograms("fairlead_dra_operation_duration_seconds", "Time of the driver's own work.");
  Counters& operation_errors =
      counters("fairlead_dra_operation_errors_total", "The driver's own work that ended with an error.");
  Histograms& kube_seconds =
      histograms("fairlead_dra_kube_request_duration_seconds", "Time until the API server had answered.");
  Counters& events = counters("fairlead_dra_events_total", "Writes of Events at pods.");
  Counters& registrations =
      counters("fairlead_dra_registrations_total", "What the kubelet said of our registration.");
  Counters& slice_writes = counters("fairlead_dra_slice_writes_total", "Writes of ResourceSlices.");
  Counters& status_writes = counters("fairlead_dra_status_writes_total", "Writes of claims' status.devices.");
  Counters& left_out =
      counters("fairlead_dra_invalid_left_out_total", "What discover() gave and the API would not take.");
  Counters& kube_requests = counters("fairlead_dra_kube_requests_total",
                                     "Answers of the API server by HTTP status; code 0 is no answer.");
  prometheus::Counter& quarantined =
      counters("fairlead_dra_records_quarantined_total", "Claim records that could not be read.").Add({});
  prometheus::Counter& unreadable =
      counters("fairlead_dra_record_read_errors_total",
               "How often a claim record, or their folder, ceased to be readable for a while.")
          .Add({});
  prometheus::Counter& discovery_failures =
      counters("fairlead_dra_discovery_failures_total", "Calls of the driver's discover() that failed.")
          .Add({});
  prometheus::Counter& slice_repairs =
      counters("fairlead_dra_slice_repairs_total",
               "How often slices that others changed or deleted were put back.")
          .Add({});
  prometheus::Counter& dropped_fields =
      counters("fairlead_dra_dropped_fields_total",
               "Devices that the API server stored without something that was sent.")
          .Add({});
  prometheus::Gauge& claims_prepared =
      gauges("fairlead_dra_claims_prepared", "Claims that are prepared now.").Add({});
  prometheus::Gauge& claims_left_over =
      gauges("fairlead_dra_claims_left_over",
             "Prepared claims that are gone from the API server and whose pod may still run.")
          .Add({});
  prometheus::Gauge& devices =
      gauges("fairlead_dra_devices_published", "Devices in the published slices.").Add({});
  prometheus::Gauge& slices =
      gauges("fairlead_dra_slices_published", "ResourceSlices of this node and driver.").Add({});
  prometheus::Gauge& registered =
      gauges("fairlead_dra_registered", "1 while the kubelet has us registered.").Add({});
};

Metrics::Metrics(std::string_view driver_name, std::string_view version)
    : impl_(std::make_unique<Impl>(driver_name, version)) {}
Metrics::~Metrics() = default;

void Metrics::claim_finished(Call call, std::optional<Code> error, Seconds duration) {
  impl_->claim_calls.Add({{"call", to_string(call)}, {"result", error ? "error" : "ok"}}).Increment();
  if (error) {
    impl_->claim_errors.Add({{"call", to_string(call)}, {"code", std::string(fairlead::to_string(*error))}})
        .Increment();
  }
  impl_->claim_seconds.Add({{"call", to_string(call)}}, buckets()).Observe(duration.count());
}

void Metrics::set_claims_prepared(std::size_t count) {
  impl_->claims_prepared.Set(static_cast<double>(count));
}
void Metrics::set_claims_left_over(std::size_t count) {
  impl_->claims_left_over.Set(static_cast<double>(count));
}
void Metrics::set_devices_published(std::size_t count) { impl_->devices.Set(static_cast<double>(count)); }
void Metrics::set_slices_published(std::size_t count) { impl_->slices.Set(static_cast<double>(count)); }
void Metrics::record_unreadable() { impl_->unreadable.Increment(); }
void Metrics::record_quarantined() { impl_->quarantined.Increment(); }
void Metrics::registration_finished(bool registered) {
  impl_->registrations.Add({{"result", registered ? "ok" : "failed"}}).Increment();
}
void Metrics::set_registered(bool registered) { impl_->registered.Set(registered ? 1 : 0); }
void Metrics::discovery_failed() { impl_->discovery_failures.Increment(); }
void Metrics::slice_written(std::string_view verb, std::string_view result) {
  impl_->slice_writes.Add({{"verb", std::string(verb)}, {"result", std::string(result)}}).Increment();
}
void Metrics::status_written(std::string_view result) {
  impl_->status_writes.Add({{"result", std::string(result)}}).Increment();
}
void Metrics::slice_repaired() { impl_->slice_repairs.Increment(); }
void Metrics::field_dropped() { impl_->dropped_fields.Increment(); }
void Metrics::invalid_left_out(std::string_view what) {
  impl_->left_out.Add({{"what", std::string(what)}}).Increment();
}
void Metrics::event_written(std::string_view result) {
  impl_->events.Add({{"result", std::string(result)}}).Increment();
}
void Metrics::operation_finished(std::string_view operation, std::string_view via, std::optional<Code> error,
                                 Seconds duration) {
  Labels labels{{"operation", std::string(operation)}, {"via", std::string(via)}};
  impl_->operation_seconds.Add(labels, operation_buckets()).Observe(duration.count());
  if (error) {
    labels.emplace("code", fairlead::to_string(*error));
    impl_->operation_errors.Add(labels).Increment();
  }
}
void Metrics::kube_request(std::string_view verb, std::string_view resource, int code, Seconds duration) {
  Labels labels{{"verb", std::string(verb)}, {"resource", std::string(resource)}};
  if (verb != "watch") {
    impl_->kube_seconds.Add(labels, buckets()).Observe(duration.count());
  }
  labels.emplace("code", std::to_string(code));
  impl_->kube_requests.Add(labels).Increment();
}

std::string Metrics::text() const {
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, impl_->registry.Collect());
  return std::move(out).str();
}

}  // namespace fairlead::dra
