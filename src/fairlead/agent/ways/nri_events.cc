// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/ways/nri_events.h"

#include <fcntl.h>

#include <algorithm>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "fairlead/core/log.h"
#include "fairlead/sys/files.h"
#include "fairlead/sys/netns.h"

namespace fairlead::agent {

using rpc::NriCall;
using rpc::NriContainer;
using rpc::NriPod;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

/// The work gives up this long before rpc::NriPlugin responds for it, so that the error says what it waited
/// for.
constexpr milliseconds kWorkMargin{50};
/// A reconcile runs in the background, so it may take longer.
constexpr std::chrono::seconds kReconcileTime{10};
/// The release for a sandbox that ends continues in the background for at most this long; after that
/// Unprepare does it.
constexpr std::chrono::seconds kReleaseTime{20};
constexpr std::size_t kReconcileLane = 0, kReleaseLane = 1;
constexpr unsigned kReleaseThreads = 4;

std::string name_of(const NriPod& pod) { return pod.namespace_ + "/" + pod.name; }
std::string name_of(const dra::ClaimRecord& record) {
  return record.claim.namespace_ + "/" + record.claim.name;
}

dra::Pod named(const NriPod& pod) { return {.name = pod.name, .uid = pod.uid}; }

/// Docker's and containerd's ids are 64 hex digits; a short one could be part of anything.
constexpr std::size_t kShortestId = 32;

/// /proc/<pid>/ns/net, if the process is in the sandbox's cgroup. Without the node's pid namespace, <pid> is
/// an unrelated process here, with an unrelated namespace.
Result<UniqueFd> open_by_process(const NriPod& pod) {
  if (pod.pid == 0 || pod.id.size() < kShortestId) {
    return Error(Code::kNotFound, "the runtime does not say which process the sandbox has");
  }
  const std::string proc = "/proc/" + std::to_string(pod.pid);
  FL_ASSIGN(const std::string before, sys::read_file(proc + "/cgroup"));
  FL_ASSIGN(UniqueFd netns, sys::open_netns(proc + "/ns/net"));
  FL_ASSIGN(const std::string after, sys::read_file(proc + "/cgroup"));
  if (before.find(pod.id) == std::string::npos || before != after) {
    return Error(Code::kNotFound, "process " + std::to_string(pod.pid) + " is not the sandbox's here");
  }
  return netns;
}

/// "/var/run" is "/run" on every host, but not in every image.
Result<UniqueFd> open_by_path(const std::string& path) {
  constexpr std::string_view kVar = "/var";
  auto netns = sys::open_netns(path);
  if (netns || !path.starts_with("/var/run/")) {
    return netns;
  }
  auto other = sys::open_netns(path.substr(kVar.size()));
  return other ? std::move(other) : std::move(netns);
}

/// A stopped container does not count: it may have failed in the guard, and be started again successfully.
bool runs(const NriContainer& container) {
  return container.state == rpc::NriContainerState::kRunning ||
         container.state == rpc::NriContainerState::kPaused;
}

bool uses(const NriContainer& container, const std::vector<std::string>& cdi_ids) {
  return std::ranges::any_of(container.cdi_devices, [&](const std::string& id) {
    return std::ranges::find(cdi_ids, id) != cdi_ids.end();
  });
}

std::vector<dra::ClaimRecord> attachable(std::vector<dra::ClaimRecord> records, const PlanReader& plans) {
  std::erase_if(records, [&](const auto& record) { return !is_attachable(record, plans); });
  return records;
}

}  // namespace

Result<UniqueFd> open_pod_netns(const NriPod& pod) {
  auto by_path = open_by_path(pod.netns);
  if (by_path) {
    return by_path;
  }
  auto by_process = open_by_process(pod);
  if (by_process) {
    return by_process;
  }
  return Error(Code::kNotFound, "the pod's network namespace " + pod.netns + " is not visible here (" +
                                    by_path.error().what() + "; " + by_process.error().what() +
                                    "); mount its folder with mountPropagation: HostToContainer");
}

struct NriEvents::Snapshot {
  std::vector<NriPod> pods;
  std::vector<NriContainer> containers;
};

/// A live sandbox of a pod when a connection is made.
struct NriEvents::Reconciled {
  const NriPod* pod = nullptr;
  UniqueFd netns;
  sys::NetnsId id;
  std::vector<const NriContainer*> containers;
};

std::vector<rpc::NriEvent> NriEvents::events() {
  return {rpc::NriEvent::kRunPodSandbox, rpc::NriEvent::kStopPodSandbox, rpc::NriEvent::kRemovePodSandbox};
}

NriEvents::NriEvents(AttachService& service) : service_(&service), work_({.lanes = {1, kReleaseThreads}}) {}

