// SPDX-License-Identifier: Apache-2.0
// agent_bench FAIRLEAD [ROUNDS]: measures the whole agent from outside, as the kubelet sees it, in a network
// namespace of its own:
//   start       from exec to an answered GetInfo, and to published slices
//   memory      resident set when idle and after the rounds
//   prepare     NodePrepareResources + NodeUnprepareResources of one macvlan through gRPC,
//   attach mode netdevices,
//               where Prepare makes the link; beside it, in the same rounds, the same netlink messages in a
//               bare libmnl loop
// The API server is drydock's, in this process. Prints a table; docs/performance.md keeps the last one.
#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "dra_v1.grpc.pb.h"
#include "drydock/cluster/cluster.h"
#include "fairlead/core/log.h"
#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"
#include "fairlead/sys/files.h"
#include "fairlead/sys/netlink/socket.h"
#include "pluginregistration.grpc.pb.h"
#include "tests/bench/bare_netlink.h"

extern char** environ;  // NOLINT(readability-redundant-declaration): POSIX wants it declared by the program

namespace fairlead {
namespace {

namespace v1 = k8s::io::kubelet::pkg::apis::dra::v1;
using SteadyClock = std::chrono::steady_clock;
using Micros = std::chrono::duration<double, std::micro>;

constexpr const char* kDriver = "dra.example.com";
constexpr const char* kUplink = "eth0";

double micros_since(SteadyClock::time_point start) { return Micros(SteadyClock::now() - start).count(); }

double percentile(std::vector<double> values, double p) {
  std::ranges::sort(values);
  return values[static_cast<std::size_t>(p * static_cast<double>(values.size() - 1))];
}

/// The messages that the agent sends for one macvlan, by hand: create, alias, delete.
class BareLoop : public BareNetlink {
 public:
  static Result<BareLoop> open() {
    BareLoop loop;
    if (!loop.is_open()) {
      return Error::from_errno(errno, "open a netlink socket");
    }
    loop.parent_ = if_nametoindex(kUplink);
    return loop;
  }

  Result<> round() {
    FL_TRY(create(), "create");
    const unsigned index = if_nametoindex("bare0");
    FL_TRY(alias(index), "alias");
    return remove(index);
  }

 private:
  Result<> create() {
    nlmsghdr* header = message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
    link_header(header, 0);
    mnl_attr_put_strz(header, IFLA_IFNAME, "bare0");
    mnl_attr_put_u32(header, IFLA_LINK, parent_);
    nlattr* info = mnl_attr_nest_start(header, IFLA_LINKINFO);
    mnl_attr_put_strz(header, IFLA_INFO_KIND, "macvlan");
    nlattr* data = mnl_attr_nest_start(header, IFLA_INFO_DATA);
    mnl_attr_put_u32(header, IFLA_MACVLAN_MODE, MACVLAN_MODE_BRIDGE);
    mnl_attr_nest_end(header, data);
    mnl_attr_nest_end(header, info);
    return exchange(header);
  }
  Result<> alias(unsigned index) {
    nlmsghdr* header = message(RTM_NEWLINK, 0);
    link_header(header, index);
    mnl_attr_put_str(header, IFLA_IFALIAS, "fairlead:dra.example.com:bare/0");
    return exchange(header);
  }
  Result<> remove(unsigned index) {
    nlmsghdr* header = message(RTM_DELLINK, 0);
    link_header(header, index);
    return exchange(header);
  }

