// SPDX-License-Identifier: Apache-2.0
// attach_bench [ROUNDS]: what an attach costs, as NRI does it: macvlans with one address each are born in a pod's fresh
// network namespace. Beside it, in the same rounds, the same netlink messages in a bare libmnl loop, one exchange for
// each; and the same without the message that makes the kernel announce the addresses when the interface is set up. The
// order changes from round to round, because the kernel removes the namespaces of the round before meanwhile. Prints a
// table; docs/performance.md keeps the last one.
#include <arpa/inet.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "fairlead/agent/attach/attach_service.h"
#include "fairlead/agent/net_driver.h"
#include "fairlead/agent/probe.h"
#include "fairlead/agent/testing/fake_host.h"
#include "fairlead/agent/ways/nri_events.h"
#include "fairlead/core/log.h"
#include "fairlead/core/result.h"
#include "fairlead/devices/testing/node.h"
#include "fairlead/dra/claims/claim_store.h"
#include "fairlead/rpc/nri/runtime.h"
#include "fairlead/sys/files.h"
#include "fairlead/sys/netns.h"
#include "tests/bench/bare_netlink.h"
#include "tests/bench/pod_netns.h"
#include "tests/bench/table.h"

namespace fairlead {
namespace {

using bench::micros_since;
using bench::percentile;
using bench::SteadyClock;

constexpr const char* kUplink = "eth0";

std::string interface_name(int number) { return "data" + std::to_string(number); }
std::string address(int number) { return "192.0.2." + std::to_string(10 + number); }

/// A request socket of libmnl.
class Bare : public BareNetlink {
 public:
  Result<> create(int number, unsigned parent, int netns) {
    nlmsghdr* header = message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
    link_header(header, 0);
    mnl_attr_put_strz(header, IFLA_IFNAME, interface_name(number).c_str());
    mnl_attr_put_u32(header, IFLA_LINK, parent);
    mnl_attr_put_u32(header, IFLA_NET_NS_FD, static_cast<std::uint32_t>(netns));
    nlattr* info = mnl_attr_nest_start(header, IFLA_LINKINFO);
    mnl_attr_put_strz(header, IFLA_INFO_KIND, "macvlan");
    nlattr* data = mnl_attr_nest_start(header, IFLA_INFO_DATA);
    mnl_attr_put_u32(header, IFLA_MACVLAN_MODE, MACVLAN_MODE_BRIDGE);
    mnl_attr_nest_end(header, data);
    mnl_attr_nest_end(header, info);
    return exchange(header);
  }
  Result<> set_alias(int number) {
    nlmsghdr* header = message(RTM_NEWLINK, 0);
    link_header(header, 0);
    mnl_attr_put_strz(header, IFLA_IFNAME, interface_name(number).c_str());
    mnl_attr_put_strz(header, IFLA_IFALIAS, "bench:dra.example.com:00000000-0000-0000-0000-000000000001/0");
    return exchange(header);
  }
  /// Sysctl arp_notify, which the kernel reads when the interface is set up.
  Result<> announce(unsigned index) {
    nlmsghdr* header = message(RTM_SETLINK, 0);
    link_header(header, index);
    nlattr* families = mnl_attr_nest_start(header, IFLA_AF_SPEC);
    nlattr* ipv4 = mnl_attr_nest_start(header, AF_INET);
    nlattr* conf = mnl_attr_nest_start(header, IFLA_INET_CONF);
    mnl_attr_put_u32(header, IPV4_DEVCONF_ARP_NOTIFY, 1);
    mnl_attr_nest_end(header, conf);
    mnl_attr_nest_end(header, ipv4);
    mnl_attr_nest_end(header, families);
    return exchange(header);
  }
  Result<> add_address(int number, unsigned index) {
    nlmsghdr* header = message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
    auto* info = static_cast<ifaddrmsg*>(mnl_nlmsg_put_extra_header(header, sizeof(ifaddrmsg)));
    info->ifa_family = AF_INET;
    info->ifa_prefixlen = 24;
    info->ifa_index = index;
    mnl_attr_put_u32(header, IFA_LOCAL, inet_addr(address(number).c_str()));
    return exchange(header);
  }
  Result<unsigned> index_of(int number) {
    nlmsghdr* header = message(RTM_GETLINK, 0);
    header->nlmsg_flags = NLM_F_REQUEST;
    link_header(header, 0);
    mnl_attr_put_strz(header, IFLA_IFNAME, interface_name(number).c_str());
    ssize_t got = 0;
    FL_TRY(ask(header, got), "look up");
    const auto* found = static_cast<const nlmsghdr*>(answer());
    return static_cast<unsigned>(static_cast<const ifinfomsg*>(mnl_nlmsg_get_payload(found))->ifi_index);
  }
};

enum class Announce : std::uint8_t { kNo, kYes };

/// The messages of an attach by hand: create in the pod, alias, announce, address, up.
Result<> by_hand(Bare& node, int netns, int interfaces, Announce announce) {
  const unsigned parent = if_nametoindex(kUplink);
  const auto make = []() -> Result<std::unique_ptr<Bare>> { return std::make_unique<Bare>(); };
  FL_ASSIGN(const auto pod, sys::with_netns(netns, make));
  for (int i = 0; i < interfaces; ++i) {
    FL_TRY(node.create(i, parent, netns), "create");
    FL_ASSIGN(const unsigned index, pod->index_of(i));
    FL_TRY(pod->set_alias(i), "alias");
    if (announce == Announce::kYes) {
      FL_TRY(pod->announce(index), "announce");
    }
    FL_TRY(pod->add_address(i, index), "address");
    FL_TRY(pod->up(index), "up");
  }
  return {};
}

Result<> make_node_network() {
  if (::unshare(CLONE_NEWNET) != 0) {
    return Error::from_errno(errno, "make a network namespace (root is needed)");
  }
  FL_ASSIGN(auto socket, netlink::Socket::open());
  return socket.create_link(
      {.name = kUplink, .kind = netlink::Veth{.peer = {.name = "world0", .up = true}}, .up = true});
}

dra::Claim claim_of(int interfaces) {
  dra::Claim claim{.namespace_ = "default", .name = "bench", .uid = "00000000-0000-0000-0000-000000000001"};
  for (int i = 0; i < interfaces; ++i) {
    const std::string parameters =
        R"({"type":"netdev","netdev":{"kind":"macvlan","master":"eth0","interfaceName":")" +
        interface_name(i) + R"(","addresses":[")" + address(i) + R"(/24"]}})";
    claim.devices.push_back({.request = "nic",
                             .pool = "node-a",
                             .device = "netdev-virtual",
                             .config = {{.parameters = parameters, .path = "config[0].opaque.parameters"}}});
  }
  return claim;
}