NriEvents::~NriEvents() { stop(); }

void NriEvents::stop() { work_.stop(); }

void NriEvents::configured(const rpc::NriRuntime& runtime) {
  log::info("NRI connected", {{"runtime", runtime.name},
                              {"version", runtime.version},
                              {"nri", runtime.nri_version.empty() ? "<= 0.11" : runtime.nri_version},
                              {"limit_ms", runtime.request_timeout.count()}});
}

void NriEvents::disconnected(const Error& why) {
  service_->sandboxes().forget_all();
  if (closing_) {
    return;
  }
  log::warn("NRI disconnected; guard takes over", {{"error", why.what()}});
}

// ---- a sandbox begins

Result<> NriEvents::attach_pod(const NriPod& pod, int netns, const std::vector<dra::ClaimRecord>& records,
                               steady_clock::time_point deadline) {
  for (const dra::ClaimRecord& record : records) {
    if (steady_clock::now() >= deadline) {
      return Error(Code::kTimeout, "the runtime waits no longer; the kubelet tries again")
          .with("claim " + name_of(record));
    }
    FL_TRY(service_->attach({.via = AttachVia::kNri,
                             .claim_uid = record.claim.uid,
                             .netns = netns,
                             .sandbox = pod.id,
                             .container = "",
                             .pod = named(pod),
                             .deadline = deadline}),
           "claim " + name_of(record));
    log::info("claim attached",
              {{"via", "nri"}, {"claim", record.claim.uid}, {"pod", name_of(pod)}, {"sandbox", pod.id}});
  }
  return {};
}

void NriEvents::leave_to_guard(const NriPod& pod, const std::vector<dra::ClaimRecord>& records,
                               const Error& why) {
  log::warn("a pod is left to the guard", {{"pod", name_of(pod)}, {"error", why.what()}});
  for (const dra::ClaimRecord& record : records) {
    service_->reports().not_attached(record,
                                     "attached when a container that lists the claim is created, no "
                                     "sooner: " +
                                         why.what());
  }
}

Result<> NriEvents::run_pod_sandbox(const NriPod& pod, const NriCall& call) {
  auto found = service_->host().records_of_pod(pod.uid);
  if (!found && found.error().code() == Code::kCorrupt) {  // it has claims, and what they say is lost
    Error error = std::move(found).error().with("cannot determine which claims pod " + name_of(pod) + " has");
    log::error("attach failed", {{"pod", name_of(pod)}, {"sandbox", pod.id}, {"error", error.what()}});
    return error;
  }
  if (!found) {
    // Nearly every pod has none, and must start. The guard fails the containers of one that has.
    log::error("it is not known which claims a pod has, the guard will ask again",
               {{"pod", name_of(pod)}, {"sandbox", pod.id}, {"error", found.error().what()}});
    return {};
  }
  const auto records = attachable(*std::move(found), service_->plans());
  if (pod.netns.empty()) {
    return refuse_host_network(pod, records);
  }
  // Remember every pod's namespace, even without claims: the kubelet never tells us about a second pod on a
  // shared claim, and this lets us name it when its guard is refused.
  const auto netns = open_pod_netns(pod);
  const auto id = netns ? sys::netns_id(netns->get()) : Result<sys::NetnsId>(netns.error());
  if (id) {
    service_->sandboxes().remember(pod.id, *id, named(pod));
  }
  if (records.empty()) {
    return {};
  }
  if (!id) {
    leave_to_guard(pod, records, id.error());
    return {};
  }
  auto done = attach_pod(pod, netns->get(), records, call.deadline - kWorkMargin);
  if (!done) {
    log::error("attach failed", {{"pod", name_of(pod)}, {"sandbox", pod.id}, {"error", done.error().what()}});
  }
  return done;
}

Result<> NriEvents::refuse_host_network(const NriPod& pod, const std::vector<dra::ClaimRecord>& records) {
  if (records.empty()) {
    return {};
  }
  for (const dra::ClaimRecord& record : records) {
    service_->reports().failed(record, -1, named(pod), "AttachFailed", kHostNetworkRefusal);
  }
  log::error("attach failed", {{"pod", name_of(pod)}, {"sandbox", pod.id}, {"error", kHostNetworkRefusal}});
  return Error(Code::kDenied, kHostNetworkRefusal).with("claim " + name_of(records.front()));
}

// ---- a sandbox ends

