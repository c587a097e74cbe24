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
  context_.console->step("pod " + pod_["metadata"].value("name", "") + ": " + text, since(started_));
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
  context_.console->output(pod_["metadata"].value("name", "") + "/" + line.container, line.text);
  const fairlead::Lock lock(mutex_);
  auto& all = outcome_.containers;
  auto found = std::find_if(all.begin(), all.end(), [&](const auto& c) { return c.name == line.container; });
  if (found == all.end()) {
    found = all.insert(all.end(), ContainerOutcome{.name = line.container});
  }
  if (found->lines.size() < kKeptLines) {
    found->lines.push_back(line.text);
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
      context_.console->fail("pod " + pod_["metadata"].value("name", "") + ": " + reason + ": " + message);
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
  FL_ASSIGN(claims_, allocated_claims(*context_.cluster, pod_), "");
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
  say("sandbox made, eth0 " + instance_->ip());
  return run_init_containers() && start_containers();
}

bool PodRunner::run_init_containers() {
  for (const auto& container : instance_->pod().init_containers) {
    if (!try_start("Failed", "Error: ", [&] {
          return instance_->start_container(container, context_.claims->cdi_devices(container, claims_));
        })) {
      return false;
    }
    say("init container " + container.name + " started");
    const auto ended = instance_->wait(wake_.get());
    if (!ended || !*ended) {
      return false;
    }
    note_states(true);
    if (outcome().phase == PodOutcome::Phase::kFailed) {
      return false;
    }
  }
  return true;
}

bool PodRunner::start_containers() {
  for (const auto& container : instance_->pod().containers) {
    if (!try_start("Failed", "Error: ", [&] {
          return instance_->start_container(container, context_.claims->cdi_devices(container, claims_));
        })) {
      return false;
    }
    say("container " + container.name + " started");
  }
  set_phase(PodOutcome::Phase::kRunning);
  write_status("Running");
  return true;
}

/// Takes the containers' ends into the outcome; `judge` also makes the pod fail for one that did not succeed.
void PodRunner::note_states(bool judge) {
  for (const auto& state : instance_->states()) {
    if (!state.exit) {
      continue;
    }
    bool is_new = false;
    {
      const fairlead::Lock lock(mutex_);
      auto& all = outcome_.containers;
      auto found =
          std::find_if(all.begin(), all.end(), [&](const auto& c) { return c.name == state.container; });
      if (found == all.end()) {
        found = all.insert(all.end(), ContainerOutcome{.name = state.container});
      }
      is_new = !std::exchange(found->ended, true);
      found->exit_code = state.exit->code;
    }
    if (!is_new || !judge) {
      continue;
    }
    if (state.exit->ok()) {
      say("container " + state.container + " ended, exit status 0");
    } else {
      const std::string message = "container " + state.container + " ended with " + to_string(*state.exit);
      context_.console->fail("pod " + pod_["metadata"].value("name", "") + ": " + message);
      fail({.reason = "Error", .message = message});
    }
  }
}

void PodRunner::watch_containers() {
  const auto ended = instance_->wait(wake_.get());
  if (!ended) {
    fail({.reason = "Failed", .message = ended.error().what()});
    return;
  }
  note_states(true);
  if (*ended && outcome().phase != PodOutcome::Phase::kFailed) {
    set_phase(PodOutcome::Phase::kEnded);
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
      context_.console->fail("pod " + pod_["metadata"].value("name", "") + ": " + message);
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
    note_states(false);
    if (done) {
      done = instance_->remove_sandbox();
    }
  }
  // As the kubelet: the driver is not called before the pod's network is down.
  if (done) {
    done = unprepare();
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
    containers.push_back(
        {{"name", container.name}, {"ready", !container.ended}, {"state", std::move(state)}});
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
