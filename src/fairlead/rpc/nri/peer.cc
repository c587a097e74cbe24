// SPDX-License-Identifier: Apache-2.0
#include "fairlead/rpc/nri/peer.h"

#include <cstddef>
#include <utility>

#include "fairlead/core/log.h"
#include "fairlead/rpc/nri/codec.h"

namespace fairlead::rpc {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

/// A part of Synchronize stays below the largest message with room for what wraps it.
constexpr std::size_t kPartSize = kTtrpcMaxBody - 4096;

/// NRI <= 0.11 has methods of their own only for these.
bool always_dedicated(NriEvent event) {
  return event == NriEvent::kCreateContainer || event == NriEvent::kStopContainer;
}

}  // namespace

NriPeer::NriPeer(UniqueFd socket, const NriRuntimeOptions& options, std::function<void()> ended)
    : options_(options),
      ended_(std::move(ended)),
      connection_(std::move(socket),
                  {.runtime = [this](const TtrpcRequest& request,
                                     const TtrpcReply& reply) { (void)reply(serve(request)); },
                   .ended = [this](const Error& why) { on_end(why); },
                   .send_timeout = options.request_timeout}) {}

void NriPeer::on_end(const Error& why) {
  log::debug("NRI plugin went away", {{"plugin", text()}, {"why", why.what()}});
  {
    const Lock lock(mutex_);
    gone_ = true;
    changed_.notify_all();
  }
  ended_();
}

Result<std::string> NriPeer::serve(const TtrpcRequest& request) {
  if (request.service != kNriRuntimeServiceName || request.method != "RegisterPlugin") {
    return Error(Code::kUnsupported, request.service + "/" + request.method + " is not served here");
  }
  FL_ASSIGN(const auto message, parse_nri<nri_pb::RegisterPluginRequest>(request.payload, "RegisterPlugin"));
  FL_TRY(check_nri_plugin_name(message.plugin_name()));
  FL_TRY(check_nri_plugin_index(message.plugin_idx()));
  const Lock lock(mutex_);
  if (registered_) {
    return Error(Code::kExists, "this connection has registered a plugin already");
  }
  info_.name = message.plugin_name();
  info_.index = message.plugin_idx();
  registered_ = true;
  changed_.notify_all();
  return std::string();
}

Result<> NriPeer::wait_registered() {
  const SteadyTime deadline = std::chrono::steady_clock::now() + options_.registration_timeout;
  const Lock lock(mutex_);
  while (!registered_ && !gone_) {
    if (changed_.wait_until(mutex_, deadline) == std::cv_status::timeout && !registered_) {
      return Error(Code::kTimeout, "it connected and did not register in time");
    }
  }
  return registered_ ? Result<>() : Error(Code::kUnavailable, "it went away before it registered");
}

Result<> NriPeer::start() {
  connection_.start();
  FL_TRY(wait_registered());
  FL_TRY(configure(), "Configure of " + text());
  return {};
}

Result<> NriPeer::configure() {
  nri_pb::ConfigureRequest request;
  request.set_runtime_name(options_.name);
  request.set_runtime_version(options_.version);
  request.set_registration_timeout(options_.registration_timeout.count());
  request.set_request_timeout(options_.request_timeout.count());
  if (options_.dialect == NriDialect::kDedicated) {
    request.set_nri_version(options_.nri_version);
  }
  FL_ASSIGN(const std::string payload,
            connection_.call_plugin("Configure", request.SerializeAsString(),
                                    std::chrono::steady_clock::now() + options_.request_timeout));
  FL_ASSIGN(const auto response, parse_nri<nri_pb::ConfigureResponse>(payload, "the answer"));
  // Bits 1 << (number - 1) of events 1 to 14, and to 11 of those that NRI <= 0.9 knows; 0 means all.
  const std::uint32_t valid = options_.dialect == NriDialect::kDedicated ? 0x3fffU : 0x07ffU;
  info_.events = static_cast<std::uint32_t>(response.events());
  if (info_.events == 0) {
    info_.events = valid;
  }
  if ((info_.events & ~valid) != 0) {
    return Error(Code::kInvalid, "it subscribes to events that are not known here: mask " +
                                     std::to_string(info_.events & ~valid));
  }
  return {};
}

