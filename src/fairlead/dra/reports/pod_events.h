// SPDX-License-Identifier: Apache-2.0
// Reports problems that the authors of pods can fix, as Kubernetes Events at the pod: kubectl describe shows
// them. Best effort and off every critical path: one thread, bounded memory, few requests (see EventBook).
#pragma once

#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"
#include "fairlead/dra/base/driver.h"
#include "fairlead/dra/base/metrics.h"
#include "fairlead/dra/reports/event_book.h"

namespace fairlead::kube {
class Client;
}  // namespace fairlead::kube

namespace fairlead::dra {

/// The part of the API server that events need. Calls come from one thread and return soon after `stop`.
class EventApi : private Pinned {
 public:
  EventApi() = default;
  virtual ~EventApi() = default;

  /// kExists: it exists already (a response was lost).
  virtual Result<> create(const kube::Event& event, const std::stop_token& stop) = 0;
  /// Updates count and time only. kNotFound: the event is gone.
  virtual Result<> patch(const kube::Event& event, const std::stop_token& stop) = 0;
};

/// EventApi on a real API server. `client` must outlive it.
std::unique_ptr<EventApi> make_event_api(kube::Client& client);

/// Whether the pod's author can fix the cause of a failed prepare: a wrong parameter, a missing parent link,
/// a device in use; not an unavailable API server.
bool is_for_the_author(Code code);

/// Owns one thread. Any thread may call tell(), which never blocks.
class PodEvents : private Pinned {
 public:
  /// `api` and `metrics` must outlive it. Writes nothing before start().
  PodEvents(EventBook::Options options, EventApi& api, Metrics& metrics);
  ~PodEvents();  // stop()

  void start();
  /// Ends the thread; unwritten events are lost.
  void stop();

  /// A Warning at each pod of the claim.
  void tell(const Claim& claim, const std::string& reason, const std::string& message);

  class Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace fairlead::dra
