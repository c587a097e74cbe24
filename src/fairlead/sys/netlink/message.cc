// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/netlink/message.h"

#include <linux/netlink.h>

#include <cerrno>
#include <cstring>

#include "fairlead/sys/netlink/wire.h"

namespace fairlead::netlink::codec {
namespace {

/// The kernel's sentence among the TLVs of an answer.
std::string read_extended_ack(View attributes) {
  std::string text;
  for_each_attribute(attributes, [&](std::uint16_t type, View value) {
    if (type == NLMSGERR_ATTR_MSG) {
      text = read_text(value);
    }
  });
  return text;
}

}  // namespace

void set_sequence(Bytes& message, std::uint32_t sequence) {
  std::memcpy(message.data() + offsetof(nlmsghdr, nlmsg_seq), &sequence, sizeof sequence);
}

std::optional<Message> next_message(View& rest) {
  const auto* header = reinterpret_cast<const nlmsghdr*>(rest.data());
  // libmnl compares as int: a length beyond 2 GiB would pass its check.
  if (!mnl_nlmsg_ok(header, static_cast<int>(rest.size())) || header->nlmsg_len > rest.size()) {
    rest = {};
    return std::nullopt;
  }
  const Message message{.type = header->nlmsg_type,
                        .flags = header->nlmsg_flags,
                        .sequence = header->nlmsg_seq,
                        .port = header->nlmsg_pid,
                        .payload = rest.first(header->nlmsg_len).subspan(sizeof(nlmsghdr))};
  rest = behind(rest, header->nlmsg_len);
  return message;
}

std::optional<Answer> read_answer(const Message& message) {
  const auto code = read_fixed<std::int32_t>(message.payload);
  if (!code || (message.type != NLMSG_ERROR && message.type != NLMSG_DONE)) {
    return std::nullopt;
  }
  // The kernel's codes are -errno; anything else is damage and must not become a success.
  constexpr int kMaxErrno = 4095;
  Answer answer{.error = *code <= 0 && *code >= -kMaxErrno ? -*code : EPROTO};
  if ((message.flags & NLM_F_ACK_TLVS) == 0) {
    return answer;
  }
  if (message.type == NLMSG_DONE) {
    answer.text = read_extended_ack(behind(message.payload, sizeof(std::int32_t)));
    return answer;
  }
  View attributes = behind(message.payload, sizeof(nlmsgerr));
  const auto envelope = read_fixed<nlmsgerr>(message.payload);
  // Without NLM_F_CAPPED the request's own payload is in between.
  if (envelope && (message.flags & NLM_F_CAPPED) == 0 && envelope->msg.nlmsg_len > sizeof(nlmsghdr)) {
    attributes = behind(attributes, envelope->msg.nlmsg_len - sizeof(nlmsghdr));
  }
  answer.text = read_extended_ack(attributes);
  return answer;
}

}  // namespace fairlead::netlink::codec
