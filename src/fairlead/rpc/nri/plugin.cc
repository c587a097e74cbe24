// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
#include <optional>
#include <thread>
#include <utility>

#include "fairlead/core/backoff.h"
#include "fairlead/core/executor.h"
#include "fairlead/core/log.h"
#include "fairlead/core/mutex.h"
#include "fairlead/core/pinned.h"
#include "fairlead/core/timer.h"
#include "fairlead/rpc/nri/codec.h"
#include "fairlead/rpc/nri/mux.h"
#include "fairlead/rpc/nri/plugin.h"
#include "fairlead/rpc/ttrpc.h"
#include "fairlead/sys/unix_socket.h"

namespace fairlead::rpc {
namespace {

using std::chrono::milliseconds;
using SteadyTime = std::chrono::steady_clock::time_point;

/// Handlers that may run at once: one, and those that overran their deadlines.
constexpr unsigned kHandlerThreads = 8;

/// Of connecting, which waits while the runtime's backlog is full, and of each send: stop() waits for both.
constexpr std::chrono::seconds kSendTimeout{2};

Result<UniqueFd> connect_to(const std::string& path) {
  auto fd = sys::connect_unix(path, kSendTimeout);
  return fd ? std::move(fd) : Error::from_errno(fd.error().sys_errno(), "no NRI at " + path);
}

/// Waits between tries to connect, and notices when the runtime makes its socket: a pod that starts before we
/// are back would start without us.
class SocketWatch {
 public:
  explicit SocketWatch(const std::string& path)
      : folder_(path.substr(0, std::max<std::size_t>(1, path.rfind('/')))),
        name_(path.substr(path.rfind('/') + 1)),
        events_(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)),
        stop_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

  /// Before a try, so that a socket that appears just after it is noticed. Without a folder, or without
  /// inotify, the waits are all there is.
  void arm() const {
    (void)::inotify_add_watch(events_.get(), folder_.c_str(), IN_CREATE | IN_MOVED_TO | IN_ONLYDIR);
  }
  /// True: the socket appeared. False: the time is over, or stop().
  bool wait(Backoff::Duration duration) const;
  void stop() const {
    const std::uint64_t one = 1;
    (void)!::write(stop_.get(), &one, sizeof one);
  }

 private:
  [[nodiscard]] bool appeared() const;

  const std::string folder_, name_;
  const UniqueFd events_, stop_;
};

bool SocketWatch::appeared() const {
  bool out = false;
  alignas(inotify_event) std::array<char, 4096> buffer{};
  for (ssize_t got = 0; (got = ::read(events_.get(), buffer.data(), buffer.size())) > 0;) {
    for (std::size_t at = 0; at < static_cast<std::size_t>(got);) {
      inotify_event event{};
      std::memcpy(&event, buffer.data() + at, sizeof event);
      const char* const name = buffer.data() + at + sizeof event;
      out = out || (event.len > 0 && name_ == name);
      at += sizeof event + event.len;
    }
  }
  return out;
}

bool SocketWatch::wait(Backoff::Duration duration) const {
  const SteadyTime end = std::chrono::steady_clock::now() + duration;
  std::array<pollfd, 2> fds = {pollfd{.fd = stop_.get(), .events = POLLIN, .revents = 0},
                               pollfd{.fd = events_.get(), .events = POLLIN, .revents = 0}};
  while (true) {
    const auto left = std::chrono::ceil<milliseconds>(end - std::chrono::steady_clock::now());
    if (left <= milliseconds(0)) {
      return false;
    }
    (void)::poll(fds.data(), fds.size(), static_cast<int>(left.count()));
    if (fds[0].revents != 0) {
      return false;
    }
    if (appeared()) {
      return true;
    }
  }
}

/// What belongs to one connection and outlives it as long as a handler runs.
struct Session {
  Mutex mutex;
  milliseconds request_timeout FL_GUARDED_BY(mutex){2'000};
  bool configured FL_GUARDED_BY(mutex) = false;
  // The parts of Synchronize that came so far.
  std::vector<NriPod> pods FL_GUARDED_BY(mutex);
  std::vector<NriContainer> containers FL_GUARDED_BY(mutex);
};
using SessionPtr = std::shared_ptr<Session>;

/// One request on its way through a handler.
struct Job {
  std::string what;     // "RunPodSandbox of pod ns/name", for people
  Executor::Keys keys;  // those of one pod come one after another
  std::move_only_function<Result<std::string>(const NriCall&)> run;
};

std::string pod_text(const NriPod& pod) { return "pod " + pod.namespace_ + "/" + pod.name; }

std::string empty_answer() { return {}; }

template <class Message>
Result<std::string> serialized(const Message& message) {
  return message.SerializeAsString();
}

/// An error of a handler is never sent as Unimplemented, on which the runtime would call again by
/// StateChange, nor as a timeout.
Result<std::string> as_answer(Result<std::string> result) {
  return result ? std::move(result) : Error(Code::kInternal, result.error().what());
}

}  // namespace

struct NriPlugin::Impl {
  struct Connection;

