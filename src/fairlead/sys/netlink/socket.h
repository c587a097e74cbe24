// SPDX-License-Identifier: Apache-2.0
// Requests to rtnetlink: one blocking socket, one response per request, the kernel's own messages in errors.
// socket.cc sends requests and reads responses; socket_link.cc, socket_address.cc and socket_route.cc have
// the calls.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fairlead/core/fd.h"
#include "fairlead/core/result.h"
#include "fairlead/sys/netlink/batch.h"
#include "fairlead/sys/netlink/codec.h"
#include "fairlead/sys/netlink/types.h"

namespace fairlead::netlink {

/// One NETLINK_ROUTE socket for requests. It always belongs to the namespace in which it was opened and may
/// be used from any namespace, by one thread at a time. Errors carry the errno and the kernel's extended-ack
/// text. After kTimeout the socket is still usable: late responses are recognised by their sequence number.
class Socket {
 public:
  /// In the calling thread's namespace.
  static Result<Socket> open();
  /// In another one (the calling thread visits it for one system call).
  static Result<Socket> open_in(int netns);

  /// How long one call waits for the kernel, default 10 s; then kTimeout.
  void set_timeout(std::chrono::milliseconds timeout) { timeout_ = timeout; }

  // ---- links
  Result<std::vector<Link>> links();
  /// nullopt if there is none.
  Result<std::optional<Link>> link(IfIndex index);
  /// By name or altname; nullopt if there is none.
  Result<std::optional<Link>> link(std::string_view name);

  /// The number by which links of the socket's namespace refer to that other one (Link::parent_netnsid);
  /// nullopt if it has none there, so that no link's other end is in it.
  Result<std::optional<std::int32_t>> netnsid_of(int netns);
  /// The same; the kernel gives the namespace a number if it has none.
  Result<std::int32_t> number_netns(int netns);

  /// kExists if the name (or the chosen index) is taken in the link's namespace. Two settings that the kernel
  /// cannot apply during creation are applied right after: an alias, and a veth's peer that is up (so make
  /// the end that must be ready first the link, and the other one the peer). If they fail the link is deleted
  /// again.
  Result<> create_link(const NewLink& link);
  /// Takes effect in the order the kernel applies it (net/core/rtnetlink.c do_setlink): MAC, MTU, name,
  /// alias, master, up. A rename needs the link to be down on kernels before 6.2.
  Result<> change_link(IfIndex link, const LinkChange& change);
  Result<> add_altname(IfIndex link, const std::string& altname);
  Result<> delete_altname(IfIndex link, const std::string& altname);
  Result<> set_up(IfIndex link) { return change_link(link, {.up = true}); }
  Result<> set_down(IfIndex link) { return change_link(link, {.up = false}); }
  Result<> rename(IfIndex link, std::string name) { return change_link(link, {.name = std::move(name)}); }
  /// Succeeds if the link is already gone.
  Result<> delete_link(IfIndex link);

  /// Moves the link and returns it as it is in the target (its index may have changed). kExists if the name
  /// or an altname is taken in the target. The kernel's move with a new name is not atomic: if the rename
  /// fails, the link may be in the target under its old name with an error reported. So the name is looked up
  /// first, and after an error the link is searched for in both namespaces and moved back if it had left; if
  /// even that fails the error says where it is and under which name.
  Result<Link> move_link(const MoveLink& move);

  // ---- addresses
  /// Of one link, or of all when the index is not valid.
  Result<std::vector<Address>> addresses(IfIndex link = IfIndex());
  /// An address that exists already counts as added.
  Result<> add_address(const NewAddress& address);
  /// An address that is gone counts as deleted.
  Result<> delete_address(IfIndex link, const IpPrefix& prefix);

  /// Of one link, in the kernel's order, to be restored.
  Result<std::vector<ToldAddress>> told_addresses(IfIndex link);
  /// With all its attributes, and in use at once if it was. Succeeds if exactly this address exists; kExists
  /// if the same address exists with other attributes.
  Result<> put_address(IfIndex link, const Told& told);
  /// An address that is gone counts as deleted.
  Result<> delete_address(IfIndex link, const Told& told);