/// The framework: records on disk, as dra::Plugin keeps them. The pod's claim is the one of this uid.
class DiskHost final : public agent::FakeHost {
 public:
  DiskHost(const dra::ClaimStore& store, std::string uid) : store_(&store), uid_(std::move(uid)) {}

  [[nodiscard]] std::optional<dra::ClaimRecord> find(const std::string& uid) const override {
    const auto record = store_->read(uid);
    return record && *record ? std::optional<dra::ClaimRecord>(**record) : std::nullopt;
  }
  [[nodiscard]] Result<std::vector<dra::ClaimRecord>> records_of_pod(
      const std::string& /*pod_uid*/) const override {
    return std::vector<dra::ClaimRecord>{*find(uid_)};
  }
  Result<> update(const std::string& uid, TimePoint deadline, const Change& change) override {
    FL_ASSIGN(const auto keys, store_->lock({"claim/" + uid}, deadline));
    dra::ClaimRecord record = *find(uid);
    FL_ASSIGN(record.prepared.state, change(record));
    return store_->write(record);
  }

 private:
  const dra::ClaimStore* store_;
  std::string uid_;
};

struct Measured {
  std::vector<double>* times;
  std::function<Result<>()> work;
};

struct Bench {
  agent::NetDriver* driver;
  const dra::ClaimStore* store;
  rpc::NriRuntimeServer* runtime;
};

