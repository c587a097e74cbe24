// SPDX-License-Identifier: Apache-2.0
// Keeps the connection: connects, registers, waits for its end, and connects again.
#include "fairlead/rpc/nri/plugin.h"

#include <chrono>
#include <optional>
#include <thread>
#include <utility>

#include "fairlead/core/backoff.h"
#include "fairlead/core/log.h"
#include "fairlead/core/mutex.h"
#include "fairlead/core/pinned.h"
#include "fairlead/rpc/nri/codec.h"
#include "fairlead/rpc/nri/connection.h"
#include "fairlead/rpc/nri/dispatch.h"
#include "fairlead/rpc/nri/socket_watch.h"
#include "fairlead/sys/unix_socket.h"

namespace fairlead::rpc {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

/// Of connecting, which waits while the runtime's backlog is full, and of each send: stop() waits for both.
constexpr std::chrono::seconds kSendTimeout{2};

Result<UniqueFd> connect_to(const std::string& path) {
  auto fd = sys::connect_unix(path, kSendTimeout);
  return fd ? std::move(fd) : Error::from_errno(fd.error().sys_errno(), "no NRI at " + path);
}

}  // namespace

struct NriPlugin::Impl {
  struct Current;

  Impl(NriPluginOptions given, NriHandler& wanted)
      : options(std::move(given)), handler(wanted), watch(options.socket) {}

  void run();
  Error one_connection();
  void set_state(std::string text);
  void synchronized(const NriSessionPtr& of);
  void notify() const {
    const Lock lock(mutex);
    changed.notify_all();
  }
  void stop();

  const NriPluginOptions options;
  NriHandler& handler;
  const SocketWatch watch;

  mutable Mutex mutex;
  mutable ConditionVariable changed;
  bool started FL_GUARDED_BY(mutex) = false;
  bool stopping FL_GUARDED_BY(mutex) = false;
  bool ready FL_GUARDED_BY(mutex) = false;
  std::string state FL_GUARDED_BY(mutex) = "it was not started";
  Current* current FL_GUARDED_BY(mutex) = nullptr;
  SteadyTime ready_since FL_GUARDED_BY(mutex) = SteadyTime::max();

  NriDispatcher dispatcher{options,
                           handler,
                           {.synchronized = [this](const NriSessionPtr& of) { synchronized(of); },
                            .finished = [this] { notify(); }}};
  std::thread thread;  // last: it uses all of the above
};

/// The connection that there is now.
struct NriPlugin::Impl::Current : private Pinned {
  Current(Impl& plugin, UniqueFd socket)
      : connection(std::move(socket),
                   {.plugin =
                        [this, &plugin](const TtrpcRequest& request, const TtrpcReply& reply) {
                          plugin.dispatcher.serve(session, request, reply);
                        },
                    .ended = [this, &plugin](const Error& why) { ended(plugin, why); }}) {}

  void ended(Impl& plugin, const Error& why) {
    const Lock lock(plugin.mutex);
    end = why;
    plugin.ready = false;
    plugin.changed.notify_all();
  }

  const NriSessionPtr session = std::make_shared<NriSession>();
  std::optional<Error> end;  // guarded by the plugin's mutex
  NriConnection connection;  // last: its thread uses all of the above
};

void NriPlugin::Impl::set_state(std::string text) {
  const Lock lock(mutex);
  state = std::move(text);
}

