// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/pod_runner.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "drydock/node/cluster_view.h"
#include "fairlead/core/log.h"

namespace drydock {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
constexpr milliseconds kLongestRetry(10'000);
constexpr std::size_t kKeptLines = 2000;

std::chrono::microseconds since(Clock::time_point start) {
  return std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start);
}

/// Trying again cannot help.
bool is_final(Code code) { return code == Code::kInvalid || code == Code::kUnsupported; }

std::string names_of(const std::vector<AllocatedClaim>& claims) {
  std::string out;
  for (const auto& claim : claims) {
    out += (out.empty() ? "" : ", ") + claim.pod_claim;
  }
  return out;
}

}  // namespace

PodRunner::PodRunner(const PodContext& context, Json pod)
    : context_(context), pod_(std::move(pod)), wake_(::eventfd(0, EFD_CLOEXEC)) {
  outcome_.namespace_ = pod_["metadata"].value("namespace", "");
  outcome_.name = pod_["metadata"].value("name", "");
  outcome_.uid = pod_["metadata"].value("uid", "");
  thread_ = std::thread([this] { run(); });
}

PodRunner::~PodRunner() {
  stop();
  thread_.join();
}

void PodRunner::stop() {
  stopping_ = true;
  const std::uint64_t one = 1;
  (void)!::write(wake_.get(), &one, sizeof one);
}

PodOutcome PodRunner::outcome() const {
  const fairlead::Lock lock(mutex_);
  return outcome_;
}

void PodRunner::say(const std::string& text) const {
  context_.console->step("pod " + name() + ": " + text, since(started_));
}

bool PodRunner::pause(milliseconds duration) {
  pollfd item{.fd = wake_.get(), .events = POLLIN, .revents = 0};
  (void)::poll(&item, 1, static_cast<int>(duration.count()));
  return !stopping();
}

void PodRunner::set_phase(PodOutcome::Phase phase) {
  const fairlead::Lock lock(mutex_);
  outcome_.phase = phase;
}

void PodRunner::fail(const Failure& failure) {
  {
    const fairlead::Lock lock(mutex_);
    outcome_.phase = PodOutcome::Phase::kFailed;
    if (outcome_.reason.empty()) {
      outcome_.reason = failure.reason + ": " + failure.message;
    }
  }
}

void PodRunner::keep_line(const OutputLine& line) {
  context_.console->output(name() + "/" + line.container, line.text);
  const fairlead::Lock lock(mutex_);
  auto& container = outcome_of(line.container);
  if (container.lines.size() < kKeptLines) {
    container.lines.push_back(line.text);
  }
}

/// Runs a step until it succeeds, with back-off; every failure is an event on the pod.
bool PodRunner::try_start(const std::string& reason, const std::string& prefix,
                          const std::function<Result<>()>& step) {
  const auto deadline = started_ + context_.options.start_timeout;
  auto wait = context_.options.first_retry;
  std::string last;
  for (int failures = 0; !stopping();) {
    auto done = step();
    if (done) {
      return true;
    }
    const std::string message = prefix + done.error().what();
    context_.cluster->record_event(pod_, {.warning = true, .reason = reason, .message = message});
    if (message != std::exchange(last, message)) {
      context_.console->fail("pod " + name() + ": " + reason + ": " + message);
    }
    const auto code = done.error().code();
    failures += code == Code::kUnavailable ? 0 : 1;
    if (is_final(code) || failures > context_.options.retries || Clock::now() + wait > deadline) {
      fail({.reason = reason, .message = message, .code = code});
      return false;
    }
    (void)pause(wait);
    wait = std::min(wait * 2, kLongestRetry);
  }
  return false;
}

void PodRunner::show_allocations() const {
  for (const auto& entry : context_.cluster->pod_claims(pod_)) {
    for (const auto& line : describe_allocation(entry.claim.value_or(Json()))) {
      say(entry.entry + ": " + line);
    }
  }
}

