// SPDX-License-Identifier: Apache-2.0
// Messages about addresses (RTM_NEWADDR and its like). Pure, any thread.
#pragma once

#include <cstdint>
#include <optional>

#include "fairlead/core/result.h"
#include "fairlead/sys/netlink/address.h"
#include "fairlead/sys/netlink/if_index.h"
#include "fairlead/sys/netlink/message.h"

namespace fairlead::netlink::codec {

// ---- requests; the sequence number is 0 until set_sequence()
Result<Bytes> add_address(const NewAddress& address);
Result<Bytes> delete_address(const NewAddress& address);
/// How an address is restored (put_address): IPv6 would check for duplicates first, for a second in which
/// nothing can use the address, so one that was in use is restored in two steps.
enum class PutStep : std::uint8_t {
  kAdd,     // in use at once, if it was
  kFinish,  // with the flags that it had
};
/// For an address returned by told_address(). kFinish of an address that needs no second step: empty.
Result<Bytes> put_address(IfIndex link, View told, PutStep step);
bool needs_finish(View told);
/// Also for a route.
bool is_ipv6(View told);
Result<Bytes> delete_told_address(IfIndex link, View told);
/// AF_INET and AF_INET6 alike; of one link when the index is valid.
Result<Bytes> dump_addresses(IfIndex link);

// ---- responses and events
/// Of RTM_NEWADDR or RTM_DELADDR.
std::optional<Address> read_address(const Message& message);
/// From the same messages, to be restored; empty for damaged ones.
Told told_address(const Message& message);
/// Whether two told addresses are the same, in whatever state of duplicate address detection.
bool same_address(View one, View other);

}  // namespace fairlead::netlink::codec
