// SPDX-License-Identifier: Apache-2.0
// What the typed layer costs over the bare messages: one macvlan made in another namespace, given an address,
// set up and deleted, by netlink::Socket and by libmnl alone in a loop. Both send the same four requests.
// Root; works in namespaces of its own. Run: netlink_bench --benchmark_repetitions=5
#include <arpa/inet.h>
#include <benchmark/benchmark.h>
#include <libmnl/libmnl.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>

#include "fairlead/sys/netlink/socket.h"
#include "fairlead/sys/netns.h"

namespace fairlead::netlink {
namespace {

constexpr std::int32_t kIndex = 77;  // chosen, so that neither side has to look it up

/// A node with a parent link, and a pod.
struct Stage {
  UniqueFd node, pod;
  IfIndex parent;
};

Result<Stage> make_stage() {
  FL_ASSIGN(UniqueFd node, sys::create_netns());
  FL_ASSIGN(UniqueFd pod, sys::create_netns());
  FL_ASSIGN(Socket socket, Socket::open_in(node.get()));
  FL_TRY(socket.create_link({.name = "up0", .kind = Veth{{.name = "up0p", .up = true}}, .up = true}));
  FL_ASSIGN(const auto parent, socket.link("up0"));
  return Stage{.node = std::move(node), .pod = std::move(pod), .parent = parent ? parent->index : IfIndex()};
}

Result<> typed_round(Socket& node, Socket& pod, const Stage& stage, const IpPrefix& address) {
  const IfIndex link(kIndex);
  FL_TRY(node.create_link(
      {.name = "data0", .kind = Macvlan{.parent = stage.parent}, .netns = stage.pod.get(), .index = link}));
  FL_TRY(pod.add_address({.link = link, .prefix = address}));
  FL_TRY(pod.set_up(link));
  return pod.delete_link(link);
}

void typed(benchmark::State& state) {
  const auto stage = make_stage();
  if (!stage) {
    state.SkipWithError(stage.error().what().c_str());
    return;
  }
  auto node = Socket::open_in(stage->node.get());
  auto pod = Socket::open_in(stage->pod.get());
  const IpPrefix address = *IpPrefix::parse("10.0.0.5/24");
  for (auto _ : state) {
    const auto done = typed_round(*node, *pod, *stage, address);
    if (!done) {
      state.SkipWithError(done.error().what().c_str());
      return;
    }
  }
}

/// libmnl and nothing else: fixed buffers, no strings, no options, no checks but the error number.
class Bare {
 public:
  explicit Bare(int netns) {
    (void)sys::with_netns(netns, [&]() -> Result<> {
      socket_.reset(mnl_socket_open(NETLINK_ROUTE));
      return {};
    });
    mnl_socket_bind(socket_.get(), 0, MNL_SOCKET_AUTOPID);
  }

  nlmsghdr* begin(std::uint16_t type, std::uint16_t flags) {
    header_ = mnl_nlmsg_put_header(buffer_.data());
    header_->nlmsg_type = type;
    header_->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags);
    header_->nlmsg_seq = ++sequence_;
    return header_;
  }
  bool exchange() {
    if (mnl_socket_sendto(socket_.get(), header_, header_->nlmsg_len) < 0) {
      return false;
    }
    const ssize_t size = mnl_socket_recvfrom(socket_.get(), buffer_.data(), buffer_.size());
    return size > 0 && mnl_cb_run(buffer_.data(), static_cast<std::size_t>(size), sequence_,
                                  mnl_socket_get_portid(socket_.get()), nullptr, nullptr) >= 0;
  }

