// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/metrics.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <utility>
#include <vector>

#include "fairlead/core/mutex.h"

namespace fairlead::dra {
namespace {

/// From one netlink exchange to the kubelet's own deadline of 45 s.
constexpr std::array<double, 14> kBuckets = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                             0.25,  0.5,    1,     2.5,  5,     10,   45};

struct Histogram {
  std::array<std::uint64_t, kBuckets.size()> buckets{};  // each counts only its own range
  std::uint64_t count = 0;
  double sum = 0;

  void observe(double value) {
    const auto* const bucket = std::ranges::lower_bound(kBuckets, value);
    if (bucket != kBuckets.end()) {
      ++buckets[static_cast<std::size_t>(bucket - kBuckets.begin())];
    }
    ++count;
    sum += value;
  }
};

using Labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;

/// Label values may hold anything; the text format escapes these three.
std::string escaped(std::string_view value) {
  std::string out;
  for (const char c : value) {
    if (c == '\\' || c == '"') {
      out += '\\';
    }
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out;
}

/// `a="1",b="2"`, the key of a series within its family.
std::string label_text(Labels labels) {
  std::string out;
  for (const auto& [name, value] : labels) {
    out += out.empty() ? "" : ",";
    out.append(name).append("=\"").append(escaped(value)).append("\"");
  }
  return out;
}

/// The shortest text that reads back as this value.
std::string number(double value) {
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  return {text.data(), end};
}

template <class T>
struct Family {
  std::string_view name, type, help;
  std::map<std::string, T> series;  // by labels

  T& at(Labels labels) { return series[label_text(labels)]; }
};

std::string_view to_string(Metrics::Call call) {
  return call == Metrics::Call::kPrepare ? "prepare" : "unprepare";
}

}  // namespace

struct Metrics::Impl {
  using Numbers = Family<double>;
  static Numbers counter(std::string_view name, std::string_view help) {
    return {.name = name, .type = "counter", .help = help, .series = {}};
  }
  static Numbers gauge(std::string_view name, std::string_view help) {
    return {.name = name, .type = "gauge", .help = help, .series = {}};
  }

  mutable Mutex mutex;
  std::string driver_label;
  // All below FL_GUARDED_BY(mutex).
  Numbers build_info = gauge("fairlead_dra_build_info", "Always 1; the version is a label.");
  Numbers claim_calls = counter("fairlead_dra_claim_calls_total", "Claims answered to the kubelet.");
  Numbers claim_errors = counter("fairlead_dra_claim_errors_total", "Claims answered with an error.");
  Numbers claims_prepared = gauge("fairlead_dra_claims_prepared", "Claims that are prepared now.");
  Numbers devices = gauge("fairlead_dra_devices_published", "Devices in the published slices.");
  Numbers slices = gauge("fairlead_dra_slices_published", "ResourceSlices of this node and driver.");
  Numbers quarantined =
      counter("fairlead_dra_records_quarantined_total", "Claim records that could not be read.");
  Numbers registrations =
      counter("fairlead_dra_registrations_total", "What the kubelet said of our registration.");
  Numbers registered = gauge("fairlead_dra_registered", "1 while the kubelet has us registered.");
  Numbers discovery_failures =
      counter("fairlead_dra_discovery_failures_total", "Calls of the driver's discover() that failed.");
  Numbers slice_writes = counter("fairlead_dra_slice_writes_total", "Writes of ResourceSlices.");
  Numbers slice_repairs =
      counter("fairlead_dra_slice_repairs_total", "Slices that others changed or deleted.");
  Numbers dropped_fields = counter("fairlead_dra_dropped_fields_total",
                                   "Devices that the API server stored without something that was sent.");
  Numbers left_out =
      counter("fairlead_dra_invalid_left_out_total", "What discover() gave and the API would not take.");
  Numbers kube_requests = counter("fairlead_dra_kube_requests_total",
                                  "Answers of the API server by HTTP status; code 0 is no answer.");
  Family<Histogram> claim_seconds{.name = "fairlead_dra_claim_duration_seconds",
                                  .type = "histogram",
                                  .help = "Time to answer one claim.",
                                  .series = {}};

  [[nodiscard]] std::array<const Numbers*, 15> numbers() const {
    return {&build_info,   &claim_calls,   &claim_errors,   &claims_prepared, &devices,
            &slices,       &quarantined,   &registrations,  &registered,      &discovery_failures,
            &slice_writes, &slice_repairs, &dropped_fields, &left_out,        &kube_requests};
  }

