// SPDX-License-Identifier: Apache-2.0
// Accepts plugins, one after another, and passes each event to those that are synchronized.
#include "fairlead/rpc/nri/runtime.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <thread>
#include <utility>

#include "fairlead/core/fd.h"
#include "fairlead/core/log.h"
#include "fairlead/core/mutex.h"
#include "fairlead/rpc/nri/adjustments.h"
#include "fairlead/rpc/nri/peer.h"
#include "fairlead/rpc/unix_listener.h"
#include "fairlead/sys/files.h"

namespace fairlead::rpc {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

}  // namespace

struct NriRuntimeServer::Impl {
  using PeerPtr = std::shared_ptr<NriPeer>;

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
  const auto peer = std::make_shared<NriPeer>(std::move(socket), options, [this] {
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
  NriAdjustments merged;
  for (const auto& peer : impl_->in_order()) {
    FL_ASSIGN(const auto answer, peer->tell(NriEvent::kCreateContainer, pod, &container));
    if (answer) {
      FL_TRY(merged.add(peer->text(), *answer));
    }
  }
  return merged.take();
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
