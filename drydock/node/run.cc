// SPDX-License-Identifier: Apache-2.0
// One run on the node: its start, its pods until they have ended, and what they leave behind.
#include "drydock/node/run.h"

#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <utility>

#include "drydock/cluster/api_server.h"
#include "drydock/node/cluster_view.h"
#include "drydock/node/lent_links.h"
#include "drydock/node/run_text.h"
#include "fairlead/core/text.h"
#include "fairlead/sys/files.h"
#include "fairlead/sys/netns.h"

namespace drydock {
using fairlead::joined;
namespace {

namespace sys = fairlead::sys;
using std::chrono::milliseconds;
using std::chrono::seconds;

// How long a driver may take to say in a claim's status what it has done.
constexpr milliseconds kStatusPatience(500);
// The kernel takes a namespace's links down on its own time.
constexpr seconds kSettleTime(5);

}  // namespace

Run::Run(const RunOptions& options, const RunInput& input, Console& console, const LentLinks& lent)
    : options_(options), input_(input), console_(console), lent_(lent) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGHUP);
  signals_.reset(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

Run::~Run() {
  kubelet_.reset();
  stop_drivers();
  if (fallbacks_.joinable()) {
    (void)::eventfd_write(end_of_fallbacks_.get(), 1);
    fallbacks_.join();
  }
}

Result<> Run::follow_fallbacks() {
  if (lent_.empty()) {
    return {};
  }
  FL_ASSIGN(UniqueFd node, sys::open_own_netns());
  end_of_fallbacks_.reset(::eventfd(0, EFD_CLOEXEC));
  if (!end_of_fallbacks_.valid()) {
    return Error::from_errno(errno, "eventfd");
  }
  fallbacks_ = std::thread([this, node = std::move(node)] {
    if (const auto done = lent_.follow_fallbacks(node.get(), end_of_fallbacks_.get()); !done) {
      console_.note(
          "lent links that the kernel takes out of a dead network namespace do not come to the node: " +
          done.error().what());
    }
  });
  return {};
}

void Run::fail(const std::string& why) {
  failures_.push_back(why);
  console_.fail(why);
}

bool Run::interrupted() {
  signalfd_siginfo info{};
  if (::read(signals_.get(), &info, sizeof info) == sizeof info && !interrupted_) {
    interrupted_ = true;
    console_.note("interrupted, taking everything down (once more kills the node at once)");
  }
  return interrupted_;
}

bool Run::wait_a_little() {
  (void)cluster_->wait_for_change(cluster_->change_number(), Steady::now() + milliseconds(20));
  return !interrupted();
}

int Run::execute() {
  const auto steps = [this]() -> Result<> {
    FL_TRY(start_node(), "start the node");
    FL_TRY(start_drivers());
    FL_TRY(wait_for_drivers());
    show_devices();
    return apply();
  };
  if (const auto done = steps(); !done) {
    if (!interrupted_) {
      fail(done.error().what());
    }
  } else {
    watch_pods();
    wait_for_claims();
  }
  if (kubelet_) {
    take_down();
  }
  stop_drivers();
  note_sockets();
  show_driver_logs();
  show_costs();
  show_verdict();
  if (options_.json) {
    print_json();
  }
  if (failures_.empty() && !interrupted_) {
    return 0;
  }
  return interrupted_ ? kExitInterrupted : kExitFailed;
}

Result<> Run::start_node() {
  const auto started = Steady::now();
  FL_TRY(lay_out_node_folders(services_.paths));
  FL_TRY(adopt_orphans());
  FL_TRY(follow_fallbacks());
  FL_ASSIGN(auto runtime, Runtime::find(options_.runtime, services_.paths.runtime, options_.cgroup));
  runtime_ = std::make_unique<Runtime>(std::move(runtime));
  FL_ASSIGN(network_, NodeNetwork::create(options_.nics, services_.paths.netns));
  images_ = std::make_unique<ImageStore>(services_.paths.images, options_.images);
  cdi_ = std::make_unique<CdiRegistry>(std::vector{services_.paths.static_cdi, services_.paths.cdi});
  services_.runtime = runtime_.get();
  services_.network = network_.get();
  services_.images = images_.get();
  services_.cdi = cdi_.get();
  if (options_.nri) {
    using fairlead::rpc::NriDialect;
    FL_ASSIGN(nri_,
              NriSide::start({.socket = services_.paths.nri,
                              .dialect = options_.nri_dialect == "0.11" ? NriDialect::kStateChange
                                                                        : NriDialect::kDedicated,
                              .request_timeout = options_.nri_request_timeout,
                              .cuts = {options_.nri_cuts.begin(), options_.nri_cuts.end()}},
                             console_, stats_),
              "start the runtime's NRI");
    services_.nri = nri_.get();
  }
  console_.title("drydock: node " + options_.node_name + ", " + runtime_->version());
  std::string nics = options_.nics.empty() ? "" : ", " + joined(options_.nics, ", ");
  nics += options_.lent.empty() ? "" : ", lent " + joined(options_.lent, ", ");
  console_.step("node up: own namespaces, uplink eth0 " + NodeNetwork::node_ip() + nics,
                us(Steady::now() - started));
  if (input_.confinement) {
    console_.step("drivers run as " + options_.confine + " says: DaemonSet container " +
                  input_.confinement->container().name);
    if (!input_.confinement->not_played.empty()) {
      console_.note("not played: " + joined(input_.confinement->not_played, ", "));
    }
  }
  const auto server_started = Steady::now();
  FL_ASSIGN(cluster_,
            Cluster::start({.node_name = options_.node_name, .node_addresses = {NodeNetwork::node_ip()}}),
            "start the API server");
  FL_TRY(write_access_files());
  FL_ASSIGN(kubelet_,
            Kubelet::start({.cluster = cluster_.get(),
                            .console = &console_,
                            .services = services_,
                            .pods = {.retries = options_.retries,
                                     .restart_succeeded = options_.run_for.has_value(),
                                     .lose_sandbox = options_.lose_sandbox,
                                     .start_timeout = options_.timeout,
                                     .longest_grace = options_.grace},
                            .plugins = {.registry = services_.paths.registry,
                                        .wipe_delay = options_.wipe_delay,
                                        .stats = &stats_}}),
            "start the kubelet");
  console_.step("API server on 127.0.0.1:" + std::to_string(cluster_->port()) + ", kubelet",
                us(Steady::now() - server_started));
  return {};
}

void Run::show_devices() { console_.table(device_table(cluster_->store().all(kinds::kResourceSlice))); }

Result<> Run::apply() {
  FL_ASSIGN(before_pods_, read_node_state(services_, *cluster_, kubelet_->claims()));
  for (const auto& manifest : input_.manifests) {
    console_.title(manifest.file);
    FL_ASSIGN(const auto applied, cluster_->apply_manifests(manifest.text, manifest.file));
    for (const auto& object : applied) {
      console_.detail(object.to_string());
    }
    console_.step("applied " + plural(applied.size(), "object"));
    applied_.insert(applied_.end(), applied.begin(), applied.end());
  }
  pods_since_ = Steady::now();
  return {};
}

/// What drivers say in claims' status, when it is new.
void Run::show_claims() {
  for (const auto& claim : cluster_->store().all(kinds::kResourceClaim)) {
    const auto uid = claim["metadata"].value("uid", "");
    for (const auto& line : describe_device_status(claim)) {
      auto& shown = shown_status_[uid + line.substr(0, line.find(':'))];
      if (std::exchange(shown, line) != line) {
        console_.step("claim " + claim["metadata"].value("name", "") + ": " + line);
      }
    }
    if (const auto& devices = claim.value(Json::json_pointer("/status/devices"), Json());
        !devices.is_null()) {
      claims_[uid] = {{"namespace", claim["metadata"].value("namespace", "")},
                      {"name", claim["metadata"].value("name", "")},
                      {"devices", devices}};
    }
  }
}

/// Before the claims go: a pod may have been quicker than its driver's word about it.
void Run::wait_for_claims() {
  const auto deadline = Steady::now() + kStatusPatience;
  while (Steady::now() < deadline && failures_.empty() && progress().failed == 0) {
    show_claims();
    const auto all = cluster_->store().all(kinds::kResourceClaim);
    if (std::all_of(all.begin(), all.end(), has_full_status)) {
      return;
    }
    (void)cluster_->wait_for_change(cluster_->change_number(), Steady::now() + milliseconds(20));
  }
}

std::vector<Json> Run::pods() { return cluster_->store().all(kinds::kPod); }

Run::Progress Run::progress() {
  Progress out;
  const auto objects = pods();
  out.wanted = objects.size();
  std::set<std::string> with_an_end;
  for (const auto& pod : objects) {
    if (pod["spec"].value("restartPolicy", "Always") != "Always") {
      with_an_end.insert(pod["metadata"].value("uid", ""));
    }
  }
  for (const auto& pod : kubelet_->outcomes()) {
    const bool failed = pod.phase == PodOutcome::Phase::kFailed;
    const bool ended = pod.torn_down;
    out.failed += failed && ended ? 1 : 0;
    out.ended += ended ? 1 : 0;
    out.started +=
        ended || pod.phase == PodOutcome::Phase::kRunning || pod.phase == PodOutcome::Phase::kEnded ? 1 : 0;
    out.completing += pod.phase == PodOutcome::Phase::kRunning && with_an_end.contains(pod.uid) ? 1 : 0;
  }
  return out;
}

/// Warnings of the scheduler and the controllers; the node prints its own as they happen.
void Run::show_events() {
  for (const auto& pod : pods()) {
    for (const auto& event : cluster_->events_of(pod["metadata"].value("uid", ""))) {
      const std::string text = "pod " + pod["metadata"].value("name", "") + ": " + event.value("reason", "") +
                               ": " + event.value("message", "");
      if (event.value("type", "") == "Warning" &&
          event.value("reason", "").find("Schedul") != std::string::npos && shown_.insert(text).second) {
        console_.fail(text);
      }
    }
  }
}

void Run::watch_pods() {
  const auto start_deadline = pods_since_ + options_.timeout;
  std::optional<Steady::time_point> all_started;
  std::optional<Steady::time_point> failed_since;
  if (pods().empty()) {
    console_.note("the manifests hold no pods");
    return;
  }
  while (wait_a_little()) {
    show_events();
    show_claims();
    if (const auto alive = check_drivers(); !alive) {
      fail(alive.error().what() + " while pods were there");
      return;
    }
    const auto now = progress();
    if (now.ended >= now.wanted) {
      return;
    }
    if (now.failed > 0 && !options_.keep_going) {
      failed_since = failed_since.value_or(Steady::now());
      if (now.completing == 0 || Steady::now() - *failed_since >= options_.timeout) {
        return;
      }
    }
    if (now.started >= now.wanted) {
      all_started = all_started.value_or(Steady::now());
    } else if (Steady::now() > start_deadline) {
      blame_unstarted();
      return;
    }
    if (all_started && options_.run_for && Steady::now() - *all_started >= *options_.run_for) {
      console_.step("the pods ran for " + to_text(us(*options_.run_for)));
      return;
    }
  }
}

/// The newest warning of each pod that never ran; failures of the node itself are reported by the pod.
void Run::blame_unstarted() {
  std::set<std::string> known;
  for (const auto& pod : kubelet_->outcomes()) {
    known.insert(pod.uid);
  }
  for (const auto& pod : pods()) {
    const auto uid = pod["metadata"].value("uid", "");
    if (known.contains(uid)) {
      continue;
    }
    std::string why = "it was not scheduled";
    for (const auto& event : cluster_->events_of(uid)) {
      if (event.value("type", "") == "Warning") {
        why = event.value("reason", "") + ": " + event.value("message", "");
      }
    }
    fail("pod " + pod["metadata"].value("name", "") + " did not start within " +
         to_text(us(options_.timeout)) + ": " + why);
  }
}

void Run::take_down() {
  const auto started = Steady::now();
  const bool any = !applied_.empty();
  if (any) {
    console_.title("taking down");
    if (const auto deleted = cluster_->delete_objects(applied_); !deleted) {
      fail(deleted.error().what());
    }
  }
  const auto deadline = started + options_.timeout + options_.grace;
  while (any && !pods().empty() && Steady::now() < deadline) {
    (void)cluster_->wait_for_change(cluster_->change_number(), Steady::now() + milliseconds(20));
    (void)interrupted();
    tend_drivers();
  }
  for (const auto& pod : kubelet_->outcomes()) {
    if (pod.phase == PodOutcome::Phase::kFailed) {
      failures_.push_back("pod " + pod.name + ": " + pod.reason);
    } else if (pod.phase == PodOutcome::Phase::kStarting && !interrupted_) {
      failures_.push_back("pod " + pod.name + " did not come to run");
    }
    if (!pod.teardown_error.empty()) {
      fail("pod " + pod.name + " not taken down: " + pod.teardown_error);
    }
  }
  if (any && !pods().empty()) {
    fail(plural(pods().size(), "pod") + " not gone after " + to_text(us(Steady::now() - started)));
  }
  if (any) {
    console_.step("pods and their objects deleted", us(Steady::now() - started));
    check_leftovers();
  }
}

void Run::check_leftovers() {
  const auto deadline = Steady::now() + kSettleTime;
  while (true) {
    const auto now = read_node_state(services_, *cluster_, kubelet_->claims());
    left_over_ = now ? node_differences(before_pods_, *now) : std::vector<std::string>{now.error().what()};
    if (left_over_.empty() || Steady::now() > deadline) {
      break;
    }
    (void)cluster_->wait_for_change(cluster_->change_number(), Steady::now() + milliseconds(20));
    tend_drivers();
  }
  if (left_over_.empty()) {
    console_.step("nothing of the pods is left: links, network namespaces, CDI files, mounts, claims");
  }
  for (const auto& line : left_over_) {
    fail("on the node: " + line);
  }
  check_lent_links();
}

void Run::check_lent_links() {
  const auto deadline = Steady::now() + kSettleTime;
  std::vector<std::string> changes;
  while (!lent_.empty()) {
    const auto node = sys::open_own_netns();
    auto now = node ? lent_.changes_in(node->get()) : node.error();
    changes = now ? std::move(*now) : std::vector<std::string>{now.error().what()};
    if (changes.empty()) {
      console_.step("lent links are as they were: " + joined(lent_.names(), ", "));
    }
    if (changes.empty() || Steady::now() > deadline) {
      break;
    }
    (void)cluster_->wait_for_change(cluster_->change_number(), Steady::now() + milliseconds(20));
    tend_drivers();
  }
  for (const auto& line : changes) {
    fail("on the node: " + line);
  }
}

}  // namespace drydock