void NriEvents::release_pod(const NriPod& pod, int netns) {
  auto found = service_->host().records_of_pod(pod.uid);
  if (!found) {
    log::warn("cannot determine the claims of a pod that ends; Unprepare releases them",
              {{"pod", name_of(pod)}, {"sandbox", pod.id}, {"error", found.error().what()}});
    return;
  }
  const auto records = attachable(*std::move(found), service_->plans());
  const Sandbox sandbox{.id = pod.id, .netns = netns};
  const auto deadline = steady_clock::now() + kReleaseTime;
  for (const dra::ClaimRecord& record : records) {
    const auto released = service_->release(record.claim.uid, sandbox, deadline);
    if (!released) {
      log::warn("cannot release a claim of a pod that ends; Unprepare tries again",
                {{"pod", name_of(pod)},
                 {"sandbox", pod.id},
                 {"claim", record.claim.uid},
                 {"error", released.error().what()}});
    }
  }
}

/// A kernel call cannot be cancelled, and a runtime that waits too long for a response closes the connection:
/// so the event waits only until its deadline, and the work continues. The next attach of the claim waits for
/// its turn.
void NriEvents::release_until(const NriPod& pod, const NriCall& call) {
  service_->sandboxes().ended(pod.id);  // first: an attach in progress must see it
  // Opened here: the path may be gone after the runtime got its response.
  auto netns = pod.netns.empty() ? Result<UniqueFd>(UniqueFd()) : open_pod_netns(pod);
  auto over = std::make_shared<std::promise<void>>();
  auto done = over->get_future();
  const auto taken = work_.submit(
      {"pod/" + pod.uid},
      [this, pod, over, fd = netns ? *std::move(netns) : UniqueFd()](Executor::Turn&) {
        release_pod(pod, fd.valid() ? fd.get() : -1);
        over->set_value();
      },
      kReleaseLane);
  if (!taken) {
    log::warn("cannot release the claims of a pod that ends now; Unprepare does it",
              {{"pod", name_of(pod)}, {"sandbox", pod.id}, {"error", taken.error().what()}});
    return;
  }
  if (done.wait_until(call.deadline - kWorkMargin) == std::future_status::timeout) {
    log::info("releasing the claims of a pod takes long; it continues in the background",
              {{"pod", name_of(pod)}, {"sandbox", pod.id}});
  }
}

Result<> NriEvents::stop_pod_sandbox(const NriPod& pod, const NriCall& call) {
  release_until(pod, call);
  return {};
}

Result<> NriEvents::remove_pod_sandbox(const NriPod& pod, const NriCall& call) {
  release_until(pod, call);
  return {};
}

// ---- a connection begins

Result<> NriEvents::synchronize(const std::vector<NriPod>& pods, const std::vector<NriContainer>& containers,
                                const NriCall& /*call*/) {
  auto snapshot = std::make_shared<const Snapshot>(Snapshot{.pods = pods, .containers = containers});
  {
    const Lock lock(mutex_);
    newest_ = snapshot;  // replaces one that was not started
  }
  auto task = [this, snapshot = std::weak_ptr(snapshot)](Executor::Turn&) {
    const auto current = snapshot.lock();
    if (!current || !is_current(*current)) {
      return;  // the runtime connected again: only its latest state counts
    }
    const auto start = steady_clock::now();
    const auto done = reconcile(*current);
    service_->host().operation_finished("reconcile", to_string(AttachVia::kNri),
                                        done ? std::nullopt : std::optional<Code>(done.error().code()),
                                        steady_clock::now() - start);
    const Lock lock(mutex_);
    newest_ = newest_ == current ? nullptr : newest_;
  };
  return work_.submit({"reconcile"}, std::move(task), kReconcileLane);
}

bool NriEvents::is_current(const Snapshot& snapshot) const {
  const Lock lock(mutex_);
  return !closing_ && newest_.get() == &snapshot;
}

std::optional<NriEvents::Reconciled> NriEvents::look_at(const Snapshot& snapshot, const NriPod& pod) const {
  auto netns = pod.netns.empty() ? Result<UniqueFd>(UniqueFd()) : open_pod_netns(pod);
  const auto id = netns && netns->valid() ? sys::netns_id(netns->get())
                                          : Result<sys::NetnsId>(Error(Code::kNotFound, ""));
  if (!id) {
    return std::nullopt;  // dead, hostNetwork, or not visible here: nothing can be compared
  }
  service_->sandboxes().remember(pod.id, *id, named(pod));
  Reconciled sandbox{.pod = &pod, .netns = *std::move(netns), .id = *id, .containers = {}};
  for (const NriContainer& container : snapshot.containers) {
    if (container.pod_id == pod.id) {
      sandbox.containers.push_back(&container);
    }
  }
  return sandbox;
}

