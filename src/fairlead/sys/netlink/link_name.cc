// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/netlink/link_name.h"

#include <linux/if.h>

#include <algorithm>
#include <string>

namespace fairlead::netlink {
Result<> check_link_name(std::string_view name) {
  const auto wrong = [&](std::string_view why) {
    return Error(Code::kInvalid,
                 "interface name \"" + std::string(name.substr(0, 64)) + "\" " + std::string(why));
  };
  if (name.empty()) {
    return wrong("is empty");
  }
  if (name.size() >= IFNAMSIZ) {
    return wrong("has " + std::to_string(name.size()) + " characters, the kernel takes at most 15");
  }
  if (name == "." || name == "..") {
    return wrong("is not a name the kernel takes");
  }
  const auto bad = [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte <= ' ' || byte == 0x7F || c == '/' || c == ':' || c == '%';
  };
  if (std::ranges::any_of(name, bad)) {
    return wrong(
        "has a character the kernel does not take: no white space, control characters, '/', ':' or '%'");
  }
  return {};
}

}  // namespace fairlead::netlink
