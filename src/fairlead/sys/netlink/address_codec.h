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
/// How an address is put back (put_address): IPv6 would look for duplicates first, for a second in which
/// nothing can use the address, so one that was in use is put back in two steps.
enum class PutStep : std::uint8_t {
  kAdd,     // in use at once, if it was
  kFinish,  // with the flags that it had
};
/// Of what told_address() answered. kFinish of an address that needs no second step: nothing.
Result<Bytes> put_address(IfIndex link, View told, PutStep step);
bool needs_finish(View told);
/// Of a route too.
bool is_ipv6(View told);
Result<Bytes> delete_told_address(IfIndex link, View told);
/// AF_INET and AF_INET6 alike; of one link when the index is valid.
Result<Bytes> dump_addresses(IfIndex link);

// ---- answers and events
/// Of RTM_NEWADDR or RTM_DELADDR.
std::optional<Address> read_address(const Message& message);
/// Of the same, to be put back; empty for damaged ones.
Told told_address(const Message& message);
/// Whether two told addresses are the same, wherever they are in their duplicate address detection.
bool same_address(View one, View other);

}  // namespace fairlead::netlink::codec
