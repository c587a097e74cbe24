// SPDX-License-Identifier: Apache-2.0
// Everything a plugin counts, in one place, and its text for Prometheus. docs/operations.md lists the names.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "fairlead/core/result.h"

namespace fairlead::dra {

/// Any thread may call any function at any time.
class Metrics {
 public:
  enum class Call : std::uint8_t { kPrepare, kUnprepare };
  using Seconds = std::chrono::duration<double>;

  /// Every metric carries the label driver="<driver_name>".
  Metrics(std::string_view driver_name, std::string_view version);
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;
  Metrics(Metrics&&) = delete;
  Metrics& operator=(Metrics&&) = delete;
  ~Metrics();

  /// One claim of one kubelet call is answered: counted, timed, and the error (if any) counted by its code.
  void claim_finished(Call call, std::optional<Code> error, Seconds duration);
  void set_claims_prepared(std::size_t count);
  /// Records whose claim is gone from the API server and whose pod may still run, for all that is known.
  void set_claims_left_over(std::size_t count);
  void set_devices_published(std::size_t count);
  void set_slices_published(std::size_t count);
  void record_quarantined();
  /// A record's file, or their folder, could be read before and cannot now.
  void record_unreadable();
  /// The kubelet told us how a registration went.
  void registration_finished(bool registered);
  void set_registered(bool registered);
  /// discover() of the driver failed; the last published state stays.
  void discovery_failed();
  /// `verb`: create, update, delete. `result`: "ok" or to_string(Code).
  void slice_written(std::string_view verb, std::string_view result);
  /// One write of a claim's status. `result` as above.
  void status_written(std::string_view result);
  /// One write of a pod's Event; "dropped": left out because there were too many.
  void event_written(std::string_view result);
  /// One piece of the driver's own work: timed, and the error (if any) counted by its code. Few different
  /// words, please: each pair is a time series.
  void operation_finished(std::string_view operation, std::string_view via, std::optional<Code> error,
                          Seconds duration);
  /// Slices put back because somebody else deleted or changed them.
  void slice_repaired();
  /// The API server stored a device without something that was sent.
  void field_dropped();
  /// A device, attribute, capacity or taint that breaks the API's limits was left out. `what`: "device", ...
  void invalid_left_out(std::string_view what);
  /// One answer of the API server; `code` is the HTTP status, 0 when there was no answer. Watches are counted
  /// when they end and not timed: they last as long as they should.
  void kube_request(std::string_view verb, std::string_view resource, int code, Seconds duration);

  /// The Prometheus text format, version 0.0.4.
  [[nodiscard]] std::string text() const;

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace fairlead::dra