  unsigned parent_ = 0;
};

/// eth0 with a default route: the node's uplink, as the agent must see one.
Result<> make_node_network() {
  if (::unshare(CLONE_NEWNET) != 0) {
    return Error::from_errno(errno, "make a network namespace (root is needed)");
  }
  FL_ASSIGN(auto socket, netlink::Socket::open());
  FL_ASSIGN(const auto lo, socket.link("lo"));
  FL_TRY(socket.set_up(lo->index));
  FL_TRY(socket.create_link(
      {.name = kUplink, .kind = netlink::Veth{.peer = {.name = "world0", .up = true}}, .up = true}));
  FL_ASSIGN(const auto uplink, socket.link(kUplink));
  FL_ASSIGN(const auto prefix, netlink::IpPrefix::parse("198.51.100.2/24"));
  FL_TRY(socket.add_address({.link = uplink->index, .prefix = prefix}));
  FL_ASSIGN(const auto gateway, netlink::IpAddress::parse("198.51.100.1"));
  return socket.add_route({.destination = {}, .gateway = gateway, .link = uplink->index});
}

constexpr const char* kManifest = R"(
apiVersion: resource.k8s.io/v1
kind: DeviceClass
metadata: {name: network-devices}
spec: {selectors: [{cel: {expression: 'device.driver == "dra.example.com"'}}]}
---
apiVersion: resource.k8s.io/v1
kind: ResourceClaim
metadata: {name: bench}
spec:
  devices:
    requests: [{name: nic, exactly: {deviceClassName: network-devices}}]
    config:
    - opaque:
        driver: dra.example.com
        parameters: {type: netdev, netdev: {kind: macvlan, interfaceName: data0, master: eth0}}
---
apiVersion: v1
kind: Pod
metadata: {name: bench}
spec:
  resourceClaims: [{name: nic, resourceClaimName: bench}]
  containers: [{name: main, image: busybox, resources: {claims: [{name: nic}]}}]
)";

class Agent : private Pinned {
 public:
  Agent(std::string program, std::string folder) : program_(std::move(program)), folder_(std::move(folder)) {}
  ~Agent() {
    if (pid_ > 0) {
      ::kill(pid_, SIGTERM);
      ::waitpid(pid_, nullptr, 0);
    }
  }

