// SPDX-License-Identifier: Apache-2.0
// Requests to rtnetlink that are sent together. Plain data; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "fairlead/core/result.h"
#include "fairlead/sys/netlink/address.h"
#include "fairlead/sys/netlink/if_index.h"
#include "fairlead/sys/netlink/link.h"
#include "fairlead/sys/netlink/route.h"

namespace fairlead::netlink {

/// Several requests that go to the kernel in one system call. The kernel executes them in order and does NOT
/// stop at one that fails, so combine only requests that are independent or fail together. Each request is
/// named in the error, as "add address 10.0.0.5/24 to eth1"; Socket::run() adds "(netlink message 2 of 3)".
/// "(netlink message 2 of 3)".
class Batch {
 public:
  Batch& create_link(const NewLink& link);
  Batch& change_link(IfIndex link, const LinkChange& change);
  /// kExists if another link has the name; deleting a link that does not exist succeeds.
  Batch& add_altname(IfIndex link, const std::string& altname);
  Batch& delete_altname(IfIndex link, const std::string& altname);
  Batch& delete_link(IfIndex link);
  Batch& add_address(const NewAddress& address);
  Batch& delete_address(const NewAddress& address);
  Batch& add_route(const NewRoute& route);
  [[nodiscard]] std::size_t size() const { return requests_.size(); }
  [[nodiscard]] bool empty() const { return requests_.empty(); }

 private:
  friend class Socket;
  struct Request {
    std::string what;                 // "add address 10.0.0.5/24 to link 7"; see Socket::name_link
    IfIndex link;                     // the one that `what` names
    std::vector<std::uint8_t> bytes;  // the message; its sequence number is filled in when it is sent
    std::optional<Error> refused;     // could not be encoded: reported instead of sending anything
    std::array<int, 2> fine = {};     // errnos that mean "already done"
    /// EEXIST is fine too if exactly this object exists.
    std::variant<std::monostate, NewAddress, NewRoute> wanted;
  };
  static Request make(std::string what, Result<std::vector<std::uint8_t>> bytes, IfIndex link = IfIndex());
  std::vector<Request> requests_;
};

/// A request of a batch that failed.
struct BatchFailure {
  std::size_t at = 0;  // in the order of adding
  Error error;
};

}  // namespace fairlead::netlink
