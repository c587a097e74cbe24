// SPDX-License-Identifier: Apache-2.0
#include "fairlead/rpc/nri/runtime.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include "fairlead/core/fd.h"
#include "fairlead/core/log.h"
#include "fairlead/core/mutex.h"
#include "fairlead/core/pinned.h"
#include "fairlead/rpc/nri/codec.h"
#include "fairlead/rpc/nri/mux.h"
#include "fairlead/rpc/ttrpc.h"
#include "fairlead/rpc/unix_listener.h"
#include "fairlead/sys/files.h"

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

// ---- one plugin -------------------------------------------------------------------------------------------

/// A connection from accept to its end. The methods block; one thread at a time calls them.
class NriRuntimeServer::Peer : private Pinned {
 public:
  Peer(UniqueFd socket, const NriRuntimeOptions& options, std::function<void()> ended)
      : options_(options),
        ended_(std::move(ended)),
        plugin_({.send = [this](std::string_view message) { return mux_.send(kNriPluginService, message); },
                 .handler = {}}),
        runtime_({.send = [this](std::string_view message) { return mux_.send(kNriRuntimeService, message); },
                  .handler = [this](const TtrpcRequest& request,
                                    const TtrpcReply& reply) { (void)reply(serve(request)); }}),
        mux_(std::move(socket),
             {.receive = [this](std::uint32_t to, std::string_view bytes) { return receive(to, bytes); },
              .closed = [this](const Error& why) { on_end(why); },
              .send_timeout = options.request_timeout}) {}
  ~Peer() {
    mux_.close();
    plugin_.close();
    runtime_.close();
  }

  /// Until the plugin is registered and configured.
  Result<> start();
  Result<> synchronize(const NriInventory& inventory);
  /// The response; nullopt if the plugin did not subscribe to this event, or was lost with it.
  Result<std::optional<std::string>> tell(NriEvent event, const NriPod& pod, const NriContainer* container);
  /// Options::observe, of a call that began then.
  void note(std::string_view event, SteadyTime begun, NriPluginCall::Outcome outcome,
            const std::string& error) const;
  void close() { mux_.close(); }
  [[nodiscard]] bool gone() const {
    const Lock lock(mutex_);
    return gone_;
  }
  [[nodiscard]] const Plugin& plugin() const { return info_; }  // after start()
  [[nodiscard]] std::string text() const { return info_.index + "-" + info_.name; }

 private:
  Result<> receive(std::uint32_t to, std::string_view bytes);
  Result<std::string> serve(const TtrpcRequest& request);
  void on_end(const Error& why);
  Result<> wait_registered();
  Result<> configure();
  Result<std::string> call(std::string_view method, std::string payload, SteadyTime deadline);
  Result<std::string> send(NriEvent event, const NriPod& pod, const NriContainer* container);
  Result<std::string> state_change(NriEvent event, const NriPod& pod, const NriContainer* container,
                                   SteadyTime deadline);

  const NriRuntimeOptions& options_;
  const std::function<void()> ended_;
  mutable Mutex mutex_;
  ConditionVariable changed_;
  bool registered_ FL_GUARDED_BY(mutex_) = false;
  bool gone_ FL_GUARDED_BY(mutex_) = false;
  Plugin info_;  // the reader writes it before registered_ is set
  Ttrpc plugin_, runtime_;
  NriMux mux_;  // last: its thread uses all of the above
};

Result<> NriRuntimeServer::Peer::receive(std::uint32_t to, std::string_view bytes) {
  switch (to) {
    case kNriPluginService:
      return plugin_.receive(bytes);
    case kNriRuntimeService:
      return runtime_.receive(bytes);
    default:
      return {};
  }
}

void NriRuntimeServer::Peer::on_end(const Error& why) {
  plugin_.close();
  runtime_.close();
  log::debug("NRI plugin went away", {{"plugin", text()}, {"why", why.what()}});
  {
    const Lock lock(mutex_);
    gone_ = true;
    changed_.notify_all();
  }
  ended_();
}