  /// Series that are always there, so that a first error is seen as a change from 0.
  void create_series(std::string_view version) {
    build_info.at({{"version", version}}) = 1;
    for (Numbers* family : {&claims_prepared, &devices, &slices, &quarantined, &registered,
                            &discovery_failures, &slice_repairs, &dropped_fields}) {
      (void)family->at({});
    }
    for (const Call call : {Call::kPrepare, Call::kUnprepare}) {
      for (const std::string_view result : {"ok", "error"}) {
        (void)claim_calls.at({{"call", to_string(call)}, {"result", result}});
      }
      (void)claim_seconds.at({{"call", to_string(call)}});
    }
    for (const std::string_view result : {"ok", "failed"}) {
      (void)registrations.at({{"result", result}});
    }
  }

  void add(Numbers& family, Labels labels = {}) {
    const Lock lock(mutex);
    family.at(labels) += 1;
  }
  void set(Numbers& family, double value) {
    const Lock lock(mutex);
    family.at({}) = value;
  }

  [[nodiscard]] std::string all_labels(const std::string& own, std::string_view more = {}) const {
    return "{" + driver_label + (own.empty() ? "" : ",") + own + std::string(more) + "}";
  }
  template <class T>
  static void write_head(std::string& out, const Family<T>& family) {
    out.append("# HELP ").append(family.name).append(" ").append(family.help).append("\n");
    out.append("# TYPE ").append(family.name).append(" ").append(family.type).append("\n");
  }
  static void write_line(std::string& out, std::string_view name, std::string_view suffix,
                         const std::string& labels, const std::string& value) {
    out.append(name).append(suffix).append(labels).append(" ").append(value).append("\n");
  }
  void write(std::string& out, const Numbers& family) const {
    write_head(out, family);
    for (const auto& [labels, value] : family.series) {
      write_line(out, family.name, "", all_labels(labels), number(value));
    }
  }
  void write(std::string& out, const Family<Histogram>& family) const {
    write_head(out, family);
    for (const auto& [labels, histogram] : family.series) {
      std::uint64_t below = 0;
      for (std::size_t i = 0; i < kBuckets.size(); ++i) {
        below += histogram.buckets[i];
        write_line(out, family.name, "_bucket", all_labels(labels, ",le=\"" + number(kBuckets[i]) + "\""),
                   std::to_string(below));
      }
      write_line(out, family.name, "_bucket", all_labels(labels, ",le=\"+Inf\""),
                 std::to_string(histogram.count));
      write_line(out, family.name, "_sum", all_labels(labels), number(histogram.sum));
      write_line(out, family.name, "_count", all_labels(labels), std::to_string(histogram.count));
    }
  }
};

Metrics::Metrics(std::string_view driver_name, std::string_view version) : impl_(std::make_unique<Impl>()) {
  impl_->driver_label = label_text({{"driver", driver_name}});
  impl_->create_series(version);
}
Metrics::~Metrics() = default;

void Metrics::claim_finished(Call call, std::optional<Code> error, Seconds duration) {
  const Lock lock(impl_->mutex);
  impl_->claim_calls.at({{"call", to_string(call)}, {"result", error ? "error" : "ok"}}) += 1;
  if (error) {
    impl_->claim_errors.at({{"call", to_string(call)}, {"code", fairlead::to_string(*error)}}) += 1;
  }
  impl_->claim_seconds.at({{"call", to_string(call)}}).observe(duration.count());
}

void Metrics::set_claims_prepared(std::size_t count) {
  impl_->set(impl_->claims_prepared, static_cast<double>(count));
}
void Metrics::set_devices_published(std::size_t count) {
  impl_->set(impl_->devices, static_cast<double>(count));
}
void Metrics::set_slices_published(std::size_t count) {
  impl_->set(impl_->slices, static_cast<double>(count));
}
void Metrics::record_quarantined() { impl_->add(impl_->quarantined); }
void Metrics::registration_finished(bool registered) {
  impl_->add(impl_->registrations, {{"result", registered ? "ok" : "failed"}});
}
void Metrics::set_registered(bool registered) { impl_->set(impl_->registered, registered ? 1 : 0); }
void Metrics::discovery_failed() { impl_->add(impl_->discovery_failures); }
void Metrics::slice_written(std::string_view verb, std::string_view result) {
  impl_->add(impl_->slice_writes, {{"verb", verb}, {"result", result}});
}
void Metrics::slice_repaired() { impl_->add(impl_->slice_repairs); }
void Metrics::field_dropped() { impl_->add(impl_->dropped_fields); }
void Metrics::invalid_left_out(std::string_view what) { impl_->add(impl_->left_out, {{"what", what}}); }
void Metrics::kube_request(std::string_view verb, int code) {
  impl_->add(impl_->kube_requests, {{"verb", verb}, {"code", std::to_string(code)}});
}

std::string Metrics::text() const {
  const Lock lock(impl_->mutex);
  std::string out;
  for (const Impl::Numbers* family : impl_->numbers()) {
    impl_->write(out, *family);
  }
  impl_->write(out, impl_->claim_seconds);
  return out;
}

}  // namespace fairlead::dra