Result<> NriEvents::reconcile(const Snapshot& snapshot) {
  // Older runtimes do not say it of any container.
  const bool tells_cdi = std::ranges::any_of(
      snapshot.containers, [](const NriContainer& container) { return !container.cdi_devices.empty(); });
  std::map<std::string, std::vector<const NriPod*>> pods;  // by the pod's uid
  for (const NriPod& pod : snapshot.pods) {
    pods[pod.uid].push_back(&pod);
  }
  Result<> first;
  for (const auto& [uid, of_pod] : pods) {
    if (!is_current(snapshot)) {
      return Error(Code::kCancelled, "the runtime connected again, or the program is stopping");
    }
    auto found = service_->host().records_of_pod(uid);
    if (!found) {
      log::warn(
          "cannot determine the claims of a pod, so its interfaces were not checked after the runtime "
          "connected; the guard asks again when a container of it starts",
          {{"pod", name_of(*of_pod.front())}, {"pod_uid", uid}, {"error", found.error().what()}});
      if (first) {
        first = std::move(found).error().with("pod with uid " + uid);
      }
      continue;
    }
    const auto records = attachable(*std::move(found), service_->plans());
    if (records.empty()) {
      continue;
    }
    std::vector<Reconciled> sandboxes;
    for (const NriPod* pod : of_pod) {
      if (auto sandbox = look_at(snapshot, *pod)) {
        sandboxes.push_back(*std::move(sandbox));
      }
    }
    for (const dra::ClaimRecord& record : records) {
      auto done = sandboxes.empty() ? Result<>() : reconcile_claim(record, sandboxes, tells_cdi);
      if (!done) {
        log::warn(
            "a claim of a running pod is not attached, found when the runtime connected",
            {{"pod", name_of(*of_pod.front())}, {"claim", record.claim.uid}, {"error", done.error().what()}});
      }
      if (!done && first) {
        first = std::move(done).error().with("claim " + name_of(record));
      }
    }
  }
  return first;
}

NriEvents::Use NriEvents::use_of(const dra::ClaimRecord& record, const Reconciled& sandbox,
                                 bool tells_cdi) const {
  const auto cdi_ids = service_->cdi_ids(record);
  bool something_runs = false;
  bool a_user_waits = false;
  for (const NriContainer* container : sandbox.containers) {
    const bool user = tells_cdi && uses(*container, cdi_ids);
    if (runs(*container) && user) {
      return Use::kRuns;
    }
    something_runs = something_runs || runs(*container);
    a_user_waits = a_user_waits || user;
  }
  return something_runs && !a_user_waits ? Use::kUnknown : Use::kNotYet;
}

Result<> NriEvents::reconcile_claim(const dra::ClaimRecord& record, const std::vector<Reconciled>& sandboxes,
                                    bool tells_cdi) {
  FL_ASSIGN(const AttachState state, parse_attach_state(record.prepared.state));
  // The kernel gives a namespace's number to the next one: the sandbox must be the same too.
  const auto home = std::ranges::find_if(sandboxes, [&](const Reconciled& sandbox) {
    return state.netns && *state.netns == sandbox.id &&
           (state.sandbox.empty() || state.sandbox == sandbox.pod->id);
  });
  const bool certain = home != sandboxes.end() && !state.sandbox.empty();
  if (certain && state.phase == AttachPhase::kReleased) {
    return {};  // its sandbox has stopped; only the namespace is still there
  }
  const auto use = [&](const Reconciled& sandbox) { return use_of(record, sandbox, tells_cdi); };
  if (home != sandboxes.end() && state.phase == AttachPhase::kAttached &&
      (certain || use(*home) != Use::kNotYet)) {
    service_->reports().check(record, home->netns.get(),
                              certain ? Namespace::kTheClaims : Namespace::kByNumber);
    return {};
  }
  if (sandboxes.size() != 1) {
    return {};  // the current one is known when its next container starts: the guard attaches
  }
  const Reconciled& sandbox = sandboxes.front();
  switch (use(sandbox)) {
    case Use::kNotYet:
      return service_->attach({.via = AttachVia::kNri,
                               .claim_uid = record.claim.uid,
                               .netns = sandbox.netns.get(),
                               .sandbox = sandbox.pod->id,
                               .container = "",
                               .pod = named(*sandbox.pod),
                               .deadline = steady_clock::now() + kReconcileTime});
    case Use::kUnknown:
      service_->reports().not_attached(
          record, "containers of pod " + name_of(*sandbox.pod) +
                      " run without the claim's interfaces; they are attached when a container that lists "
                      "the claim is created");
      return {};
    case Use::kRuns:
      break;
  }
  // Never attach to a running application: it looked for its interface when it started.
  const std::string why = "containers of pod " + name_of(*sandbox.pod) +
                          " run without the claim's interfaces; delete the pod to have it started again";
  service_->reports().failed(record, -1, named(*sandbox.pod), "NotAttached", why);
  return Error(Code::kConflict, why);
}

}  // namespace fairlead::agent
