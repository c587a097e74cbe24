// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/netlink/wire.h"

#include <sys/socket.h>

#include <algorithm>

namespace fairlead::netlink::codec {

Result<> check_index(IfIndex link) {
  if (!link.valid()) {
    return Error(Code::kInvalid, "link index " + std::to_string(link.value()) + " is not valid");
  }
  return {};
}

Writer::Writer(std::uint16_t type, std::uint16_t flags) : header_(mnl_nlmsg_put_header(buffer_.data())) {
  header_->nlmsg_type = type;
  header_->nlmsg_flags = flags;
}

void Writer::raw(std::uint16_t type, View value) {
  fits_ = mnl_attr_put_check(header_, buffer_.size(), type, value.size(), value.data()) && fits_;
}

void Writer::u32(std::uint16_t type, std::uint32_t value) {
  fits_ = mnl_attr_put_u32_check(header_, buffer_.size(), type, value) && fits_;
}

void Writer::text(std::uint16_t type, std::string_view value) {
  const std::string terminated(value);
  fits_ = mnl_attr_put_strz_check(header_, buffer_.size(), type, terminated.c_str()) && fits_;
}

Result<Bytes> Writer::finish() const {
  if (!fits_) {
    return Error(Code::kInvalid, "the request does not fit into one netlink message");
  }
  return Bytes(buffer_.begin(), buffer_.begin() + header_->nlmsg_len);
}

void read_index(IfIndex& target, View bytes) {
  if (const auto value = read_fixed<std::int32_t>(bytes)) {
    target = IfIndex(*value);
  }
}

std::string read_text(View bytes) {
  const auto end = std::ranges::find(bytes, std::uint8_t{0});
  return {bytes.begin(), end};
}

View behind(View bytes, std::size_t size) {
  const std::size_t aligned = (size + NLMSG_ALIGNTO - 1) & ~std::size_t{NLMSG_ALIGNTO - 1};
  return bytes.subspan(std::min(aligned, bytes.size()));
}

Bytes payload_of(const Writer& writer) {
  const auto bytes = writer.finish();
  return bytes ? Bytes(bytes->begin() + sizeof(nlmsghdr), bytes->end()) : Bytes();
}

bool is_ip(std::uint8_t family) { return family == AF_INET || family == AF_INET6; }

}  // namespace fairlead::netlink::codec
