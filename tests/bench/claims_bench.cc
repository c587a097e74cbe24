// SPDX-License-Identifier: Apache-2.0
// claims_bench [CLAIMS [ROUNDS]]: what a Prepare, an attach and an Unprepare of one macvlan cost on a node with CLAIMS
// prepared claims, beside the same on a node with none: two agents' inner halves (records, driver, NRI) in one process,
// by turns in the same rounds, each with its own --shared-dir. The API server answers at once. Prints a table.
#include <sched.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "fairlead/agent/attach/attach_service.h"
#include "fairlead/agent/net_driver.h"
#include "fairlead/agent/probe.h"
#include "fairlead/agent/testing/fake_host.h"
#include "fairlead/agent/ways/nri_events.h"
#include "fairlead/core/log.h"
#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"
#include "fairlead/devices/testing/node.h"
#include "fairlead/dra/base/metrics.h"
#include "fairlead/dra/claims/claim_service.h"
#include "fairlead/rpc/nri/runtime.h"
#include "fairlead/sys/files.h"
#include "tests/bench/pod_netns.h"
#include "tests/bench/table.h"

namespace fairlead {
namespace {

using bench::micros_since;
using bench::SteadyClock;

constexpr const char* kUplink = "eth0";
constexpr int kWarmUp = 10;
/// How long a pod runs: until its status is reported (25 ms after the attach), and the kernel has freed what the attach
/// used in its namespace (sockets, after an RCU grace period).
constexpr std::chrono::milliseconds kPodTime{60};

Result<> make_node_network() {
  if (::unshare(CLONE_NEWNET) != 0) {
    return Error::from_errno(errno, "make a network namespace (root is needed)");
  }
  FL_ASSIGN(auto socket, netlink::Socket::open());
  return socket.create_link(
      {.name = kUplink, .kind = netlink::Veth{.peer = {.name = "world0", .up = true}}, .up = true});
}

/// Every claim "x" is allocated one macvlan on eth0, for the pod "pod-x"; each has another address.
class Claims final : public dra::ClaimSource {
 public:
  explicit Claims(std::string driver) : driver_(std::move(driver)) {}

  static dra::ClaimRef ref(int number) {
    const std::string name = "claim-" + std::to_string(number);
    return {.namespace_ = "default", .name = name, .uid = name + "-uid"};
  }
  Result<kube::ResourceClaim> get_claim(const std::string& namespace_, const std::string& name,
                                        std::chrono::milliseconds /*timeout*/,
                                        const std::stop_token& /*stop*/) override {
    const int number = std::atoi(name.c_str() + name.find('-') + 1);  // NOLINT(cert-err34-c): our own name
    const std::string address = "10." + std::to_string(1 + number / 65536) + "." +
                                std::to_string(number / 256 % 256) + "." + std::to_string(number % 256);
    kube::ResourceClaim claim;
    claim.meta.namespace_ = namespace_;
    claim.meta.name = name;
    claim.meta.uid = name + "-uid";
    claim.request_names = {"nic"};
    claim.reserved_for = {
        {.api_group = "", .resource = "pods", .name = "pod-" + name, .uid = "pod-" + name + "-uid"}};
    kube::Allocation allocation;
    allocation.results.push_back({.request = "nic",
                                  .driver = driver_,
                                  .pool = "node-a",
                                  .device = "netdev-virtual",
                                  .share_id = name + "-share"});
    allocation.config.push_back(
        {.requests = {},
         .driver = driver_,
         .parameters =
             R"({"type":"netdev","netdev":{"kind":"macvlan","master":"eth0","interfaceName":"data0","addresses":[")" +
             address + R"(/8"]}})"});
    claim.allocation = std::move(allocation);
    return claim;
  }

 private:
  std::string driver_;
};

/// The framework's side of a driver, by its own claim service.
class ServiceHost final : public agent::FakeHost {
 public:
  void use(dra::ClaimService& service) { service_ = &service; }

