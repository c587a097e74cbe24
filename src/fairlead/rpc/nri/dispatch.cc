// SPDX-License-Identifier: Apache-2.0
#include "fairlead/rpc/nri/dispatch.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "fairlead/core/log.h"

namespace fairlead::rpc {
namespace {

using std::chrono::milliseconds;
using SteadyTime = std::chrono::steady_clock::time_point;

/// Handlers that may run at once: one, and those that overran their deadlines.
constexpr unsigned kHandlerThreads = 8;

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

/// One request on its way through a handler.
struct NriDispatcher::Job {
  std::string what;     // "RunPodSandbox of pod ns/name", for people
  Executor::Keys keys;  // those of one pod come one after another
  std::move_only_function<Result<std::string>(const NriCall&)> run;
};

NriDispatcher::NriDispatcher(const NriPluginOptions& options, NriHandler& handler, Events events)
    : options_(options),
      handler_(handler),
      events_(std::move(events)),
      handlers_({.lanes = {kHandlerThreads}}) {}

void NriDispatcher::serve(const NriSessionPtr& session, const TtrpcRequest& request,
                          const TtrpcReply& reply) {
  auto job = job_of(session, request);
  if (!job) {
    (void)reply(std::move(job).error());
    return;
  }
  dispatch(session, std::move(*job), request.deadline, reply);
}

Result<NriDispatcher::Job> NriDispatcher::job_of(const NriSessionPtr& session, const TtrpcRequest& request) {
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

Result<NriDispatcher::Job> NriDispatcher::configure(const NriSessionPtr& session,
                                                    const TtrpcRequest& request) {
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
               handler_.configured(runtime);
               std::uint32_t events = 0;
               for (const NriEvent event : options_.events) {
                 events |= static_cast<std::uint32_t>(event);
               }
               nri_pb::ConfigureResponse response;
               response.set_events(static_cast<std::int32_t>(events));
               return serialized(response);
             }};
}

Result<NriDispatcher::Job> NriDispatcher::synchronize(const NriSessionPtr& session,
                                                      const TtrpcRequest& request) {
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
               FL_TRY(handler_.synchronize(pods, containers, call));
               return serialized(nri_pb::SynchronizeResponse());
             }};
}

/// NRI <= 0.11, and newer ones for a method that was reported as unknown.
Result<NriDispatcher::Job> NriDispatcher::state_change(const TtrpcRequest& request) {
  FL_ASSIGN(const auto message, parse_nri<nri_pb::StateChangeEvent>(request.payload, "StateChange"));
  const auto event = nri_event_of(message.event());
  if (!event) {  // newer than we are; not ours to fail
    return Job{.what = "StateChange", .keys = {}, .run = [](const NriCall&) { return empty_answer(); }};
  }
  return event_job(*event, message.pod(), message.container());
}

NriDispatcher::Job NriDispatcher::event_job(NriEvent event, const nri_pb::PodSandbox& pod_message,
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

Result<std::string> NriDispatcher::deliver(NriEvent event, const NriPod& pod, const NriContainer& container,
                                           const NriCall& call) {
  switch (event) {
    case NriEvent::kRunPodSandbox:
      FL_TRY(handler_.run_pod_sandbox(pod, call));
      return empty_answer();
    case NriEvent::kStopPodSandbox:
      FL_TRY(handler_.stop_pod_sandbox(pod, call));
      return empty_answer();
    case NriEvent::kRemovePodSandbox:
      FL_TRY(handler_.remove_pod_sandbox(pod, call));
      return empty_answer();
    case NriEvent::kCreateContainer: {
      FL_ASSIGN(const NriAdjustment adjustment, handler_.create_container(pod, container, call));
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
  FL_TRY(handler_.container_event(event, pod, container, call));
  return empty_answer();
}

/// Runs the job in a thread of `handlers_`; whatever becomes of it, the answer leaves at the deadline, which
/// is ahead of the moment when the runtime would give up and go on without us.
void NriDispatcher::dispatch(const NriSessionPtr& session, Job job, SteadyTime runtime_gives_up,
                             const TtrpcReply& reply) {
  const SteadyTime now = std::chrono::steady_clock::now();
  std::chrono::steady_clock::duration limit{};
  {
    const Lock lock(session->mutex);
    limit = session->request_timeout;
  }
  if (runtime_gives_up < now + limit) {
    limit = runtime_gives_up - now;
  }
  const auto ours = limit - std::min<std::chrono::steady_clock::duration>(options_.margin, limit / 4);
  const NriCall call{.deadline = now + ours};
  const auto in_ms = [](auto duration) {
    return std::to_string(std::chrono::round<milliseconds>(duration).count());
  };
  const Timer::Id alarm =
      timer_.at(call.deadline,
                [reply, text = job.what + " took longer than " + in_ms(ours) + " ms; the runtime waits " +
                               in_ms(limit) +
                               " ms (containerd: plugin_request_timeout, CRI-O: "
                               "nri_plugin_request_timeout)"] { (void)reply(Error(Code::kInternal, text)); });
  ++running_;
  const bool synchronizes = job.what == "Synchronize";
  Executor::Keys keys = std::move(job.keys);
  auto taken = handlers_.submit(std::move(keys), [this, session, call, alarm, reply, synchronizes,
                                                  job = std::move(job)](Executor::Turn&) mutable {
    const ScopeExit done([this] { job_done(); });
    if (std::chrono::steady_clock::now() >= call.deadline) {
      log::warn("NRI event not handled: its time was over before its turn came", {{"event", job.what}});
      return;
    }
    const auto result = job.run(call);
    const std::string outcome = result ? "ok" : result.error().what();
    timer_.cancel(alarm);
    if (!reply(as_answer(result))) {
      log::warn("the answer to an NRI event came too late or the connection is gone, dropped",
                {{"event", job.what}, {"answer", outcome}});
      return;
    }
    if (!result) {
      log::debug("NRI event failed", {{"event", job.what}, {"error", outcome}});
    }
    if (synchronizes && result) {
      events_.synchronized(session);
    }
  });
  if (!taken) {
    timer_.cancel(alarm);
    job_done();
    (void)reply(std::move(taken).error());
  }
}

void NriDispatcher::job_done() {
  --running_;
  events_.finished();
}

void NriDispatcher::stop() {
  handlers_.stop();
  timer_.stop();
}

}  // namespace fairlead::rpc
