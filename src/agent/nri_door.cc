// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/nri_door.h"

#include <fcntl.h>

#include <algorithm>
#include <map>
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

/// The work gives up this long before rpc::NriPlugin answers for it, so that it can say what it waited for.
constexpr milliseconds kWorkMargin{50};
/// Nobody waits for a reconcile.
constexpr std::chrono::seconds kReconcileTime{10};

std::string name_of(const NriPod& pod) { return pod.namespace_ + "/" + pod.name; }
std::string name_of(const dra::ClaimRecord& record) {
  return record.claim.namespace_ + "/" + record.claim.name;
}

constexpr const char* kHostNetwork =
    "the pod uses the node's own network (hostNetwork: true), so it can get no network interface";

/// Docker's and containerd's ids are 64 hex digits; a short one could be part of anything.
constexpr std::size_t kShortestId = 32;

/// /proc/<pid>/ns/net, if the process is in the sandbox's cgroup. Without the node's pid namespace <pid> is
/// somebody else here, and its namespace would be a stranger's.
Result<UniqueFd> open_by_process(const NriPod& pod) {
  if (pod.pid == 0 || pod.id.size() < kShortestId) {
    return Error(Code::kNotFound, "the runtime does not say which process the sandbox has");
  }
  const std::string proc = "/proc/" + std::to_string(pod.pid);
  FL_ASSIGN(const std::string before, sys::read_file(proc + "/cgroup"), "");
  FL_ASSIGN(UniqueFd netns, sys::open_netns(proc + "/ns/net"), "");
  FL_ASSIGN(const std::string after, sys::read_file(proc + "/cgroup"), "");
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

bool has_run(const NriContainer& container) {
  switch (container.state) {
    case rpc::NriContainerState::kRunning:
    case rpc::NriContainerState::kPaused:
    case rpc::NriContainerState::kStopped:
      return true;
    case rpc::NriContainerState::kCreated:
    case rpc::NriContainerState::kUnknown:
      return false;
  }
  return false;
}

std::vector<dra::ClaimRecord> attachable(std::vector<dra::ClaimRecord> records) {
  std::erase_if(records, [](const auto& record) { return !AttachService::is_attachable(record); });
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

/// A live sandbox of a pod when a connection is made.
struct NriDoor::Reconciled {
  const NriPod* pod = nullptr;
  UniqueFd netns;
  sys::NetnsId id;
  bool has_run = false;  // an application's container
};

std::vector<rpc::NriEvent> NriDoor::events() {
  return {rpc::NriEvent::kRunPodSandbox, rpc::NriEvent::kStopPodSandbox, rpc::NriEvent::kRemovePodSandbox};
}

NriDoor::NriDoor(AttachService& service) : service_(&service), work_({.lanes = {1}}) {}

NriDoor::~NriDoor() { stop(); }

void NriDoor::stop() { work_.stop(); }

void NriDoor::configured(const rpc::NriRuntime& runtime) {
  log::info("NRI is there", {{"runtime", runtime.name},
                             {"version", runtime.version},
                             {"nri", runtime.nri_version.empty() ? "<= 0.11" : runtime.nri_version},
                             {"limit_ms", runtime.request_timeout.count()}});
}

void NriDoor::disconnected(const Error& why) {
  if (closing_) {
    return;
  }
  log::warn("NRI is away; the guard attaches until it is back", {{"error", why.what()}});
}

// ---- a sandbox begins

Result<> NriDoor::attach_pod(const NriPod& pod, const std::vector<dra::ClaimRecord>& records,
                             steady_clock::time_point deadline) {
  const auto netns = open_pod_netns(pod);
  if (!netns) {
    log::warn("a pod is left to the guard", {{"pod", name_of(pod)}, {"error", netns.error().what()}});
    return {};
  }
  FL_ASSIGN(const sys::NetnsId id, sys::netns_id(netns->get()), "");
  service_->remember(pod.id, id);
  for (const dra::ClaimRecord& record : records) {
    FL_TRY(service_->attach({.door = Door::kNri,
                             .claim_uid = record.claim.uid,
                             .netns = netns->get(),
                             .sandbox = pod.id,
                             .container = "",
                             .deadline = deadline}),
           "claim " + name_of(record));
    log::info("claim attached",
              {{"door", "nri"}, {"claim", record.claim.uid}, {"pod", name_of(pod)}, {"sandbox", pod.id}});
  }
  return {};
}

Result<> NriDoor::run_pod_sandbox(const NriPod& pod, const NriCall& call) {
  const auto records = attachable(service_->claims().records_of_pod(pod.uid));
  if (records.empty()) {
    return {};
  }
  Result<> done;
  if (pod.netns.empty()) {
    done = Error(Code::kDenied, kHostNetwork).with("claim " + name_of(records.front()));
    for (const dra::ClaimRecord& record : records) {
      service_->refuse(record, kHostNetwork);
    }
  } else {
    done = attach_pod(pod, records, call.deadline - kWorkMargin);
  }
  if (!done) {
    log::error("attach failed", {{"pod", name_of(pod)}, {"sandbox", pod.id}, {"error", done.error().what()}});
  }
  return done;
}

// ---- a sandbox ends

void NriDoor::release_pod(const NriPod& pod, const NriCall& call) {
  const auto records = attachable(service_->claims().records_of_pod(pod.uid));
  if (records.empty()) {
    return;
  }
  const auto netns = pod.netns.empty() ? Result<UniqueFd>(UniqueFd()) : open_pod_netns(pod);
  const Sandbox sandbox{.id = pod.id, .netns = netns ? netns->get() : -1};
  for (const dra::ClaimRecord& record : records) {
    const auto released = service_->release(record.claim.uid, sandbox, call.deadline - kWorkMargin);
    if (!released) {
      log::warn("a pod that ends still has what it took; Unprepare takes it back",
                {{"pod", name_of(pod)},
                 {"sandbox", pod.id},
                 {"claim", record.claim.uid},
                 {"error", released.error().what()}});
    }
  }
}

Result<> NriDoor::stop_pod_sandbox(const NriPod& pod, const NriCall& call) {
  release_pod(pod, call);
  return {};
}

Result<> NriDoor::remove_pod_sandbox(const NriPod& pod, const NriCall& call) {
  release_pod(pod, call);
  service_->forget(pod.id);
  return {};
}

// ---- a connection begins

Result<> NriDoor::synchronize(const std::vector<NriPod>& pods, const std::vector<NriContainer>& containers,
                              const NriCall& /*call*/) {
  return work_.submit({"reconcile"}, [this, pods, containers](Executor::Turn&) {
    const auto start = steady_clock::now();
    const auto done = reconcile(pods, containers);
    if (service_->claims().operation_finished) {
      service_->claims().operation_finished("reconcile", to_string(Door::kNri),
                                            done ? std::nullopt : std::optional<Code>(done.error().code()),
                                            steady_clock::now() - start);
    }
    if (!done) {
      log::warn("not everything is as it should be", {{"error", done.error().what()}});
    }
  });
}

Result<> NriDoor::reconcile(const std::vector<NriPod>& pods, const std::vector<NriContainer>& containers) {
  std::map<std::string, std::vector<Reconciled>> live;  // by the pod's uid
  for (const NriPod& pod : pods) {
    auto netns = pod.netns.empty() ? Result<UniqueFd>(UniqueFd()) : open_pod_netns(pod);
    const auto id = netns && netns->valid() ? sys::netns_id(netns->get())
                                            : Result<sys::NetnsId>(Error(Code::kNotFound, ""));
    if (!id) {
      continue;  // dead, hostNetwork, or not visible here: nothing can be compared
    }
    service_->remember(pod.id, *id);
    const bool has_run = std::ranges::any_of(containers, [&](const NriContainer& container) {
      return container.pod_id == pod.id && agent::has_run(container);
    });
    live[pod.uid].push_back({.pod = &pod, .netns = *std::move(netns), .id = *id, .has_run = has_run});
  }
  Result<> first;
  for (const auto& [uid, sandboxes] : live) {
    for (const dra::ClaimRecord& record : attachable(service_->claims().records_of_pod(uid))) {
      auto done = reconcile_claim(record, sandboxes);
      if (!done && first) {
        first = std::move(done).error().with("claim " + name_of(record));
      }
    }
  }
  return first;
}

Result<> NriDoor::reconcile_claim(const dra::ClaimRecord& record, const std::vector<Reconciled>& sandboxes) {
  FL_ASSIGN(const ClaimState state, parse_claim_state(record.prepared.state), "");
  const auto home = std::ranges::find_if(
      sandboxes, [&](const Reconciled& sandbox) { return state.netns && *state.netns == sandbox.id; });
  if (home != sandboxes.end() && state.phase == AttachPhase::kAttached) {
    service_->check(record, home->netns.get());
    return {};
  }
  if (home != sandboxes.end() && state.phase == AttachPhase::kReleased) {
    return {};  // its sandbox has stopped; only the namespace is still there
  }
  if (sandboxes.size() != 1) {
    return {};  // which of them is the pod's now, its next container tells: the guard attaches
  }
  const Reconciled& sandbox = sandboxes.front();
  if (!sandbox.has_run) {
    return service_->attach({.door = Door::kNri,
                             .claim_uid = record.claim.uid,
                             .netns = sandbox.netns.get(),
                             .sandbox = sandbox.pod->id,
                             .container = "",
                             .deadline = steady_clock::now() + kReconcileTime});
  }
  // Never behind the application's back: it looked for its interface when it started.
  const std::string why = "containers of pod " + name_of(*sandbox.pod) +
                          " run without the claim's interfaces; delete the pod to have it started again";
  service_->refuse(record, why, "NotAttached");
  return Error(Code::kConflict, why);
}

}  // namespace fairlead::agent
