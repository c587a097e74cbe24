// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace fairlead {

/// At most `size` bytes of the text, never a part of a UTF-8 character.
inline std::string cut_utf8(std::string text, std::size_t size) {
  if (text.size() > size) {
    while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xC0U) == 0x80U) {
      --size;
    }
    text.resize(size);
  }
  return text;
}

}  // namespace fairlead
