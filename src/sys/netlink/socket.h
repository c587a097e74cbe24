// SPDX-License-Identifier: Apache-2.0
// Requests to rtnetlink: one blocking socket, one answer per request, the kernel's own words in errors.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fairlead/core/fd.h"
#include "fairlead/core/result.h"
#include "fairlead/sys/netlink/types.h"

namespace fairlead::netlink {

/// Several requests that go to the kernel in one system call. The kernel carries them out in order and does
/// NOT stop at one that fails, so put only requests together that may stand alone or that fail together.
/// Each add says itself, in the error, as "add address 10.0.0.5/24 to link 7 (request 2 of 3)".
class Batch {
 public:
  Batch& create_link(const NewLink& link);
  Batch& change_link(IfIndex link, const LinkChange& change);
  Batch& delete_link(IfIndex link);
  Batch& add_address(const NewAddress& address);
  Batch& delete_address(const NewAddress& address);
  Batch& add_route(const NewRoute& route);
  [[nodiscard]] std::size_t size() const { return requests_.size(); }
  [[nodiscard]] bool empty() const { return requests_.empty(); }

 private:
  friend class Socket;
  struct Request {
    std::string what;                 // "add address ... to link 7"
    std::vector<std::uint8_t> bytes;  // the message; its sequence number is filled in when sent
    std::optional<Error> refused;     // could not be encoded: reported instead of sending anything
    int already = 0;                  // an errno that means "it is so already", 0 for none
    int already_too = 0;
    std::optional<NewRoute> route;  // EEXIST must be compared with what is there
  };
  Batch& add(Request request);
  std::vector<Request> requests_;
};

/// One NETLINK_ROUTE socket for requests. It belongs for ever to the namespace in which it was opened and may
/// be used from any namespace, by one thread at a time. Errors carry the errno and the kernel's extended-ack
/// text. After kTimeout the socket is still usable: late answers are recognised by their sequence number.
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
  /// Nothing when there is none.
  Result<std::optional<Link>> link(IfIndex index);
  /// By name or altname; nothing when there is none.
  Result<std::optional<Link>> link(std::string_view name);

  /// kExists when the name (or the chosen index) is taken where the link is to be born.
  Result<> create_link(const NewLink& link);
  /// Takes effect in the order the kernel applies it (net/core/rtnetlink.c do_setlink): MAC, MTU, name,
  /// alias, master, up. A rename needs the link to be down on kernels before 6.2.
  Result<> change_link(IfIndex link, const LinkChange& change);
  Result<> set_up(IfIndex link) { return change_link(link, {.up = true}); }
  Result<> set_down(IfIndex link) { return change_link(link, {.up = false}); }
  Result<> rename(IfIndex link, std::string name) { return change_link(link, {.name = std::move(name)}); }
  /// What is gone counts as deleted.
  Result<> delete_link(IfIndex link);

  /// Moves the link and returns it as it is over there (its index may have changed). kExists when the name or
  /// an altname is taken in the target. The kernel's move with a new name is not atomic: when the rename
  /// fails, the link may be in the target under its old name with an error reported. So the name is looked up
  /// first, and after an error the link is looked for in both namespaces and taken home again if it had left;
  /// when even that fails the error says where it is and under which name.
  Result<Link> move_link(const MoveLink& move);

  // ---- addresses
  /// Of one link, or of all when the index is not valid.
  Result<std::vector<Address>> addresses(IfIndex link = IfIndex());
  /// What is there already counts as added.
  Result<> add_address(const NewAddress& address);
  /// What is gone counts as deleted.
  Result<> delete_address(IfIndex link, const IpPrefix& prefix);

  // ---- routes
  /// All tables, both families, without the kernel's own cached and local ones.
  Result<std::vector<Route>> routes();
  /// What is there already counts as added; kExists when another route to that destination with that metric
  /// is in the way.
  Result<> add_route(const NewRoute& route);

  // ---- several at once
  /// Sends the batch and reads every answer. The error names the first request that failed and counts the
  /// others; the requests behind it were carried out all the same.
  Result<> run(Batch batch);

 private:
  struct Answer;
  explicit Socket(UniqueFd fd, std::uint32_t port) : fd_(std::move(fd)), port_(port) {}
  std::uint32_t next_sequence();
  Result<> send(std::span<const std::uint8_t> bytes);
  /// Reads one datagram from the kernel into buffer_.
  Result<std::span<const std::uint8_t>> receive(std::chrono::steady_clock::time_point deadline);
  using Visitor = std::function<void(std::span<const std::uint8_t> message)>;
  Result<> dump(std::vector<std::uint8_t> request, const std::string& what,
                const std::function<void()>& restart, const Visitor& visit);
  Result<bool> dump_once(std::span<const std::uint8_t> request, const std::string& what,
                         std::uint32_t sequence, const Visitor& visit);
  Result<std::optional<Link>> get_link(std::vector<std::uint8_t> request, const std::string& what);
  Result<bool> has_route(const NewRoute& route);

  UniqueFd fd_;
  std::uint32_t port_ = 0;
  std::uint32_t sequence_ = 0;
  std::chrono::milliseconds timeout_{10'000};
  std::vector<std::uint8_t> buffer_;
};

}  // namespace fairlead::netlink
