// SPDX-License-Identifier: Apache-2.0
// Attributes of a netlink message: writing them into a request, reading them from untrusted bytes. Only for
// the files of this folder that encode and decode one object or one kind of link; it is not installed.
#pragma once

#include <libmnl/libmnl.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "fairlead/core/result.h"
#include "fairlead/sys/netlink/if_index.h"
#include "fairlead/sys/netlink/message.h"

namespace fairlead::netlink::codec {

// Flags of a request's header.
inline constexpr std::uint16_t kRequest = NLM_F_REQUEST | NLM_F_ACK;
inline constexpr std::uint16_t kCreate = kRequest | NLM_F_CREATE | NLM_F_EXCL;
inline constexpr std::uint16_t kDump = NLM_F_REQUEST | NLM_F_DUMP;

/// kInvalid when no link can have this index.
Result<> check_index(IfIndex link);

// ---- writing

/// Writes one message. Attributes that would not fit are refused, and finish() then reports it.
class Writer {
 public:
  Writer(std::uint16_t type, std::uint16_t flags);

  /// The family's fixed header: right behind the message header, or inside a nest (a veth's peer).
  template <class T>
  T& fixed() {
    return *static_cast<T*>(mnl_nlmsg_put_extra_header(header_, sizeof(T)));
  }
  void raw(std::uint16_t type, View value);
  /// The bytes of a number in host order or of a struct of the kernel's headers.
  template <class T>
  void value(std::uint16_t type, const T& value) {
    raw(type, View(reinterpret_cast<const std::uint8_t*>(&value), sizeof value));
  }
  void u32(std::uint16_t type, std::uint32_t value);
  void descriptor(std::uint16_t type, int fd) { u32(type, static_cast<std::uint32_t>(fd)); }
  void index(std::uint16_t type, IfIndex value) { u32(type, static_cast<std::uint32_t>(value.value())); }
  void text(std::uint16_t type, std::string_view value);
  /// What `fill` writes becomes the content of one attribute.
  template <class F>
  void nest(std::uint16_t type, F&& fill) {
    nlattr* start = mnl_attr_nest_start_check(header_, buffer_.size(), type);
    if (start == nullptr) {
      fits_ = false;
      return;
    }
    std::forward<F>(fill)();
    mnl_attr_nest_end(header_, start);
  }

  [[nodiscard]] Result<Bytes> finish() const;

 private:
  static constexpr std::size_t kMaxMessage = 2048;  // twice of what the longest of our requests needs
  alignas(NLMSG_ALIGNTO) std::array<std::uint8_t, kMaxMessage> buffer_ = {};
  nlmsghdr* header_;
  bool fits_ = true;
};

/// The attributes that follow a request's header; empty if they do not fit.
Bytes payload_of(const Writer& writer);

// ---- reading

/// AF_INET or AF_INET6.
bool is_ip(std::uint8_t family);

template <class T>
std::optional<T> read_fixed(View bytes) {
  if (bytes.size() < sizeof(T)) {
    return std::nullopt;
  }
  T value = {};
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

template <class T>
void read_into(T& target, View bytes) {
  if (const auto value = read_fixed<T>(bytes)) {
    target = *value;
  }
}

void read_index(IfIndex& target, View bytes);
/// Up to the first NUL, or all of it.
std::string read_text(View bytes);
/// The data after a header of `size` bytes and its padding.
View behind(View bytes, std::size_t size);

/// Calls `visit(type, value)` for each complete attribute.
template <class F>
void for_each_attribute(View bytes, F&& visit) {
  const auto* attribute = reinterpret_cast<const nlattr*>(bytes.data());
  const auto left = [&] {
    const auto* end = bytes.data() + bytes.size();
    return static_cast<int>(end - reinterpret_cast<const std::uint8_t*>(attribute));
  };
  while (mnl_attr_ok(attribute, left())) {
    visit(mnl_attr_get_type(attribute),
          View(static_cast<const std::uint8_t*>(mnl_attr_get_payload(attribute)),
               mnl_attr_get_payload_len(attribute)));
    attribute = mnl_attr_next(attribute);
  }
}

}  // namespace fairlead::netlink::codec
