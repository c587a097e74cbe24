// SPDX-License-Identifier: Apache-2.0
// Netlink messages in general: splitting a datagram, the kernel's response to a request. Pure, any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace fairlead::netlink::codec {

using Bytes = std::vector<std::uint8_t>;
/// Aligned for a netlink header (4 bytes), as any receive buffer and any std::vector is.
using View = std::span<const std::uint8_t>;

/// Requests are encoded with the sequence number 0; this fills it in.
void set_sequence(Bytes& message, std::uint32_t sequence);

/// One message of a datagram. Views point into the datagram.
struct Message {
  std::uint16_t type = 0;   // RTM_* or NLMSG_*
  std::uint16_t flags = 0;  // NLM_F_*
  std::uint32_t sequence = 0;
  std::uint32_t port = 0;
  View payload;  // behind the header
};
/// Takes the next whole message off the front of `rest`; nullopt if none is left or the rest is damaged.
std::optional<Message> next_message(View& rest);

/// The kernel's response to a request: NLMSG_ERROR and NLMSG_DONE.
struct Answer {
  int error = 0;     // errno, positive; 0 is success
  std::string text;  // extended ack: the kernel's own sentence, may be empty
};
std::optional<Answer> read_answer(const Message& message);

}  // namespace fairlead::netlink::codec