  [[nodiscard]] std::optional<dra::ClaimRecord> find(const std::string& uid) const override {
    return service_->find(uid);
  }
  [[nodiscard]] Result<std::vector<dra::ClaimRecord>> records() const override { return service_->records(); }
  [[nodiscard]] Result<std::vector<RecordPtr>> shared_records() const override {
    return service_->shared_records();
  }
  [[nodiscard]] Result<dra::RecordChanges> changes_since(std::uint64_t generation) const override {
    return service_->changes_since(generation);
  }
  [[nodiscard]] Result<std::vector<dra::ClaimRecord>> records_of_pod(
      const std::string& pod_uid) const override {
    return service_->records_of_pod(pod_uid);
  }
  Result<> update(const std::string& uid, TimePoint deadline, const Change& change) override {
    return service_->update(uid, deadline, change);
  }
  Result<bool> if_unknown(const std::string& uid, TimePoint deadline,
                          const std::function<void()>& action) override {
    return service_->if_unknown(uid, deadline, action);
  }

 private:
  dra::ClaimService* service_ = nullptr;
};

/// A node's agent without its sockets for the kubelet and the API server.
class Node : private Pinned {
 public:
  static Result<std::unique_ptr<Node>> start(const std::string& folder, const std::string& driver_name,
                                             const devices::Registry& registry) {
    auto node = std::unique_ptr<Node>(new Node(driver_name));
    agent::NetDriverOptions options{.guard_path = "/opt/fairlead-guard", .guard_socket = "/run/x/guard.sock"};
    FL_ASSIGN(auto kinds, agent::probe_kinds(registry));
    options.node = {.driver_name = driver_name, .kinds_of_kernel = std::move(kinds)};
    options.holders = agent::NicHolders::Options{
        .dir = folder + "/shared", .driver = driver_name, .state_dir = folder + "/state"};
    FL_ASSIGN(node->driver_, agent::NetDriver::create(node->host_, std::move(options), registry));
    FL_TRY(sys::make_dirs(folder + "/cdi", 0755));
    FL_ASSIGN(node->service_, dra::ClaimService::open({.driver_name = driver_name,
                                                       .node_name = "node-a",
                                                       .state_dir = folder + "/state",
                                                       .cdi_dir = folder + "/cdi"},
                                                      *node->driver_, node->claims_, node->metrics_));
    node->host_.use(*node->service_);
    FL_TRY(node->service_->restore());
    FL_TRY(node->driver_->discover());  // from here on plans see what the watcher knows
    node->door_ = std::make_unique<agent::NriEvents>(node->driver_->attach_service());
    const std::string socket = folder + "/nri/nri.sock";
    FL_ASSIGN(node->runtime_,
              rpc::NriRuntimeServer::start({.socket = socket}, [] { return rpc::NriInventory(); }));
    FL_ASSIGN(node->plugin_,
              rpc::NriPlugin::create(
                  {.name = "bench", .socket = socket, .events = agent::NriEvents::events()}, *node->door_));
    node->plugin_->start();
    FL_TRY(node->plugin_->wait_ready(SteadyClock::now() + std::chrono::seconds(5)));
    return node;
  }
  ~Node() {
    if (plugin_) {
      plugin_->stop();
    }
    if (service_) {
      service_->stop();
    }
    driver_.reset();  // before the claim service: its threads call that
  }

  Result<double> prepare(int number) {
    return measure<dra::PrepareAnswers>(number, &dra::ClaimService::prepare);
  }
  Result<double> unprepare(int number) {
    return measure<dra::UnprepareAnswers>(number, &dra::ClaimService::unprepare);
  }
  Result<> attach(int number, const bench::PodNetns& netns) {
    return runtime_->run_pod_sandbox(pod(number, netns));
  }
  Result<> stop(int number, const bench::PodNetns& netns) {
    return runtime_->stop_pod_sandbox(pod(number, netns));
  }

 private:
  explicit Node(const std::string& driver_name) : claims_(driver_name), metrics_(driver_name, "bench") {}
  /// Microseconds from the call until the answer is there: the thread that has it is the one that sends it to the
  /// kubelet, so waking this one is not part of it.
  template <class Answers>
  Result<double> measure(int number,
                         void (dra::ClaimService::*call)(const std::vector<dra::ClaimRef>&,
                                                         const dra::CallContext&,
                                                         std::move_only_function<void(Answers)>)) {
    const dra::ClaimRef ref = Claims::ref(number);
    // Shared: the other thread may still be in set_value() when the future is ready.
    const auto promise = std::make_shared<std::promise<std::pair<Answers, double>>>();
    const auto start = SteadyClock::now();
    (*service_.*call)({ref}, context(), [promise, start](Answers answers) {
      const double time = micros_since(start);
      promise->set_value({std::move(answers), time});
    });
    auto [answers, time] = promise->get_future().get();
    FL_TRY(answers.at(ref.uid));
    return time;
  }
  static dra::CallContext context() {
    return {.deadline = SteadyClock::now() + std::chrono::seconds(30), .cancelled = {}};
  }
  static rpc::NriPod pod(int number, const bench::PodNetns& netns) {
    const std::string name = "pod-" + Claims::ref(number).name;
    return {.id = "sandbox-" + name,
            .name = name,
            .uid = name + "-uid",
            .namespace_ = "default",
            .netns = netns.path()};
  }