namespace {

/// The requests that carry the inventory: one if it fits into a message, else parts that do.
std::vector<nri_pb::SynchronizeRequest> parts_of(const NriInventory& inventory) {
  std::vector<nri_pb::SynchronizeRequest> parts(1);
  std::size_t size = 0;
  const auto room_for = [&](std::size_t more) -> nri_pb::SynchronizeRequest& {
    if (size > 0 && size + more > kPartSize) {
      parts.back().set_more(true);
      parts.emplace_back();
      size = 0;
    }
    size += more;
    return parts.back();
  };
  constexpr std::size_t kWrapping = 8;  // of a repeated field: its tag and a length
  for (const auto& pod : inventory.pods) {
    nri_pb::PodSandbox wire;
    to_wire(pod, wire);
    *room_for(wire.ByteSizeLong() + kWrapping).add_pods() = std::move(wire);
  }
  for (const auto& container : inventory.containers) {
    nri_pb::Container wire;
    to_wire(container, wire);
    *room_for(wire.ByteSizeLong() + kWrapping).add_containers() = std::move(wire);
  }
  return parts;
}

}  // namespace

Result<> NriPeer::synchronize(const NriInventory& inventory) {
  const SteadyTime deadline = std::chrono::steady_clock::now() + options_.request_timeout;
  for (const auto& request : parts_of(inventory)) {
    FL_ASSIGN(const std::string payload,
              connection_.call_plugin("Synchronize", request.SerializeAsString(), deadline), "Synchronize");
    FL_ASSIGN(const auto response,
              parse_nri<nri_pb::SynchronizeResponse>(payload, "the answer to Synchronize"));
    if (response.more() != request.more()) {
      return Error(Code::kUnsupported, "it does not take Synchronize in parts");
    }
  }
  return {};
}

Result<std::string> NriPeer::state_change(NriEvent event, const NriPod& pod, const NriContainer* container,
                                          SteadyTime deadline) {
  nri_pb::StateChangeEvent message;
  message.set_event(nri_event_number(event));
  to_wire(pod, *message.mutable_pod());
  if (container != nullptr) {
    to_wire(*container, *message.mutable_container());
  }
  return connection_.call_plugin("StateChange", message.SerializeAsString(), deadline);
}

Result<std::string> NriPeer::send(NriEvent event, const NriPod& pod, const NriContainer* container) {
  const SteadyTime deadline = std::chrono::steady_clock::now() + options_.request_timeout;
  if (options_.dialect == NriDialect::kStateChange && !always_dedicated(event)) {
    return state_change(event, pod, container, deadline);
  }
  nri_pb::EventRequest message;
  to_wire(pod, *message.mutable_pod());
  if (container != nullptr) {
    to_wire(*container, *message.mutable_container());
  }
  auto answer = connection_.call_plugin(nri_event_name(event), message.SerializeAsString(), deadline);
  if (!answer && answer.error().code() == Code::kUnsupported && !always_dedicated(event)) {
    return state_change(event, pod, container, deadline);
  }
  return answer;
}

void NriPeer::note(std::string_view event, SteadyTime begun, NriPluginCall::Outcome outcome,
                   const std::string& error) const {
  if (!options_.observe) {
    return;
  }
  const auto took = std::chrono::steady_clock::now() - begun;
  options_.observe({.plugin = text(),
                    .event = std::string(event),
                    .took = std::chrono::duration_cast<std::chrono::microseconds>(took),
                    .outcome = outcome,
                    .error = error});
}

Result<std::optional<std::string>> NriPeer::tell(NriEvent event, const NriPod& pod,
                                                 const NriContainer* container) {
  if ((info_.events & static_cast<std::uint32_t>(event)) == 0 || gone()) {
    return std::nullopt;
  }
  const SteadyTime begun = std::chrono::steady_clock::now();
  auto answer = send(event, pod, container);
  if (answer) {
    note(nri_event_name(event), begun, NriPluginCall::Outcome::kAnswered, "");
    return std::move(*answer);
  }
  const Code code = answer.error().code();
  const bool lost = code == Code::kTimeout || code == Code::kUnavailable || code == Code::kCorrupt;
  if (!lost) {
    note(nri_event_name(event), begun, NriPluginCall::Outcome::kRefused, answer.error().what());
    return Error(code, "plugin " + text() + ": " + answer.error().what());
  }
  note(nri_event_name(event), begun,
       code == Code::kTimeout ? NriPluginCall::Outcome::kTimedOut : NriPluginCall::Outcome::kLost,
       answer.error().what());
  log::warn("NRI plugin did not answer, closing it; the event goes on as if it had agreed",
            {{"plugin", text()},
             {"event", nri_event_name(event)},
             {"pod", pod.namespace_ + "/" + pod.name},
             {"why", answer.error().what()}});
  close();
  return std::nullopt;
}

}  // namespace fairlead::rpc