Result<> PodRunner::prepare_claims() {
  FL_ASSIGN(claims_, allocated_claims(*context_.cluster, pod_));
  if (entered_.empty()) {
    show_allocations();
  }
  for (const auto& claim : claims_) {
    if (std::find(entered_.begin(), entered_.end(), claim.id) == entered_.end()) {
      entered_.push_back(claim.id);
    }
  }
  return context_.claims->prepare(pod_["metadata"].value("uid", ""), claims_);
}

bool PodRunner::start() {
  auto parsed = parse_pod(pod_.dump());
  if (!parsed) {
    const std::string message = parsed.error().what();
    context_.cluster->record_event(pod_, {.warning = true, .reason = "Failed", .message = message});
    fail({.reason = "Failed", .message = message});
    return false;
  }
  instance_ = std::make_unique<PodInstance>(context_.services, *std::move(parsed),
                                            [this](const OutputLine& line) { keep_line(line); });
  if (!bring_up()) {
    return false;
  }
  if (context_.options.lose_sandbox) {
    lose_at_ = Clock::now() + *context_.options.lose_sandbox;
  }
  return true;
}

bool PodRunner::bring_up() {
  if (!try_start("FailedPrepareDynamicResources",
                 "Failed to prepare dynamic resources: ", [this] { return prepare_claims(); })) {
    return false;
  }
  if (!claims_.empty()) {
    say("claims prepared: " + names_of(claims_));
  }
  if (!try_start("FailedCreatePodSandBox",
                 "Failed to create pod sandbox: ", [this] { return instance_->make_sandbox(); })) {
    return false;
  }
  say(instance_->pod().host_network ? "sandbox made, in the node's own network"
                                    : "sandbox made, eth0 " + instance_->ip());
  return run_init_containers() && start_containers();
}

bool PodRunner::start_one(const ContainerSpec& container) {
  judged_.erase(container.name);
  const bool started = try_start("Failed", "Error: ", [&] {
    return instance_->start_container(container, context_.claims->cdi_devices(container, claims_));
  });
  if (started) {
    const fairlead::Lock lock(mutex_);
    outcome_of(container.name).ended = false;
  }
  return started;
}

bool PodRunner::run_init_container(const ContainerSpec& container) {
  if (!start_one(container)) {
    return false;
  }
  say("init container " + container.name + " started");
  while (true) {
    const auto ended = instance_->wait(wake_.get());
    if (!ended) {
      fail({.reason = "Failed", .message = ended.error().what()});
      return false;
    }
    if (!*ended) {
      return false;
    }
    std::vector<Restart> restarts;
    if (!take_ends(restarts)) {
      return false;
    }
    if (restarts.empty()) {
      return true;
    }
    const auto wait = std::chrono::ceil<milliseconds>(restarts[0].when - Clock::now());
    if (!pause(std::max(wait, milliseconds(0))) || !start_due(restarts)) {
      return false;
    }
  }
}

bool PodRunner::run_init_containers() {
  const auto& all = instance_->pod().init_containers;
  return std::all_of(all.begin(), all.end(),
                     [this](const ContainerSpec& container) { return run_init_container(container); });
}

bool PodRunner::start_containers() {
  for (const auto& container : instance_->pod().containers) {
    if (!start_one(container)) {
      return false;
    }
    say("container " + container.name + " started");
  }
  set_phase(PodOutcome::Phase::kRunning);
  write_status("Running");
  return true;
}

ContainerOutcome& PodRunner::outcome_of(const std::string& container) {
  auto& all = outcome_.containers;
  const auto found = std::find_if(all.begin(), all.end(), [&](const auto& c) { return c.name == container; });
  return found == all.end() ? all.emplace_back(ContainerOutcome{.name = container}) : *found;
}

std::string PodRunner::name() const { return pod_["metadata"].value("name", ""); }

/// Takes the containers' ends into the outcome.
void PodRunner::note_states() {
  for (const auto& state : instance_->states()) {
    if (state.exit) {
      const fairlead::Lock lock(mutex_);
      auto& container = outcome_of(state.container);
      container.ended = true;
      container.exit_code = state.exit->code;
    }
  }
}

