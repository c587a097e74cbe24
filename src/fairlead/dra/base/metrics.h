// SPDX-License-Identifier: Apache-2.0
// All metrics of a plugin in one place, and their Prometheus text. docs/operations.md lists the names.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"

namespace fairlead::dra {

/// Any thread may call any function at any time.
class Metrics : private Pinned {
 public:
  enum class Call : std::uint8_t { kPrepare, kUnprepare };
  using Seconds = std::chrono::duration<double>;

  /// Every metric carries the label driver="<driver_name>".
  Metrics(std::string_view driver_name, std::string_view version);
  ~Metrics();

  /// One claim of one kubelet call is complete: counted, timed, and the error (if any) counted by its code.
  void claim_finished(Call call, std::optional<Code> error, Seconds duration);
  void set_claims_prepared(std::size_t count);
  /// Records whose claim is gone from the API server and whose pod may still be running.
  void set_claims_left_over(std::size_t count);
  void set_devices_published(std::size_t count);
  void set_slices_published(std::size_t count);
  void record_quarantined();
  /// A record's file, or their folder, was readable before and is not now.
  void record_unreadable();
  /// The kubelet reported the result of a registration.
  void registration_finished(bool registered);
  void set_registered(bool registered);
  /// discover() of the driver failed; the last published state is kept.
  void discovery_failed();
  /// `verb`: create, update, delete. `result`: "ok" or to_string(Code).
  void slice_written(std::string_view verb, std::string_view result);
  /// One write of a claim's status. `result` as above.
  void status_written(std::string_view result);
  /// One write of a pod's Event; "dropped": left out because there were too many.
  void event_written(std::string_view result);
  /// One operation of the driver's own: timed, and the error (if any) counted by its code. Keep the
  /// vocabulary small: every pair is a time series.
  void operation_finished(std::string_view operation, std::string_view via, std::optional<Code> error,
                          Seconds duration);
  /// Slices restored because another client deleted or changed them.
  void slice_repaired();
  /// The API server stored a device without something that was sent.
  void field_dropped();
  /// A device, attribute, capacity or taint that breaks the API's limits was left out. `what`: "device", ...
  void invalid_left_out(std::string_view what);
  /// One response of the API server; `code` is the HTTP status, 0 if there was no response. Watches are
  /// counted when they end and are not timed: their duration is intended.
  void kube_request(std::string_view verb, std::string_view resource, int code, Seconds duration);

  /// The Prometheus text format, version 0.0.4.
  [[nodiscard]] std::string text() const;

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace fairlead::dra