 private:
  struct Close {
    void operator()(mnl_socket* socket) const { mnl_socket_close(socket); }
  };
  std::unique_ptr<mnl_socket, Close> socket_;
  alignas(NLMSG_ALIGNTO) std::array<char, 8192> buffer_ = {};
  nlmsghdr* header_ = nullptr;
  std::uint32_t sequence_ = 0;
};

template <class T>
T& extra(nlmsghdr* header) {
  return *static_cast<T*>(mnl_nlmsg_put_extra_header(header, sizeof(T)));
}

bool bare_create(Bare& node, const Stage& stage) {
  nlmsghdr* header = node.begin(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  extra<ifinfomsg>(header).ifi_index = kIndex;
  mnl_attr_put_strz(header, IFLA_IFNAME, "data0");
  mnl_attr_put_u32(header, IFLA_NET_NS_FD, static_cast<std::uint32_t>(stage.pod.get()));
  mnl_attr_put_u32(header, IFLA_LINK, static_cast<std::uint32_t>(stage.parent.value()));
  nlattr* info = mnl_attr_nest_start(header, IFLA_LINKINFO);
  mnl_attr_put_strz(header, IFLA_INFO_KIND, "macvlan");
  nlattr* data = mnl_attr_nest_start(header, IFLA_INFO_DATA);
  mnl_attr_put_u32(header, IFLA_MACVLAN_MODE, MACVLAN_MODE_BRIDGE);
  mnl_attr_nest_end(header, data);
  mnl_attr_nest_end(header, info);
  return node.exchange();
}

bool bare_address(Bare& pod) {
  nlmsghdr* header = pod.begin(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
  auto& info = extra<ifaddrmsg>(header);
  info.ifa_family = AF_INET;
  info.ifa_prefixlen = 24;
  info.ifa_index = kIndex;
  const std::uint32_t address = htonl(0x0A000005);
  mnl_attr_put_u32(header, IFA_LOCAL, address);
  mnl_attr_put_u32(header, IFA_ADDRESS, address);
  mnl_attr_put_u32(header, IFA_BROADCAST, htonl(0x0A0000FF));
  return pod.exchange();
}

bool bare_up(Bare& pod) {
  auto& info = extra<ifinfomsg>(pod.begin(RTM_SETLINK, 0));
  info.ifi_index = kIndex;
  info.ifi_change = IFF_UP;
  info.ifi_flags = IFF_UP;
  return pod.exchange();
}

bool bare_delete(Bare& pod) {
  extra<ifinfomsg>(pod.begin(RTM_DELLINK, 0)).ifi_index = kIndex;
  return pod.exchange();
}

void bare(benchmark::State& state) {
  const auto stage = make_stage();
  if (!stage) {
    state.SkipWithError(stage.error().what().c_str());
    return;
  }
  Bare node(stage->node.get());
  Bare pod(stage->pod.get());
  for (auto _ : state) {
    if (!bare_create(node, *stage) || !bare_address(pod) || !bare_up(pod) || !bare_delete(pod)) {
      state.SkipWithError("a bare request failed");
      return;
    }
  }
}

/// What our own code adds, without the kernel: writing the four requests and reading four answers.
void encode_only(benchmark::State& state) {
  const IpPrefix address = *IpPrefix::parse("10.0.0.5/24");
  for (auto _ : state) {
    Batch batch;
    batch
        .create_link(
            {.name = "data0", .kind = Macvlan{.parent = IfIndex(2)}, .netns = 3, .index = IfIndex(kIndex)})
        .add_address({.link = IfIndex(kIndex), .prefix = address})
        .change_link(IfIndex(kIndex), {.up = true})
        .delete_link(IfIndex(kIndex));
    benchmark::DoNotOptimize(batch);
  }
}

BENCHMARK(bare)->Name("macvlan/bare")->UseRealTime()->Unit(benchmark::kMicrosecond)->MinTime(2);
BENCHMARK(typed)->Name("macvlan/typed")->UseRealTime()->Unit(benchmark::kMicrosecond)->MinTime(2);
BENCHMARK(encode_only)->Name("macvlan/encode_only")->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace fairlead::netlink

BENCHMARK_MAIN();