  Impl(NriPluginOptions given, NriHandler& wanted)
      : options(std::move(given)), handler(wanted), watch(options.socket) {}

  void run();
  Error one_connection();
  void set_state(std::string text);
  void serve(const SessionPtr& session, TtrpcRequest request, TtrpcReply reply);
  Result<Job> job_of(const SessionPtr& session, const TtrpcRequest& request);
  Result<Job> configure(const SessionPtr& session, const TtrpcRequest& request);
  Result<Job> synchronize(const SessionPtr& session, const TtrpcRequest& request);
  Result<Job> state_change(const TtrpcRequest& request);
  Job event_job(NriEvent event, const nri_pb::PodSandbox& pod, const nri_pb::Container& container);
  Result<std::string> deliver(NriEvent event, const NriPod& pod, const NriContainer& container,
                              const NriCall& call);
  void dispatch(const SessionPtr& session, Job job, SteadyTime runtime_gives_up, TtrpcReply reply);
  void job_done();
  void synchronized(const SessionPtr& of);
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
  unsigned jobs FL_GUARDED_BY(mutex) = 0;  // handed to `handlers` and not finished
  Connection* connection FL_GUARDED_BY(mutex) = nullptr;
  SteadyTime ready_since FL_GUARDED_BY(mutex) = SteadyTime::max();

  Timer timer;
  Executor handlers{{.lanes = {kHandlerThreads}}};
  std::thread thread;  // last: it uses all of the above
};

// ---- one connection ---------------------------------------------------------------------------------------

struct NriPlugin::Impl::Connection : private Pinned {
  Connection(Impl& plugin, UniqueFd socket)
      : service({.send = [this](std::string_view message) { return mux.send(kNriPluginService, message); },
                 .handler =
                     [this, &plugin](TtrpcRequest request, TtrpcReply reply) {
                       plugin.serve(session, std::move(request), std::move(reply));
                     }}),
        runtime({.send = [this](std::string_view message) { return mux.send(kNriRuntimeService, message); },
                 .handler = {}}),
        mux(std::move(socket),
            {.receive = [this](std::uint32_t to, std::string_view bytes) { return receive(to, bytes); },
             .closed = [this, &plugin](const Error& why) { ended(plugin, why); }}) {}
  ~Connection() {
    mux.close();
    // An answer may be on its way in another thread: no more of them before `mux` goes.
    service.close();
    runtime.close();
  }

  Result<> receive(std::uint32_t to, std::string_view bytes) {
    switch (to) {
      case kNriPluginService:
        return service.receive(bytes);
      case kNriRuntimeService:
        return runtime.receive(bytes);
      default:
        return {};
    }
  }
  void ended(Impl& plugin, const Error& why) {
    service.close();
    runtime.close();
    const Lock lock(plugin.mutex);
    end = why;
    plugin.ready = false;
    plugin.changed.notify_all();
  }

  [[nodiscard]] bool was_configured() const {
    const Lock lock(session->mutex);
    return session->configured;
  }