Result<std::string> NriRuntimeServer::Peer::serve(const TtrpcRequest& request) {
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

Result<> NriRuntimeServer::Peer::wait_registered() {
  const SteadyTime deadline = std::chrono::steady_clock::now() + options_.registration_timeout;
  const Lock lock(mutex_);
  while (!registered_ && !gone_) {
    if (changed_.wait_until(mutex_, deadline) == std::cv_status::timeout && !registered_) {
      return Error(Code::kTimeout, "it connected and did not register in time");
    }
  }
  return registered_ ? Result<>() : Error(Code::kUnavailable, "it went away before it registered");
}

Result<> NriRuntimeServer::Peer::start() {
  mux_.start();
  FL_TRY(wait_registered());
  FL_TRY(configure(), "Configure of " + text());
  return {};
}

Result<> NriRuntimeServer::Peer::configure() {
  nri_pb::ConfigureRequest request;
  request.set_runtime_name(options_.name);
  request.set_runtime_version(options_.version);
  request.set_registration_timeout(options_.registration_timeout.count());
  request.set_request_timeout(options_.request_timeout.count());
  if (options_.dialect == NriDialect::kDedicated) {
    request.set_nri_version(options_.nri_version);
  }
  FL_ASSIGN(const std::string payload, call("Configure", request.SerializeAsString(),
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

Result<std::string> NriRuntimeServer::Peer::call(std::string_view method, std::string payload,
                                                 SteadyTime deadline) {
  return plugin_.call(kNriPluginServiceName, method, std::move(payload), deadline);
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

Result<> NriRuntimeServer::Peer::synchronize(const NriInventory& inventory) {
  const SteadyTime deadline = std::chrono::steady_clock::now() + options_.request_timeout;
  for (const auto& request : parts_of(inventory)) {
    FL_ASSIGN(const std::string payload, call("Synchronize", request.SerializeAsString(), deadline),
              "Synchronize");
    FL_ASSIGN(const auto response,
              parse_nri<nri_pb::SynchronizeResponse>(payload, "the answer to Synchronize"));
    if (response.more() != request.more()) {
      return Error(Code::kUnsupported, "it does not take Synchronize in parts");
    }
  }
  return {};
}

Result<std::string> NriRuntimeServer::Peer::state_change(NriEvent event, const NriPod& pod,
                                                         const NriContainer* container, SteadyTime deadline) {
  nri_pb::StateChangeEvent message;
  message.set_event(nri_event_number(event));
  to_wire(pod, *message.mutable_pod());
  if (container != nullptr) {
    to_wire(*container, *message.mutable_container());
  }
  return call("StateChange", message.SerializeAsString(), deadline);
}

Result<std::string> NriRuntimeServer::Peer::send(NriEvent event, const NriPod& pod,
                                                 const NriContainer* container) {
  const SteadyTime deadline = std::chrono::steady_clock::now() + options_.request_timeout;
  if (options_.dialect == NriDialect::kStateChange && !always_dedicated(event)) {
    return state_change(event, pod, container, deadline);
  }
  nri_pb::EventRequest message;
  to_wire(pod, *message.mutable_pod());
  if (container != nullptr) {
    to_wire(*container, *message.mutable_container());
  }
  auto answer = call(nri_event_name(event), message.SerializeAsString(), deadline);
  if (!answer && answer.error().code() == Code::kUnsupported && !always_dedicated(event)) {
    return state_change(event, pod, container, deadline);
  }
  return answer;
}

void NriRuntimeServer::Peer::note(std::string_view event, SteadyTime begun, NriPluginCall::Outcome outcome,
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

Result<std::optional<std::string>> NriRuntimeServer::Peer::tell(NriEvent event, const NriPod& pod,
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

// ---- adjustments of several plugins -----------------------------------------------------------------------

namespace {

/// Who set what: two plugins must not set the same thing.
class Merger {
 public:
  Result<> add(const std::string& plugin, NriAdjustment from) {
    FL_TRY(add_map("annotation", plugin, from.annotations, merged_.annotations));
    FL_TRY(add_map("environment variable", plugin, from.env, merged_.env));
    FL_TRY(add_map("network device", plugin, from.net_devices, merged_.net_devices));
    for (auto& mount : from.mounts) {
      FL_TRY(own("mount", plugin, mount.destination));
      merged_.mounts.push_back(std::move(mount));
    }
    for (auto& device : from.devices) {
      FL_TRY(own("device", plugin, device.path));
      merged_.devices.push_back(std::move(device));
    }
    for (auto& device : from.cdi_devices) {
      FL_TRY(own("CDI device", plugin, device));
      merged_.cdi_devices.push_back(std::move(device));
    }
    return {};
  }
  NriAdjustment take() { return std::move(merged_); }

 private:
  using Map = std::map<std::string, std::string>;
  Result<> own(std::string_view what, const std::string& plugin, const std::string& key) {
    const std::string thing = std::string(what) + " " + key;
    const auto [owner, fresh] = owners_.emplace(thing, plugin);
    if (!fresh && owner->second != plugin) {
      return Error(Code::kConflict, "plugins " + owner->second + " and " + plugin + " both set " + thing);
    }
    return {};
  }
  Result<> add_map(std::string_view what, const std::string& plugin, const Map& from, Map& into) {
    for (const auto& [key, value] : from) {
      FL_TRY(own(what, plugin, key));
      into[key] = value;
    }
    return {};
  }

  NriAdjustment merged_;
  Map owners_;
};

Result<NriAdjustment> decode_adjustment(const std::string& payload, const std::string& plugin) {
  FL_ASSIGN(const auto response, parse_nri<nri_pb::CreateContainerResponse>(payload, "the answer"),
            "plugin " + plugin);
  FL_ASSIGN(auto out, from_wire(response.adjust()), "plugin " + plugin);
  return out;
}

}  // namespace

// ---- the server -------------------------------------------------------------------------------------------

struct NriRuntimeServer::Impl {
  using PeerPtr = std::shared_ptr<Peer>;

  Impl(NriRuntimeOptions given, Inventory wanted, UnixListener listening)
      : options(std::move(given)),
        inventory(std::move(wanted)),
        listener(std::move(listening)),
        wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

  void run();
  void admit(UniqueFd socket);
  void reap();
  void poke() const {
    const std::uint64_t one = 1;
    (void)!::write(wake.get(), &one, sizeof one);
  }
  std::vector<PeerPtr> in_order() const;
  std::vector<Plugin> present() const FL_REQUIRES(mutex);
  Result<> tell_all(NriEvent event, const NriPod& pod, const NriContainer* container);
  void stop();

  const NriRuntimeOptions options;
  const Inventory inventory;
  UnixListener listener;
  const UniqueFd wake;

  Mutex events;  // one event, or one synchronization, at a time; taken before `mutex`
  mutable Mutex mutex;
  mutable ConditionVariable changed;
  bool stopping FL_GUARDED_BY(mutex) = false;
  PeerPtr arriving FL_GUARDED_BY(mutex);
  std::vector<PeerPtr> peers FL_GUARDED_BY(mutex);  // synchronized, by index
  std::uint64_t connects FL_GUARDED_BY(mutex) = 0;
  std::thread thread;  // last: it uses all of the above
};

void NriRuntimeServer::Impl::run() {
  std::array<pollfd, 2> fds = {pollfd{.fd = listener.descriptor(), .events = POLLIN, .revents = 0},
                               pollfd{.fd = wake.get(), .events = POLLIN, .revents = 0}};
  while (true) {
    (void)::poll(fds.data(), fds.size(), -1);
    std::uint64_t pokes = 0;
    (void)!::read(wake.get(), &pokes, sizeof pokes);
    {
      const Lock lock(mutex);
      if (stopping) {
        return;
      }
    }
    reap();
    UniqueFd socket(::accept4(listener.descriptor(), nullptr, nullptr, SOCK_CLOEXEC));
    if (socket.valid()) {
      admit(std::move(socket));
    }
  }
}

/// Registers, configures and synchronizes a plugin, one at a time as containerd does.
void NriRuntimeServer::Impl::admit(UniqueFd socket) {
  const auto peer = std::make_shared<Peer>(std::move(socket), options, [this] {
    const Lock lock(mutex);
    changed.notify_all();
    poke();
  });
  {
    const Lock lock(mutex);
    if (stopping) {
      return;
    }
    arriving = peer;
  }
  const ScopeExit arrived([this] {
    const Lock lock(mutex);
    arriving.reset();
  });
  if (const auto started = peer->start(); !started) {
    log::warn("an NRI plugin was turned away", {{"why", started.error().what()}});
    return;
  }
  const Lock one(events);
  const auto begun = std::chrono::steady_clock::now();
  const auto synchronized = peer->synchronize(inventory());
  using Outcome = NriPluginCall::Outcome;
  if (!synchronized) {
    peer->note("Synchronize", begun,
               synchronized.error().code() == Code::kTimeout
                   ? Outcome::kTimedOut
                   : (peer->gone() ? Outcome::kLost : Outcome::kRefused),
               synchronized.error().what());
    log::warn("an NRI plugin was turned away",
              {{"plugin", peer->text()}, {"why", synchronized.error().what()}});
    return;
  }
  peer->note("Synchronize", begun, Outcome::kAnswered, "");
  log::info("NRI plugin connected and synchronized", {{"plugin", peer->text()}});
  const Lock lock(mutex);
  peers.push_back(peer);
  std::ranges::stable_sort(peers, {}, [](const PeerPtr& p) { return p->plugin().index; });
  ++connects;
  changed.notify_all();
}

/// Frees the disconnected plugins; not in their own threads, which report the disconnect.
void NriRuntimeServer::Impl::reap() {
  std::vector<PeerPtr> lost;
  const Lock lock(mutex);
  const auto gone = std::ranges::partition(peers, [](const PeerPtr& p) { return !p->gone(); });
  lost.assign(gone.begin(), gone.end());
  peers.erase(gone.begin(), gone.end());
}

std::vector<NriRuntimeServer::Impl::PeerPtr> NriRuntimeServer::Impl::in_order() const {
  const Lock lock(mutex);
  return peers;
}

std::vector<NriRuntimeServer::Plugin> NriRuntimeServer::Impl::present() const {
  std::vector<Plugin> out;
  for (const auto& peer : peers) {
    if (!peer->gone()) {
      out.push_back(peer->plugin());
    }
  }
  return out;
}

Result<> NriRuntimeServer::Impl::tell_all(NriEvent event, const NriPod& pod, const NriContainer* container) {
  const Lock one(events);
  for (const auto& peer : in_order()) {
    FL_TRY(peer->tell(event, pod, container));
  }
  return {};
}

void NriRuntimeServer::Impl::stop() {
  std::vector<PeerPtr> all;
  {
    const Lock lock(mutex);
    stopping = true;
    all = std::exchange(peers, {});
    if (arriving) {
      all.push_back(arriving);
    }
    changed.notify_all();
  }
  for (const auto& peer : all) {
    peer->close();
  }
  poke();
  if (thread.joinable()) {
    thread.join();
  }
  listener.close();
}

NriRuntimeServer::NriRuntimeServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

NriRuntimeServer::~NriRuntimeServer() { stop(); }

Result<std::unique_ptr<NriRuntimeServer>> NriRuntimeServer::start(NriRuntimeOptions options,
                                                                  Inventory inventory) {
  if (const auto slash = options.socket.rfind('/'); slash != std::string::npos && slash > 0) {
    FL_TRY(sys::make_dirs(options.socket.substr(0, slash), 0700), "folder of the NRI socket");
  }
  FL_ASSIGN(UnixListener listener, UnixListener::open(options.socket), "NRI socket");
  auto impl = std::make_unique<Impl>(std::move(options), std::move(inventory), std::move(listener));
  impl->thread = std::thread([raw = impl.get()] { raw->run(); });
  return std::unique_ptr<NriRuntimeServer>(new NriRuntimeServer(std::move(impl)));
}

Result<> NriRuntimeServer::run_pod_sandbox(const NriPod& pod) {
  return impl_->tell_all(NriEvent::kRunPodSandbox, pod, nullptr);
}

Result<> NriRuntimeServer::stop_pod_sandbox(const NriPod& pod) {
  return impl_->tell_all(NriEvent::kStopPodSandbox, pod, nullptr);
}

Result<> NriRuntimeServer::remove_pod_sandbox(const NriPod& pod) {
  return impl_->tell_all(NriEvent::kRemovePodSandbox, pod, nullptr);
}

Result<> NriRuntimeServer::container_event(NriEvent event, const NriPod& pod, const NriContainer& container) {
  return impl_->tell_all(event, pod, &container);
}

Result<NriAdjustment> NriRuntimeServer::create_container(const NriPod& pod, const NriContainer& container) {
  const Lock one(impl_->events);
  Merger merger;
  for (const auto& peer : impl_->in_order()) {
    FL_ASSIGN(const auto answer, peer->tell(NriEvent::kCreateContainer, pod, &container));
    if (answer) {
      FL_ASSIGN(auto adjustment, decode_adjustment(*answer, peer->text()));
      FL_TRY(merger.add(peer->text(), std::move(adjustment)));
    }
  }
  return merger.take();
}

std::vector<NriRuntimeServer::Plugin> NriRuntimeServer::plugins() const {
  const Lock lock(impl_->mutex);
  return impl_->present();
}

std::uint64_t NriRuntimeServer::connects() const {
  const Lock lock(impl_->mutex);
  return impl_->connects;
}

Result<> NriRuntimeServer::wait_for_plugins(std::size_t count, SteadyTime deadline) const {
  const Lock lock(impl_->mutex);
  while (impl_->present().size() != count) {
    if (impl_->changed.wait_until(impl_->mutex, deadline) == std::cv_status::timeout) {
      return Error(Code::kTimeout, std::to_string(impl_->present().size()) +
                                       " NRI plugins are connected, not " + std::to_string(count));
    }
  }
  return {};
}

Result<> NriRuntimeServer::wait_for_connects(std::uint64_t count, SteadyTime deadline) const {
  const Lock lock(impl_->mutex);
  while (impl_->connects < count) {
    if (impl_->changed.wait_until(impl_->mutex, deadline) == std::cv_status::timeout) {
      return Error(Code::kTimeout, std::to_string(impl_->connects) + " NRI plugins have connected, not " +
                                       std::to_string(count));
    }
  }
  return {};
}

void NriRuntimeServer::stop() { impl_->stop(); }

}  // namespace fairlead::rpc
