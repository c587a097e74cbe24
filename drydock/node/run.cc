// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/run.h"

#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <utility>

#include "drydock/cluster/api_server.h"
#include "drydock/cluster/ids.h"
#include "drydock/node/cluster_view.h"
#include "drydock/node/isolation.h"
#include "drydock/node/lent_links.h"
#include "drydock/node/link_keeper.h"
#include "drydock/node/machine_state.h"
#include "fairlead/core/fault.h"
#include "fairlead/core/log.h"
#include "fairlead/core/text.h"
#include "fairlead/sys/files.h"
#include "fairlead/sys/netns.h"

namespace drydock {
using fairlead::joined;
namespace {

namespace sys = fairlead::sys;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::size_t kLogTail = 15;
constexpr std::size_t kWholeLog = 1'000'000;
constexpr milliseconds kDriverPatience(10'000);
constexpr milliseconds kDriverBackoff(500);
// How long a driver may take to say in a claim's status what it has done.
constexpr milliseconds kStatusPatience(500);
// The kernel takes a namespace's links down on its own time.
constexpr seconds kSettleTime(5);
constexpr auto kServiceAccount = "/var/run/secrets/kubernetes.io/serviceaccount";

template <class Duration>
microseconds us(Duration duration) {
  return std::chrono::duration_cast<microseconds>(duration);
}

std::string plural(std::size_t count, const std::string& word) {
  return std::to_string(count) + " " + word + (count == 1 ? "" : "s");
}

Console::Amount amount_of(const RunOptions& options) {
  if (options.json) {
    return Console::Amount::kNothing;
  }
  return options.verbose ? Console::Amount::kVerbose : Console::Amount::kNormal;
}

}  // namespace

namespace {

int complain(const std::string& text) {
  (void)std::fprintf(stderr, "drydock: %s\n", text.c_str());
  return kExitFailed;
}

/// Before anything was done.
int refuse(const Error& error) {
  (void)complain(error.what());
  return error.code() == Code::kInvalid ? kExitUsage : kExitFailed;
}

void report(Console& console, bool json, const std::string& failure) {
  console.fail(failure);
  (void)(json ? complain(failure) : 0);
}

/// The node and the run in it, and the lent links back home: false when one is not.
Result<std::pair<int, bool>> run_with_links(const RunOptions& options, const RunInput& input,
                                            Console& console, LentLinks& lent) {
  UniqueFd node;
  std::optional<LinkKeeper> keeper;
  const auto lend = [&](pid_t init) -> Result<> {
    if (lent.empty()) {
      return {};
    }
    FL_ASSIGN(node, sys::open_netns_of(init));
    FL_ASSIGN(keeper, LinkKeeper::start(lent, node.get(), init));
    return lent.move_to(node.get());
  };
  auto code =
      run_isolated(options.node_name, [&] { return Run(options, input, console, lent).execute(); }, lend);
  bool home = true;
  if (keeper) {
    fairlead::fault_point("return-begin");
    for (const auto& [name, problem] : lent.take_back(node.get())) {
      home = home && problem.empty();
      if (problem.empty()) {
        console.step("lent link " + name + " is back");
      } else {
        report(console, options.json, "lent link " + name + ": " + problem);
      }
    }
    keeper->dismiss();
  }
  if (!code) {
    return std::move(code).error();
  }
  return std::pair(*code, home);
}

}  // namespace

int run_command(const RunOptions& wanted) {
  RunOptions options = wanted;
  options.cgroup = "drydock-" + std::to_string(::getpid());
  Console console(STDOUT_FILENO, Console::Colour::kOnTerminal, amount_of(options));
  const auto input = RunInput::read(options);
  if (!input) {
    return refuse(input.error());
  }
  auto before = MachineState::read(options.cgroup);
  if (!before) {
    return complain(before.error().what());
  }
  auto lent = LentLinks::find(options.lent, NodeNetwork::own_names(options.nics));
  if (!lent) {
    return refuse(lent.error());
  }
  options.lent = lent->names();
  const auto done = run_with_links(options, *input, console, *lent);
  if (!done) {
    (void)complain(done.error().what());
  }
  auto after = MachineState::read(options.cgroup);
  if (!after) {
    return complain(after.error().what());
  }
  forget_indices(*before, options.lent);
  forget_indices(*after, options.lent);
  const auto left = differences(*before, *after);
  const auto [code, home] = done.value_or(std::pair(kExitFailed, false));
  if (left.empty() && home) {
    console.step("this machine is as it was: links, mounts, CDI files, cgroups");
    return code;
  }
  for (const auto& line : left) {
    report(console, options.json, "on this machine: " + line);
  }
  return code == 0 ? kExitFailed : code;
}

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

Result<> Run::write_access_files() {
  const std::string account = "system:serviceaccount:kube-system:driver";
  auto& server = cluster_->api_server();
  for (std::size_t i = 0; i < options_.drivers.size(); ++i) {
    const auto number = "-" + std::to_string(i + 1);
    tokens_.push_back(server.add_user({.user = account + number, .node = options_.node_name, .drivers = {}}));
    FL_TRY(sys::replace_file("/run/drydock", "kubeconfig" + number, server.kubeconfig(tokens_.back()), 0600));
  }
  // For drivers that expect to be in a pod: they share one account, so they cannot be distinguished.
  FL_TRY(sys::make_dirs(kServiceAccount));
  FL_TRY(sys::replace_file(kServiceAccount, "token",
                           server.add_user({.user = account, .node = options_.node_name, .drivers = {}}),
                           0600));
  FL_TRY(sys::replace_file(kServiceAccount, "ca.crt", cluster_->ca_pem(), 0644));
  return sys::replace_file(kServiceAccount, "namespace", "kube-system", 0644);
}

std::map<std::string, std::string> Run::placeholders(std::size_t index) const {
  const auto& paths = services_.paths;
  const auto number = std::to_string(index + 1);
  return {{"kubeconfig", "/run/drydock/kubeconfig-" + number},
          {"node", options_.node_name},
          {"plugins", paths.plugins},
          {"registry", paths.registry},
          {"cdi", paths.cdi},
          {"nri", paths.nri},
          {"state", paths.state + "/" + number},
          {"log", paths.logs + "/driver-" + number + ".log"}};
}

std::map<std::string, std::string> Run::environment(std::size_t index) const {
  const auto values = placeholders(index);
  return {{"KUBECONFIG", values.at("kubeconfig")},
          {"NODE_NAME", values.at("node")},
          {"NODE_IP", NodeNetwork::node_ip()},
          {"NAMESPACE", "kube-system"},
          {"POD_NAMESPACE", "kube-system"},
          {"KUBERNETES_SERVICE_HOST", "127.0.0.1"},
          {"KUBERNETES_SERVICE_PORT", std::to_string(cluster_->port())},
          {"KUBELET_DIR", services_.paths.kubelet},
          {"PLUGINS_DIR", values.at("plugins")},
          {"REGISTRY_DIR", values.at("registry")},
          {"CDI_DIR", values.at("cdi")},
          {"CDI_ROOT", values.at("cdi")},
          {"NRI_SOCKET", values.at("nri")},
          {"STATE_DIR", values.at("state")}};
}

Result<> Run::start_driver(std::size_t index) {
  const auto values = placeholders(index);
  FL_TRY(sys::make_dirs(values.at("state"), 0700));
  const DriverProcess::Settings settings = {.command = fill_placeholders(options_.drivers[index], values),
                                            .env = environment(index),
                                            .log = values.at("log")};
  FL_ASSIGN(auto driver,
            input_.confinement ? DriverProcess::start_confined(settings, container_of(index))
                               : DriverProcess::start(settings),
            "start driver " + std::to_string(index + 1));
  console_.detail("driver " + std::to_string(index + 1) + " is process " + std::to_string(driver.pid()) +
                  ": " + driver.command());
  if (index < drivers_.size()) {
    drivers_[index] = std::move(driver);
  } else {
    drivers_.push_back(std::move(driver));
  }
  return {};
}

DriverContainerSettings Run::container_of(std::size_t index) const {
  const auto values = placeholders(index);
  const auto number = std::to_string(index + 1);
  return {.confinement = input_.confinement ? &*input_.confinement : nullptr,
          .runtime = runtime_.get(),
          .id = "drydock-driver-" + number,
          .folder = "/run/drydock/drivers/" + number,
          .node_name = options_.node_name,
          .pod_uid = pod_uids_[index],
          .paths = services_.paths,
          .readable = {values.at("kubeconfig"), kServiceAccount},
          .writable = {values.at("state"), values.at("log")}};
}

Result<> Run::start_drivers() {
  for (std::size_t i = 0; i < options_.drivers.size(); ++i) {
    pod_uids_.push_back(new_uuid());
    FL_TRY(start_driver(i));
  }
  return {};
}

/// As the kubelet does with a DaemonSet's container: at once the first time, then after a while that doubles.
void Run::tend_drivers() {
  for (std::size_t i = 0; options_.restart_driver && !no_more_revivals_ && i < drivers_.size(); ++i) {
    const auto status = drivers_[i].exit_status();
    if (!status || !*status) {
      continue;
    }
    auto& revival = revivals_[i];
    if (!revival.when) {
      const auto wait =
          revival.count == 0 ? milliseconds(0) : kDriverBackoff * (1 << std::min(revival.count - 1, 5));
      revival.when = Steady::now() + wait;
      console_.note("driver " + std::to_string(i + 1) + " ended with " + to_string(**status) +
                    ", it is started again (--restart-driver)");
    }
    if (Steady::now() < *revival.when) {
      continue;
    }
    // What the dead container left running goes with it.
    (void)drivers_[i].stop(milliseconds(0));
    const auto cost = cost_of(i);
    if (const auto cleaned = drivers_[i].clean_up(); !cleaned) {
      console_.note("driver " + std::to_string(i + 1) + ": " + cleaned.error().what());
    }
    revival.cost = cost;
    ++revival.count;
    revival.when.reset();
    if (const auto started = start_driver(i); !started) {
      fail(started.error().what());
      no_more_revivals_ = true;
    }
  }
}

DriverCost Run::cost_of(std::size_t index) {
  auto out = drivers_[index].cost();
  if (const auto earlier = revivals_.find(index); earlier != revivals_.end()) {
    out.cpu += earlier->second.cost.cpu;
    out.peak_resident_kib = std::max(out.peak_resident_kib, earlier->second.cost.peak_resident_kib);
  }
  return out;
}

/// A driver that has exited never was meant to.
Result<> Run::check_drivers() {
  tend_drivers();
  if (options_.restart_driver) {
    return {};
  }
  for (std::size_t i = 0; i < drivers_.size(); ++i) {
    FL_ASSIGN(const auto status, drivers_[i].exit_status());
    if (status) {
      return Error(Code::kInternal, "driver " + std::to_string(i + 1) + " exited with " + to_string(*status));
    }
  }
  return {};
}

Result<bool> Run::drivers_ready() {
  FL_TRY(check_drivers());
  const auto sockets = kubelet_->sockets();
  if (sockets.size() < drivers_.size()) {
    return false;
  }
  const auto slices = cluster_->store().all(kinds::kResourceSlice);
  return std::all_of(sockets.begin(), sockets.end(),
                     [&](const auto& socket) { return complete_pools(slices, socket.second) > 0; });
}

Result<> Run::wait_for_drivers() {
  const auto started = Steady::now();
  std::set<std::string> told;
  while (true) {
    for (const auto& [socket, name] : kubelet_->sockets()) {
      if (told.insert(name).second) {
        const auto plugin = kubelet_->plugins().plugin(name);
        console_.step(
            "driver " + name + " registered, " + (plugin ? std::string(to_string(plugin->version())) : ""),
            us(Steady::now() - started));
      }
    }
    FL_ASSIGN(const bool ready, drivers_ready());
    if (ready) {
      break;
    }
    if (!wait_a_little()) {
      return Error(Code::kCancelled, "interrupted");
    }
    if (Steady::now() - started > options_.timeout) {
      return Error(Code::kTimeout,
                   kubelet_->sockets().size() < drivers_.size()
                       ? plural(drivers_.size() - kubelet_->sockets().size(), "driver") +
                             " not registered within " + to_text(us(options_.timeout)) +
                             " (no working socket in " + services_.paths.registry + ", --timeout)"
                       : "a driver is registered but has no complete pool of ResourceSlices for node " +
                             options_.node_name + " after " + to_text(us(options_.timeout)) + " (--timeout)");
    }
  }
  for (const auto& [socket, name] : kubelet_->sockets()) {
    const auto owner = listener_of(socket);
    for (std::size_t i = 0; owner && i < drivers_.size(); ++i) {
      if (drivers_[i].owns(*owner)) {
        driver_names_[i] = name;
        cluster_->api_server().allow_driver(tokens_[i], name);
      }
    }
  }
  console_.step("devices published", us(Steady::now() - started));
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

void Run::stop_drivers() {
  no_more_revivals_ = true;
  const fairlead::ScopeExit clean([this] {
    for (auto& driver : drivers_) {
      if (const auto cleaned = driver.clean_up(); !cleaned) {
        fail(cleaned.error().what());
      }
    }
  });
  const milliseconds patience = input_.confinement ? input_.confinement->grace() : kDriverPatience;
  for (std::size_t i = 0; i < drivers_.size(); ++i) {
    const auto running = drivers_[i].exit_status();
    if (!running || *running) {
      continue;
    }
    const auto stopped = drivers_[i].stop(patience);
    if (!stopped) {
      fail("driver " + std::to_string(i + 1) + ": " + stopped.error().what());
    } else if (stopped->signal == SIGKILL) {
      fail("driver " + std::to_string(i + 1) + " did not end within " + to_text(us(patience)) +
           " of SIGTERM and was killed");
    } else {
      console_.detail("driver " + std::to_string(i + 1) + " ended with " + to_string(*stopped));
    }
  }
}

/// Whoever starts next would find them: worth a word, but they go with the node.
void Run::note_sockets() {
  const auto left = sys::list_dir(services_.paths.registry);
  for (const auto& name : left ? *left : std::vector<std::string>()) {
    console_.note("a driver left its socket behind: " + services_.paths.registry + "/" + name);
  }
}

void Run::show_verdict() {
  const auto took = us(Steady::now() - begun_);
  if (interrupted_) {
    console_.fail("interrupted");
  } else if (failures_.empty()) {
    console_.step(plural(kubelet_->outcomes().size(), "pod") + " succeeded", took);
  } else {
    console_.fail("failed: " + failures_.front());
  }
}

/// --show-log: each line from the text on, without its prefix.
void Run::show_wanted_lines() {
  for (std::size_t i = 0; !options_.show_log.empty() && i < drivers_.size(); ++i) {
    const auto name = driver_names_.contains(i) ? driver_names_[i] : "driver " + std::to_string(i + 1);
    console_.title("log of " + name + ", lines with \"" + options_.show_log + "\"");
    for (const auto& line : drivers_[i].log_tail(kWholeLog)) {
      if (const auto at = line.find(options_.show_log); at != std::string::npos) {
        console_.output(name, line.substr(at));
      }
    }
  }
}

void Run::show_driver_logs() {
  if (failures_.empty() && !console_.verbose()) {
    show_wanted_lines();
    return;
  }
  for (std::size_t i = 0; i < drivers_.size(); ++i) {
    const auto lines = drivers_[i].log_tail(console_.verbose() ? kWholeLog : kLogTail);
    const auto name = driver_names_.contains(i) ? driver_names_[i] : "driver " + std::to_string(i + 1);
    console_.title("log of " + name + (console_.verbose() ? "" : ", its end"));
    if (lines.empty()) {
      console_.note("(empty)");
    }
    for (const auto& line : lines) {
      console_.output(name, line);
    }
  }
}

}  // namespace drydock