/// From connect to the end of the connection; returns why it ended.
Error NriPlugin::Impl::one_connection() {
  FL_ASSIGN(UniqueFd socket, connect_to(options.socket));
  Current mine(*this, std::move(socket));
  {
    const Lock lock(mutex);
    if (stopping) {
      return {Code::kCancelled, "stopped"};
    }
    current = &mine;
    state = "connected to " + options.socket + ", which has not answered RegisterPlugin yet";
  }
  const ScopeExit forget([this, &mine] {
    std::optional<Error> why;
    {
      const Lock lock(mutex);
      current = nullptr;
      ready = false;
      why = mine.end;
    }
    if (why && mine.session->was_configured()) {
      handler.disconnected(*why);
    }
  });
  mine.connection.start();
  nri_pb::RegisterPluginRequest request;
  request.set_plugin_name(options.name);
  request.set_plugin_idx(options.index);
  // No deadline: the runtime takes plugins one by one, and waits for pods that stop before each
  // (containerd#14083). To connect again would only move us to the end of the queue.
  const auto registered =
      mine.connection.call_runtime("RegisterPlugin", request.SerializeAsString(), SteadyTime::max());
  const Lock lock(mutex);
  if (!registered) {
    return mine.end ? *mine.end
                    : Error{registered.error().code(), "RegisterPlugin: " + registered.error().what()};
  }
  if (!ready) {
    state = "registered at " + options.socket + ", the runtime has not synchronized us yet";
  }
  while (!mine.end) {
    changed.wait(mutex);
  }
  return *mine.end;
}

void NriPlugin::Impl::run() {
  Backoff backoff({.initial = options.first_retry, .max = options.last_retry});
  std::string logged;
  while (true) {
    watch.arm();
    const Error why = one_connection();
    {
      const Lock lock(mutex);
      if (stopping) {
        return;
      }
      state = why.what();
      const auto lived = std::chrono::steady_clock::now() - std::exchange(ready_since, SteadyTime::max());
      if (lived > options.last_retry) {
        backoff.reset();
      }
    }
    if (why.what() != std::exchange(logged, why.what())) {
      log::info("no NRI connection, trying again", {{"why", why.what()}});
    }
    if (watch.wait(backoff.next())) {
      backoff.reset();
    }
  }
}

void NriPlugin::Impl::synchronized(const NriSessionPtr& of) {
  const Lock lock(mutex);
  if (current == nullptr || current->session != of || current->end) {
    return;
  }
  ready = true;
  ready_since = std::chrono::steady_clock::now();
  state = "ready";
  changed.notify_all();
}

void NriPlugin::Impl::stop() {
  {
    const Lock lock(mutex);
    stopping = true;
    // A runtime that loses the connection goes on as if all were well: answer first what is being handled.
    const SteadyTime patience = std::chrono::steady_clock::now() + std::chrono::seconds(2);
    while (dispatcher.running() > 0 && current != nullptr && !current->end) {
      if (changed.wait_until(mutex, patience) == std::cv_status::timeout) {
        break;
      }
    }
    if (current != nullptr) {
      current->connection.close();
    }
    changed.notify_all();
  }
  watch.stop();
  if (thread.joinable()) {
    thread.join();
  }
  dispatcher.stop();
}

NriPlugin::NriPlugin(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

NriPlugin::~NriPlugin() { stop(); }

Result<std::unique_ptr<NriPlugin>> NriPlugin::create(NriPluginOptions options, NriHandler& handler) {
  FL_TRY(check_nri_plugin_name(options.name));
  FL_TRY(check_nri_plugin_index(options.index));
  FL_TRY(sys::unix_address(options.socket), "NRI");
  if (options.events.empty()) {
    return Error(Code::kInvalid, "an NRI plugin must subscribe to at least one event");
  }
  return std::unique_ptr<NriPlugin>(new NriPlugin(std::make_unique<Impl>(std::move(options), handler)));
}

void NriPlugin::start() {
  const Lock lock(impl_->mutex);
  if (std::exchange(impl_->started, true) || impl_->stopping) {
    return;
  }
  impl_->state = "it has just started";
  impl_->thread = std::thread([impl = impl_.get()] { impl->run(); });
}

Result<> NriPlugin::wait_ready(SteadyTime deadline) {
  const Lock lock(impl_->mutex);
  while (!impl_->ready) {
    if (impl_->stopping) {
      return Error(Code::kCancelled, "the NRI plugin was stopped");
    }
    if (impl_->changed.wait_until(impl_->mutex, deadline) == std::cv_status::timeout) {
      return Error(Code::kTimeout, "NRI is not ready: " + impl_->state);
    }
  }
  return {};
}

bool NriPlugin::ready() const {
  const Lock lock(impl_->mutex);
  return impl_->ready;
}

void NriPlugin::stop() { impl_->stop(); }

}  // namespace fairlead::rpc