  // ---- routes
  /// Both families, of one table or of all; without those of the kernel's own table `local` unless it is
  /// asked for. Default routes have destination.is_default(). Hops of nexthop objects are looked up.
  Result<std::vector<Route>> routes(std::optional<std::uint32_t> table = std::nullopt);
  /// A route that exists already counts as added; kExists if another route to that destination with that
  /// metric exists.
  Result<> add_route(const NewRoute& route);

  /// Of every table, those with a hop over this link, in the kernel's order, to be restored. Routes of a
  /// nexthop object with several hops have an empty ToldRoute::told.
  Result<std::vector<ToldRoute>> told_routes(IfIndex link);
  /// With all its hops over this link. Succeeds if exactly this route exists; kExists if another one
  /// conflicts.
  Result<> put_route(IfIndex link, const Told& told);

  /// A route that is gone counts as deleted, and so does one that differs.
  Result<> delete_route(const NewRoute& route);
  /// Each route to the destination that has the metric `from` gets the metric `to` and is otherwise
  /// unchanged. The new one is added before the old one is deleted. kExists if another has the metric. Routes
  /// that the kernel maintains or learns from advertisements are skipped: it would add them again.
  Result<> change_metric(const MetricChange& change);

  /// The namespace the socket belongs to (ioctl SIOCGSKNS; CAP_NET_ADMIN).
  [[nodiscard]] Result<UniqueFd> netns() const;

  // ---- several at once
  /// Sends the batch and reads every response. The error names the first request that failed and counts the
  /// others; the requests after it were executed nevertheless.
  Result<> run(Batch batch);
  /// The same, with an error for each request that failed, in their order. Without a value the results are
  /// unknown.
  Result<std::vector<BatchFailure>> run_each(Batch batch);

 private:
  explicit Socket(UniqueFd fd, std::uint32_t port);
  using Clock = std::chrono::steady_clock;
  using Bytes = std::vector<std::uint8_t>;
  using View = std::span<const std::uint8_t>;
  using Visitor = std::function<void(const codec::Message&)>;
  std::uint32_t next_sequence();
  [[nodiscard]] Result<> send(std::span<Batch::Request> requests) const;
  Result<View> receive(Clock::time_point deadline);
  /// Calls `visit` for each message that responds to one of our requests, until it returns true.
  Result<> receive_until(const std::function<bool(const codec::Message&)>& visit);
  Result<std::vector<codec::Answer>> exchange(std::span<Batch::Request> requests);
  Result<> dump(Batch::Request request, const std::function<void()>& restart, const Visitor& visit);
  /// False: it was interrupted by a change.
  Result<bool> dump_once(Batch::Request& request, const Visitor& visit);
  Result<> run_part(std::span<Batch::Request> requests, std::size_t first,
                    std::vector<BatchFailure>& failures);
  /// Replaces the link's number in the request's text with its name.
  void name_link(Batch::Request& request);
  /// Calls `visit` for each route of one family and table.
  Result<> visit_routes(std::uint8_t family, std::uint32_t table, const std::function<void()>& restart,
                        const std::function<void(const codec::Message&, const Route&)>& visit);
  Result<> look_up_hops(std::vector<Route>& routes);
  Result<codec::Answer> ask(Batch::Request& request, const std::function<bool(const codec::Message&)>& take);
  Result<std::optional<Link>> get_link(Batch::Request request);
  Result<bool> is_there(const Batch::Request& request);
  Result<bool> is_fine(const Batch::Request& request, int error);
  Result<> finish_birth(const NewLink& link);
  Result<> change_in(std::optional<int> netns, const std::string& name, const LinkChange& change);
  void take_back(const NewLink& link);
  /// Not every kernel's EEXIST (6.12's does not) reports which of the link's names is taken in the target.
  static Error name_the_taken_altname(Error error, const Link& moving, Socket& target);
  Error take_home(const Link& before, const MoveLink& move, Error error, Socket& target);
  Result<> bring_back(const Link& stray, const Link& before, Socket& target);

  UniqueFd fd_;
  std::uint32_t port_ = 0;
  std::uint32_t sequence_ = 0;
  std::chrono::milliseconds timeout_{10'000};
  std::vector<std::uint8_t> buffer_;
};

}  // namespace fairlead::netlink