/// What restartPolicy says of an end; a pod that must fail for it has failed then.
std::optional<PodRunner::Restart> PodRunner::judge(const ContainerSpec& container, const ExitStatus& exit) {
  const auto& policy = instance_->pod().restart_policy;
  const auto& all = instance_->pod().init_containers;
  const bool is_init =
      std::any_of(all.begin(), all.end(), [&](const auto& c) { return c.name == container.name; });
  if (exit.ok()) {
    say("container " + container.name + " ended, exit status 0");
  }
  if (exit.ok() && (is_init || policy != "Always" || !context_.options.restart_succeeded)) {
    return std::nullopt;
  }
  int restarts = 0;
  {
    const fairlead::Lock lock(mutex_);
    restarts = outcome_of(container.name).restarts;
  }
  const std::string message = "container " + container.name + " ended with " + to_string(exit);
  if (!exit.ok() && (policy == "Never" || restarts >= context_.options.retries)) {
    const std::string why = policy == "Never" ? message
                                              : message + ", back-off restarting failed container (" +
                                                    std::to_string(restarts) + " restarts)";
    context_.console->fail("pod " + name() + ": " + why);
    fail({.reason = policy == "Never" ? "Error" : "CrashLoopBackOff", .message = why});
    return std::nullopt;
  }
  if (!exit.ok()) {
    context_.console->note("pod " + name() + ": " + message + "; restartPolicy is " + policy);
  }
  // The kubelet starts it again at once the first time, then after 10 s, 20 s ...
  auto wait = context_.options.first_retry;
  for (int i = 1; i < restarts && wait < kLongestRetry; ++i) {
    wait *= 2;
  }
  return Restart{.container = &container,
                 .when = Clock::now() + (restarts == 0 ? milliseconds(0) : std::min(wait, kLongestRetry))};
}

/// The ends that were not seen yet; false when the pod has failed for one.
bool PodRunner::take_ends(std::vector<Restart>& restarts) {
  note_states();
  const auto& pod = instance_->pod();
  for (const auto& state : instance_->states()) {
    if (!state.exit || !judged_.insert(state.container).second) {
      continue;
    }
    for (const auto* list : {&pod.init_containers, &pod.containers}) {
      const auto found =
          std::find_if(list->begin(), list->end(), [&](const auto& c) { return c.name == state.container; });
      if (found == list->end()) {
        continue;
      }
      if (const auto restart = judge(*found, *state.exit)) {
        restarts.push_back(*restart);
      }
    }
  }
  return outcome().phase != PodOutcome::Phase::kFailed;
}

bool PodRunner::start_due(std::vector<Restart>& restarts) {
  for (auto next = restarts.begin(); next != restarts.end();) {
    if (next->when > Clock::now()) {
      ++next;
      continue;
    }
    const auto* container = next->container;
    next = restarts.erase(next);
    if (!start_one(*container)) {
      return false;
    }
    int count = 0;
    {
      const fairlead::Lock lock(mutex_);
      count = ++outcome_of(container->name).restarts;
    }
    say("container " + container->name + " started again (restart " + std::to_string(count) + ")");
    write_status("Running");
  }
  return true;
}

bool PodRunner::renew_sandbox() {
  const auto& policy = instance_->pod().restart_policy;
  if (policy == "Never") {
    fail({.reason = "Error", .message = "the pod's sandbox has died"});
    context_.console->fail("pod " + name() + ": the pod's sandbox has died; restartPolicy is Never");
    return false;
  }
  const std::string message = "Pod sandbox changed, it will be killed and re-created.";
  context_.cluster->record_event(pod_, {.warning = false, .reason = "SandboxChanged", .message = message});
  context_.console->note("pod " + name() + ": SandboxChanged: " + message);
  auto done = instance_->stop_containers(context_.options.longest_grace);
  if (done) {
    done = instance_->stop_sandbox();
  }
  if (!done) {
    fail({.reason = "FailedKillPod", .message = done.error().what()});
    return false;
  }
  return bring_up();
}