  Claims claims_;
  ServiceHost host_;
  dra::Metrics metrics_;
  std::unique_ptr<agent::NetDriver> driver_;
  std::unique_ptr<dra::ClaimService> service_;
  std::unique_ptr<agent::NriEvents> door_;
  std::unique_ptr<rpc::NriRuntimeServer> runtime_;
  std::unique_ptr<rpc::NriPlugin> plugin_;
};

struct Times {
  std::vector<double> prepare, attach, unprepare;
};

Result<> round(Node& node, int number, Times& times) {
  FL_ASSIGN(const double prepare, node.prepare(number), "prepare");
  times.prepare.push_back(prepare);
  {
    FL_ASSIGN(const auto netns, bench::PodNetns::make("p" + std::to_string(number)));
    const auto start = SteadyClock::now();
    FL_TRY(node.attach(number, netns), "attach");
    times.attach.push_back(micros_since(start));
    std::this_thread::sleep_for(kPodTime);
    FL_TRY(node.stop(number, netns), "stop the sandbox");
  }
  FL_ASSIGN(const double unprepare, node.unprepare(number), "unprepare");
  times.unprepare.push_back(unprepare);
  return {};
}

void print(const char* what, const std::vector<double>& none, const std::vector<double>& many, int claims) {
  std::printf("%-10s with none %s; with %d %s; ratio %5.2f at p10, %5.2f at p50\n", what,
              bench::cells(none, {0.1, 0.5, 0.99}).c_str(), claims,
              bench::cells(many, {0.1, 0.5, 0.99}).c_str(),
              bench::percentile(many, 0.1) / bench::percentile(none, 0.1),
              bench::percentile(many, 0.5) / bench::percentile(none, 0.5));
}

Result<> run(int claims, int rounds) {
  FL_TRY(bench::make_own_run_folder());
  FL_TRY(make_node_network(), "node network");
  const devices::Registry registry = devices::all_kinds();
  FL_ASSIGN(const auto empty, Node::start("/run/empty", "empty.example.com", registry));
  FL_ASSIGN(const auto full, Node::start("/run/full", "full.example.com", registry));
  std::vector<double> in_succession;
  for (int i = 0; i < claims; ++i) {
    FL_ASSIGN(const double time, full->prepare(i), "prepare the claims that are there");
    in_succession.push_back(time);
  }
  Times none;
  Times many;
  for (int i = 0; i < rounds + kWarmUp; ++i) {
    FL_TRY(round(*empty, claims + i, none));
    FL_TRY(round(*full, claims + i, many));
    if (i + 1 == kWarmUp) {
      none = {};
      many = {};
    }
  }
  if (!in_succession.empty()) {
    std::printf("Prepare of one after the other %s\n", bench::cells(in_succession, {0.1, 0.5, 0.99}).c_str());
  }
  print("Prepare", none.prepare, many.prepare, claims);
  print("attach", none.attach, many.attach, claims);
  print("Unprepare", none.unprepare, many.unprepare, claims);
  return {};
}

}  // namespace
}  // namespace fairlead

int main(int argc, char** argv) {
  fairlead::log::set_level(fairlead::log::Level::kError);
  if (argc > 3) {
    std::fputs("usage: claims_bench [CLAIMS [ROUNDS]]\n", stderr);
    return 2;
  }
  const int claims = argc > 1 ? std::atoi(argv[1]) : 1000;  // NOLINT(cert-err34-c)
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 200;   // NOLINT(cert-err34-c)
  if (const auto done = fairlead::run(claims, rounds); !done) {
    fairlead::log::error(done.error().what());
    return 1;
  }
  return 0;
}