  Result<> start() {
    for (const char* name : {"registry", "plugin", "cdi", "state"}) {
      FL_TRY(sys::make_dirs(folder_ + "/" + name, 0750));
    }
    std::vector<std::string> words = {program_,
                                      "--driver-name",
                                      kDriver,
                                      "--node-name",
                                      "drydock",
                                      "--kubeconfig",
                                      folder_ + "/kubeconfig",
                                      "--registry-dir",
                                      folder_ + "/registry",
                                      "--plugin-dir",
                                      folder_ + "/plugin",
                                      "--cdi-dir",
                                      folder_ + "/cdi",
                                      "--state-dir",
                                      folder_ + "/state",
                                      "--attach",
                                      "netdevices",
                                      "--log-level",
                                      "error"};
    std::vector<char*> argv;
    argv.reserve(words.size() + 1);
    for (std::string& word : words) {
      argv.push_back(word.data());
    }
    argv.push_back(nullptr);
    const auto begun = SteadyClock::now();
    if (const int error = ::posix_spawn(&pid_, program_.c_str(), nullptr, nullptr, argv.data(), environ);
        error != 0) {
      return Error::from_errno(error, "start " + program_);
    }
    const std::string registration = folder_ + "/registry/" + kDriver + "-reg.sock";
    while (::access(registration.c_str(), F_OK) != 0) {
      if (micros_since(begun) > 10e6 || ::waitpid(pid_, nullptr, WNOHANG) == pid_) {
        return Error(Code::kUnavailable, "the agent did not come up");
      }
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
    auto channel = grpc::CreateChannel("unix:" + registration, grpc::InsecureChannelCredentials());
    auto stub = pluginregistration::Registration::NewStub(channel);
    grpc::ClientContext context;
    context.set_wait_for_ready(true);
    pluginregistration::PluginInfo info;
    if (const auto status = stub->GetInfo(&context, {}, &info); !status.ok()) {
      return Error(Code::kUnavailable, "GetInfo: " + status.error_message());
    }
    start_ms = micros_since(begun) / 1e3;
    grpc::ClientContext notify;
    pluginregistration::RegistrationStatus registered;
    registered.set_plugin_registered(true);
    pluginregistration::RegistrationStatusResponse ignored;
    (void)stub->NotifyRegistrationStatus(&notify, registered, &ignored);
    dra = v1::DRAPlugin::NewStub(
        grpc::CreateChannel("unix:" + info.endpoint(), grpc::InsecureChannelCredentials()));
    return {};
  }

  Result<> prepare_and_unprepare(const v1::Claim& claim) const {
    grpc::ClientContext first;
    v1::NodePrepareResourcesRequest prepare;
    *prepare.add_claims() = claim;
    v1::NodePrepareResourcesResponse prepared;
    if (const auto status = dra->NodePrepareResources(&first, prepare, &prepared); !status.ok()) {
      return Error(Code::kInternal, status.error_message());
    }
    if (const auto& error = prepared.claims().at(claim.uid()).error(); !error.empty()) {
      return Error(Code::kInternal, error);
    }
    grpc::ClientContext second;
    v1::NodeUnprepareResourcesRequest unprepare;
    *unprepare.add_claims() = claim;
    v1::NodeUnprepareResourcesResponse unprepared;
    if (const auto status = dra->NodeUnprepareResources(&second, unprepare, &unprepared); !status.ok()) {
      return Error(Code::kInternal, status.error_message());
    }
    if (const auto& error = unprepared.claims().at(claim.uid()).error(); !error.empty()) {
      return Error(Code::kInternal, error);
    }
    return {};
  }

  /// MiB, from /proc/<pid>/status.
  [[nodiscard]] double resident() const {
    const auto status = sys::read_file("/proc/" + std::to_string(pid_) + "/status");
    const std::size_t at = status ? status->find("VmRSS:") : std::string::npos;
    return at == std::string::npos ? 0 : std::strtod(status->c_str() + at + 6, nullptr) / 1024;
  }

  double start_ms = 0;
  std::unique_ptr<v1::DRAPlugin::Stub> dra;

 private:
  std::string program_, folder_;
  pid_t pid_ = -1;
};

Result<> run(const std::string& program, int rounds) {
  FL_TRY(make_node_network(), "node network");
  std::string folder = "/dev/shm/agent-bench-XXXXXX";  // tmpfs, as /run is on a node
  if (::mkdtemp(folder.data()) == nullptr) {
    return Error::from_errno(errno, "make a folder");
  }
  const ScopeExit undo([&] { (void)sys::remove_tree(folder); });
  FL_ASSIGN(const auto cluster, drydock::Cluster::start({.node_name = "drydock"}), "API server");
  FL_TRY(sys::replace_file(folder, "kubeconfig", cluster->kubeconfig()));
  Agent agent(program, folder);
  const auto begun = SteadyClock::now();
  FL_TRY(agent.start());
  while (cluster->store().all(drydock::kinds::kResourceSlice).empty()) {
    if (micros_since(begun) > 20e6) {
      return Error(Code::kTimeout, "no slices after 20 s");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  const double published_ms = micros_since(begun) / 1e3;
  std::this_thread::sleep_for(std::chrono::seconds(3));  // idle: whatever start-up left behind has gone
  const double idle = agent.resident();

  FL_TRY(cluster->apply_manifests(kManifest, "bench"));
  v1::Claim claim;
  while (claim.uid().empty()) {
    for (const auto& object : cluster->store().all(drydock::kinds::kResourceClaim)) {
      if (object.contains("/status/allocation"_json_pointer)) {
        claim.set_namespace_("default");
        claim.set_name("bench");
        claim.set_uid(object["metadata"]["uid"].get<std::string>());
      }
    }
    if (micros_since(begun) > 60e6) {
      return Error(Code::kTimeout, "the claim was not allocated");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  FL_ASSIGN(auto bare, BareLoop::open());
  std::vector<double> through_grpc;
  std::vector<double> by_hand;
  for (int i = 0; i < rounds + 10; ++i) {
    auto start = SteadyClock::now();
    FL_TRY(agent.prepare_and_unprepare(claim));
    const double agent_us = micros_since(start);
    start = SteadyClock::now();
    FL_TRY(bare.round(), "bare loop");
    if (i >= 10) {  // the first rounds warm up
      through_grpc.push_back(agent_us);
      by_hand.push_back(micros_since(start));
    }
  }
  std::printf("start to registered        %8.1f ms\n", agent.start_ms);
  std::printf("start to slices published  %8.1f ms\n", published_ms);
  std::printf("resident, idle             %8.1f MiB\n", idle);
  std::printf("resident, after %4d rounds %7.1f MiB\n", rounds, agent.resident());
  std::printf("prepare+unprepare, gRPC    %8.0f us p50 %8.0f us p99\n", percentile(through_grpc, 0.5),
              percentile(through_grpc, 0.99));
  std::printf("same messages, bare loop   %8.0f us p50 %8.0f us p99\n", percentile(by_hand, 0.5),
              percentile(by_hand, 0.99));
  std::printf("ratio at p50               %8.2f\n", percentile(through_grpc, 0.5) / percentile(by_hand, 0.5));
  return {};
}

}  // namespace
}  // namespace fairlead

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    std::fputs("usage: agent_bench FAIRLEAD [ROUNDS]\n", stderr);
    return 2;
  }
  if (const auto done = fairlead::run(argv[1], argc == 3 ? std::atoi(argv[2]) : 300);
      !done) {  // NOLINT(cert-err34-c)
    fairlead::log::error(done.error().what());
    return 1;
  }
  return 0;
}