void PodRunner::watch_containers() {
  std::vector<Restart> restarts;
  while (true) {
    auto next = lose_at_;
    for (const auto& restart : restarts) {
      next = next ? std::min(*next, restart.when) : restart.when;
    }
    const auto wake = instance_->wait_for_end(wake_.get(), next);
    if (!wake) {
      fail({.reason = "Failed", .message = wake.error().what()});
      return;
    }
    if (lose_at_ && Clock::now() >= *lose_at_) {
      lose_at_.reset();
      instance_->lose_sandbox();
      continue;
    }
    if (*wake == PodInstance::Wake::kSandboxGone) {
      restarts.clear();
      if (!renew_sandbox()) {
        return;
      }
      continue;
    }
    // With restartPolicy Never the others run to their end even if one has failed.
    const bool alive = take_ends(restarts) || instance_->pod().restart_policy == "Never";
    if (!alive || *wake == PodInstance::Wake::kAsked || !start_due(restarts)) {
      return;
    }
    const auto states = instance_->states();
    if (restarts.empty() &&
        std::all_of(states.begin(), states.end(), [](const auto& state) { return state.exit.has_value(); })) {
      if (outcome().phase != PodOutcome::Phase::kFailed) {
        set_phase(PodOutcome::Phase::kEnded);
      }
      return;
    }
  }
}

Result<> PodRunner::unprepare() {
  const auto deadline = Clock::now() + context_.options.teardown_timeout;
  auto wait = context_.options.first_retry;
  std::string last;
  while (true) {
    auto done = context_.claims->unprepare(pod_["metadata"].value("uid", ""), entered_);
    if (done) {
      return {};
    }
    const std::string message = "Failed to unprepare dynamic resources: " + done.error().what();
    context_.cluster->record_event(
        pod_, {.warning = true, .reason = "FailedUnprepareDynamicResources", .message = message});
    if (message != std::exchange(last, message)) {
      context_.console->fail("pod " + name() + ": " + message);
    }
    if (Clock::now() + wait > deadline) {
      return std::move(done).error();
    }
    std::this_thread::sleep_for(wait);
    wait = std::min(wait * 2, kLongestRetry);
  }
}

void PodRunner::tear_down() {
  Result<> done;
  if (instance_) {
    done = instance_->stop_containers(context_.options.longest_grace);
    note_states();
    if (done) {
      done = instance_->stop_sandbox();
    }
  }
  // As the kubelet: the driver is not called before the pod's network is down, and what is left of the
  // sandbox goes afterwards.
  if (done) {
    done = unprepare();
  }
  if (instance_) {
    if (auto removed = instance_->remove_sandbox(); done && !removed) {
      done = std::move(removed);
    }
  }
  const auto phase = outcome().phase;
  write_status(phase == PodOutcome::Phase::kFailed ? "Failed" : "Succeeded");
  if (done && instance_) {
    say(entered_.empty() ? "sandbox removed" : "sandbox removed, claims unprepared");
  }
  const fairlead::Lock lock(mutex_);
  outcome_.torn_down = true;
  if (!done) {
    outcome_.teardown_error = done.error().what();
  }
}

void PodRunner::write_status(const std::string& phase) {
  const auto now = outcome();
  Json containers = Json::array();
  for (const auto& container : now.containers) {
    Json state = container.ended ? Json{{"terminated", {{"exitCode", container.exit_code}}}}
                                 : Json{{"running", Json::object()}};
    containers.push_back({{"name", container.name},
                          {"ready", !container.ended},
                          {"restartCount", container.restarts},
                          {"state", std::move(state)}});
  }
  Json status = {{"phase", phase}, {"containerStatuses", std::move(containers)}};
  if (instance_ && !instance_->ip().empty()) {
    status["podIP"] = instance_->ip();
    status["podIPs"] = Json::array({{{"ip", instance_->ip()}}});
    status["hostIP"] = NodeNetwork::node_ip();
  }
  const auto written = context_.cluster->set_pod_status(now.namespace_, now.name, status);
  if (!written) {
    fairlead::log::warn("pod status not written", {{"pod", now.name}, {"error", written.error().what()}});
  }
}

void PodRunner::run() {
  started_ = Clock::now();
  if (start()) {
    watch_containers();
  }
  tear_down();
}

}  // namespace drydock