  const SessionPtr session = std::make_shared<Session>();
  std::optional<Error> end;  // guarded by the plugin's mutex
  Ttrpc service, runtime;
  NriMux mux;  // last: its thread uses all of the above
};

void NriPlugin::Impl::set_state(std::string text) {
  const Lock lock(mutex);
  state = std::move(text);
}

/// From connect to the end of the connection; returns why it ended.
Error NriPlugin::Impl::one_connection() {
  FL_ASSIGN(UniqueFd socket, connect_to(options.socket));
  Connection mine(*this, std::move(socket));
  {
    const Lock lock(mutex);
    if (stopping) {
      return {Code::kCancelled, "stopped"};
    }
    connection = &mine;
    state = "connected to " + options.socket + ", which has not answered RegisterPlugin yet";
  }
  const ScopeExit forget([this, &mine] {
    std::optional<Error> why;
    {
      const Lock lock(mutex);
      connection = nullptr;
      ready = false;
      why = mine.end;
    }
    if (why && mine.was_configured()) {
      handler.disconnected(*why);
    }
  });
  mine.mux.start();
  nri_pb::RegisterPluginRequest request;
  request.set_plugin_name(options.name);
  request.set_plugin_idx(options.index);
  // No deadline: the runtime takes plugins one by one, and waits for pods that stop before each
  // (containerd#14083). To connect again would only move us to the end of the queue.
  const auto registered = mine.runtime.call(kNriRuntimeServiceName, "RegisterPlugin",
                                            request.SerializeAsString(), SteadyTime::max());
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

// ---- requests ---------------------------------------------------------------------------------------------

void NriPlugin::Impl::serve(const SessionPtr& session, TtrpcRequest request, TtrpcReply reply) {
  auto job = job_of(session, request);
  if (!job) {
    (void)reply(std::move(job).error());
    return;
  }
  dispatch(session, std::move(*job), request.deadline, std::move(reply));
}

Result<Job> NriPlugin::Impl::job_of(const SessionPtr& session, const TtrpcRequest& request) {
  if (request.service != kNriPluginServiceName) {
    return Error(Code::kUnsupported, "service " + request.service + " is not served here");
  }
  if (request.method == "Configure") {
    return configure(session, request);
  }
  if (request.method == "Synchronize") {
    return synchronize(session, request);
  }
  if (request.method == "StateChange") {
    return state_change(request);
  }
  if (request.method == "Shutdown") {  // no runtime calls it; the end of the connection is what counts
    return Job{.what = request.method, .keys = {}, .run = [](const NriCall&) { return empty_answer(); }};
  }
  const auto event = nri_event_of(request.method);
  if (!event) {
    return Error(Code::kUnsupported, "method " + request.method + " is not served here");
  }
  FL_ASSIGN(const auto message, parse_nri<nri_pb::EventRequest>(request.payload, request.method));
  return event_job(*event, message.pod(), message.container());
}

Result<Job> NriPlugin::Impl::configure(const SessionPtr& session, const TtrpcRequest& request) {
  FL_ASSIGN(const auto message, parse_nri<nri_pb::ConfigureRequest>(request.payload, "Configure"));
  NriRuntime runtime{.name = message.runtime_name(),
                     .version = message.runtime_version(),
                     .nri_version = message.nri_version()};
  if (message.request_timeout() > 0) {
    runtime.request_timeout = milliseconds(message.request_timeout());
  }
  {
    const Lock lock(session->mutex);
    session->request_timeout = runtime.request_timeout;
    session->configured = true;
  }
  return Job{.what = "Configure", .keys = {}, .run = [this, runtime = std::move(runtime)](const NriCall&) {
               handler.configured(runtime);
               std::uint32_t events = 0;
               for (const NriEvent event : options.events) {
                 events |= static_cast<std::uint32_t>(event);
               }
               nri_pb::ConfigureResponse response;
               response.set_events(static_cast<std::int32_t>(events));
               return serialized(response);
             }};
}

Result<Job> NriPlugin::Impl::synchronize(const SessionPtr& session, const TtrpcRequest& request) {
  FL_ASSIGN(const auto message, parse_nri<nri_pb::SynchronizeRequest>(request.payload, "Synchronize"));
  const Lock lock(session->mutex);
  for (const auto& pod : message.pods()) {
    session->pods.push_back(from_wire(pod));
  }
  for (const auto& container : message.containers()) {
    session->containers.push_back(from_wire(container));
  }
  if (message.more()) {
    return Job{.what = "a part of Synchronize", .keys = {}, .run = [](const NriCall&) {
                 nri_pb::SynchronizeResponse response;
                 response.set_more(true);
                 return serialized(response);
               }};
  }
  return Job{.what = "Synchronize",
             .keys = {},
             .run = [this, pods = std::exchange(session->pods, {}),
                     containers =
                         std::exchange(session->containers, {})](const NriCall& call) -> Result<std::string> {
               FL_TRY(handler.synchronize(pods, containers, call));
               return serialized(nri_pb::SynchronizeResponse());
             }};
}

/// NRI <= 0.11, and newer ones for a method that was reported as unknown.
Result<Job> NriPlugin::Impl::state_change(const TtrpcRequest& request) {
  FL_ASSIGN(const auto message, parse_nri<nri_pb::StateChangeEvent>(request.payload, "StateChange"));
  const auto event = nri_event_of(message.event());
  if (!event) {  // newer than we are; not ours to fail
    return Job{.what = "StateChange", .keys = {}, .run = [](const NriCall&) { return empty_answer(); }};
  }
  return event_job(*event, message.pod(), message.container());
}

Job NriPlugin::Impl::event_job(NriEvent event, const nri_pb::PodSandbox& pod_message,
                               const nri_pb::Container& container_message) {
  NriPod pod = from_wire(pod_message);
  NriContainer container = from_wire(container_message);
  std::string what = std::string(nri_event_name(event)) + " of " + pod_text(pod);
  if (!container.name.empty()) {
    what += ", container " + container.name;
  }
  return Job{.what = std::move(what),
             .keys = {"pod/" + pod.uid},
             .run = [this, event, pod = std::move(pod), container = std::move(container)](
                        const NriCall& call) { return deliver(event, pod, container, call); }};
}

Result<std::string> NriPlugin::Impl::deliver(NriEvent event, const NriPod& pod, const NriContainer& container,
                                             const NriCall& call) {
  switch (event) {
    case NriEvent::kRunPodSandbox:
      FL_TRY(handler.run_pod_sandbox(pod, call));
      return empty_answer();
    case NriEvent::kStopPodSandbox:
      FL_TRY(handler.stop_pod_sandbox(pod, call));
      return empty_answer();
    case NriEvent::kRemovePodSandbox:
      FL_TRY(handler.remove_pod_sandbox(pod, call));
      return empty_answer();
    case NriEvent::kCreateContainer: {
      FL_ASSIGN(const NriAdjustment adjustment, handler.create_container(pod, container, call));
      nri_pb::CreateContainerResponse response;
      to_wire(adjustment, *response.mutable_adjust());
      return serialized(response);
    }
    case NriEvent::kPostCreateContainer:
    case NriEvent::kStartContainer:
    case NriEvent::kPostStartContainer:
    case NriEvent::kStopContainer:
    case NriEvent::kRemoveContainer:
      break;
  }
  FL_TRY(handler.container_event(event, pod, container, call));
  return empty_answer();
}

/// Runs the job in a thread of `handlers`; whatever becomes of it, the answer leaves at the deadline, which
/// is ahead of the moment when the runtime would give up and go on without us.
void NriPlugin::Impl::dispatch(const SessionPtr& session, Job job, SteadyTime runtime_gives_up,
                               TtrpcReply reply) {
  const SteadyTime now = std::chrono::steady_clock::now();
  std::chrono::steady_clock::duration limit{};
  {
    const Lock lock(session->mutex);
    limit = session->request_timeout;
  }
  if (runtime_gives_up < now + limit) {
    limit = runtime_gives_up - now;
  }
  const auto ours = limit - std::min<std::chrono::steady_clock::duration>(options.margin, limit / 4);
  const NriCall call{.deadline = now + ours};
  const auto in_ms = [](auto duration) {
    return std::to_string(std::chrono::round<milliseconds>(duration).count());
  };
  const Timer::Id alarm =
      timer.at(call.deadline,
               [reply, text = job.what + " took longer than " + in_ms(ours) + " ms; the runtime waits " +
                              in_ms(limit) +
                              " ms (containerd: plugin_request_timeout, CRI-O: "
                              "nri_plugin_request_timeout)"] { (void)reply(Error(Code::kInternal, text)); });
  {
    const Lock lock(mutex);
    ++jobs;
  }
  const bool synchronizes = job.what == "Synchronize";
  Executor::Keys keys = std::move(job.keys);
  auto taken = handlers.submit(std::move(keys), [this, session, call, alarm, reply, synchronizes,
                                                 job = std::move(job)](Executor::Turn&) mutable {
    const ScopeExit done([this] { job_done(); });
    if (std::chrono::steady_clock::now() >= call.deadline) {
      log::warn("NRI event not handled: its time was over before its turn came", {{"event", job.what}});
      return;
    }
    const auto result = job.run(call);
    const std::string outcome = result ? "ok" : result.error().what();
    timer.cancel(alarm);
    if (!reply(as_answer(result))) {
      log::warn("the answer to an NRI event came too late or the connection is gone, dropped",
                {{"event", job.what}, {"answer", outcome}});
      return;
    }
    if (!result) {
      log::debug("NRI event failed", {{"event", job.what}, {"error", outcome}});
    }
    if (synchronizes && result) {
      synchronized(session);
    }
  });
  if (!taken) {
    timer.cancel(alarm);
    job_done();
    (void)reply(std::move(taken).error());
  }
}

void NriPlugin::Impl::job_done() {
  const Lock lock(mutex);
  --jobs;
  changed.notify_all();
}

void NriPlugin::Impl::synchronized(const SessionPtr& of) {
  const Lock lock(mutex);
  if (connection == nullptr || connection->session != of || connection->end) {
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
    while (jobs > 0 && connection != nullptr && !connection->end) {
      if (changed.wait_until(mutex, patience) == std::cv_status::timeout) {
        break;
      }
    }
    if (connection != nullptr) {
      connection->mux.close();
    }
    changed.notify_all();
  }
  watch.stop();
  if (thread.joinable()) {
    thread.join();
  }
  handlers.stop();
  timer.stop();
}

// ---- the public class -------------------------------------------------------------------------------------

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