Result<> measure(const Bench& parts, int interfaces, int rounds) {
  agent::NetDriver& driver = *parts.driver;
  dra::ClaimRecord record{.claim = claim_of(interfaces), .state = dra::ClaimState::kPreparing};
  FL_ASSIGN(record.plan, driver.plan(record.claim));
  FL_ASSIGN(record.prepared, driver.prepare(record.claim, record.plan, {}));
  record.state = dra::ClaimState::kPrepared;
  Bare node;
  std::vector<double> event, attach, bare, silent;
  for (int i = 0; i < rounds + 5; ++i) {
    const std::string sandbox = "s" + std::to_string(i);
    FL_ASSIGN(const auto first, bench::PodNetns::make(sandbox));
    FL_ASSIGN(const auto second, bench::PodNetns::make("t" + std::to_string(i)));
    FL_ASSIGN(const UniqueFd third, sys::create_netns());
    FL_ASSIGN(const UniqueFd fourth, sys::create_netns());
    FL_TRY(parts.store->write(record));
    const std::array<Measured, 4> all = {{
        {.times = &event,
         .work =
             [&] {
               return parts.runtime->run_pod_sandbox({.id = sandbox,
                                                      .name = "bench",
                                                      .uid = "bench",
                                                      .namespace_ = "default",
                                                      .netns = first.path()});
             }},
        {.times = &attach,
         .work = [&]() -> Result<> {
           FL_TRY(driver.attacher().attach(record, {.netns = second.fd(), .container = "c"}));
           return {};
         }},
        {.times = &bare, .work = [&] { return by_hand(node, third.get(), interfaces, Announce::kYes); }},
        {.times = &silent, .work = [&] { return by_hand(node, fourth.get(), interfaces, Announce::kNo); }},
    }};
    for (std::size_t k = 0; k < all.size(); ++k) {
      const Measured& one = all.at((k + static_cast<std::size_t>(i)) % all.size());
      const auto start = SteadyClock::now();
      FL_TRY(one.work());
      const double us = micros_since(start);
      if (i >= 5) {  // the first rounds warm up
        one.times->push_back(us);
      }
    }
  }
  const auto print = [&](const char* what, const std::vector<double>& values) {
    std::printf("%d interface%s  %-22s %s   %5.2f of bare at p10\n", interfaces, interfaces == 1 ? " " : "s",
                what, bench::cells(values, {0.1, 0.5, 0.99}).c_str(),
                percentile(values, 0.1) / percentile(bare, 0.1));
  };
  print("RunPodSandbox", event);
  print("attach alone", attach);
  print("same messages, bare", bare);
  print("bare, not announced", silent);
  return {};
}

Result<> run(int rounds) {
  FL_TRY(bench::make_own_run_folder());
  FL_TRY(make_node_network(), "node network");
  std::string folder = "/dev/shm/attach-bench-XXXXXX";  // tmpfs, as /run is on a node
  if (::mkdtemp(folder.data()) == nullptr) {
    return Error::from_errno(errno, "make a folder");
  }
  const ScopeExit undo([&] { (void)sys::remove_tree(folder); });
  const devices::Registry registry = devices::all_kinds();
  agent::NetDriverOptions options{.guard_path = "/opt/fairlead-guard", .guard_socket = "/run/x/guard.sock"};
  FL_ASSIGN(auto kinds, agent::probe_kinds(registry));
  options.watch_node = false;
  options.node = {.driver_name = "dra.example.com", .kinds_of_kernel = std::move(kinds)};
  FL_ASSIGN(const auto store,
            dra::ClaimStore::open({.state_dir = folder + "/state", .boot_id = "", .on_quarantine = {}}));
  DiskHost host(*store, claim_of(1).uid);
  FL_ASSIGN(const auto driver, agent::NetDriver::create(host, std::move(options), registry));
  agent::NriEvents events(driver->attach_service());
  const std::string socket = folder + "/nri/nri.sock";
  FL_ASSIGN(const auto runtime,
            rpc::NriRuntimeServer::start({.socket = socket}, [] { return rpc::NriInventory(); }));
  FL_ASSIGN(const auto plugin,
            rpc::NriPlugin::create({.name = "bench", .socket = socket, .events = agent::NriEvents::events()},
                                   events));
  plugin->start();
  FL_TRY(plugin->wait_ready(SteadyClock::now() + std::chrono::seconds(5)));
  for (const int interfaces : {1, 2, 8}) {
    FL_TRY(measure({.driver = driver.get(), .store = store.get(), .runtime = runtime.get()}, interfaces,
                   rounds));
  }
  plugin->stop();
  return {};
}

}  // namespace
}  // namespace fairlead

int main(int argc, char** argv) {
  fairlead::log::set_level(fairlead::log::Level::kWarn);
  if (argc > 2) {
    std::fputs("usage: attach_bench [ROUNDS]\n", stderr);
    return 2;
  }
  const int rounds = argc == 2 ? std::atoi(argv[1]) : 100;  // NOLINT(cert-err34-c)
  if (const auto done = fairlead::run(rounds); !done) {
    fairlead::log::error(done.error().what());
    return 1;
  }
  return 0;
}
