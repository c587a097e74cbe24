// SPDX-License-Identifier: Apache-2.0
// The kubelet's connection to one instance of a DRA driver: one gRPC channel for all calls, v1 or v1beta1.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "drydock/node/call_stats.h"
#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"

namespace drydock {

using fairlead::Code;
using fairlead::Error;
using fairlead::Result;

struct ClaimId {
  std::string namespace_, name, uid;
  friend auto operator<=>(const ClaimId&, const ClaimId&) = default;
};

struct PreparedDevice {
  std::vector<std::string> requests;  // empty: of every request of the claim
  std::string pool, device, share_id;
  std::vector<std::string> cdi_ids;
};

/// One claim's result: an error, or devices (none for unprepare).
struct ClaimAnswer {
  std::string error;
  std::vector<PreparedDevice> devices;
};
using ClaimAnswers = std::map<std::string, ClaimAnswer>;  // by claim UID, as the driver gave them

enum class DraVersion : std::uint8_t { kV1, kV1beta1 };
std::string_view to_string(DraVersion version);

/// Any thread. Connects at once and keeps trying, as the kubelet does; calls are not wait-for-ready.
class DraPlugin : private fairlead::Pinned {
 public:
  struct Settings {
    std::string driver, endpoint;
    DraVersion version = DraVersion::kV1;
    std::chrono::milliseconds call_timeout{45'000};
    CallStats* stats = nullptr;  // may be null; must outlive this
    /// Called on the plugin's own thread when the connection came or went.
    std::function<void()> on_connection_change;
  };
  explicit DraPlugin(Settings settings);
  ~DraPlugin();

  [[nodiscard]] const std::string& driver() const { return settings_.driver; }
  [[nodiscard]] const std::string& endpoint() const { return settings_.endpoint; }
  [[nodiscard]] DraVersion version() const { return settings_.version; }
  [[nodiscard]] bool connected() const { return connected_; }

  /// The driver's response, unchecked. An error is a failed call: the whole batch.
  Result<ClaimAnswers> prepare(std::span<const ClaimId> claims);
  Result<ClaimAnswers> unprepare(std::span<const ClaimId> claims);

 private:
  struct Wire;
  void watch_connection(const std::stop_token& stop);

  const Settings settings_;
  std::unique_ptr<Wire> wire_;
  std::atomic<bool> connected_ = false;
  std::jthread watcher_;  // last: ends before what it uses
};

/// What a plugin says about itself on its registration socket.
struct PluginInfo {
  std::string type, name, endpoint;
  std::vector<std::string> versions;
};

/// The calls of one registration attempt; the connection lives as long as the object.
class RegistrationClient {
 public:
  /// Dials the socket, at most `timeout` (the kubelet: 10 s).
  static Result<RegistrationClient> dial(const std::string& socket, std::chrono::milliseconds timeout);
  RegistrationClient(RegistrationClient&&) noexcept;
  RegistrationClient& operator=(RegistrationClient&&) noexcept;
  RegistrationClient(const RegistrationClient&) = delete;
  RegistrationClient& operator=(const RegistrationClient&) = delete;
  ~RegistrationClient();

  Result<PluginInfo> get_info(std::chrono::milliseconds timeout);
  /// An empty `error` means registered.
  Result<> notify(const std::string& error, std::chrono::milliseconds timeout);

 private:
  struct Wire;
  explicit RegistrationClient(std::unique_ptr<Wire> wire);
  std::unique_ptr<Wire> wire_;
};

}  // namespace drydock
