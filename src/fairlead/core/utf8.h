// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace fairlead {

/// How many bytes the first character of `text` has. 0: it is empty or does not begin with valid UTF-8 (RFC
/// 3629: no surrogates, no overlong forms, nothing above U+10FFFF).
std::size_t utf8_character(std::string_view text);
bool is_utf8(std::string_view text);
/// At most `size` bytes of the text, never a part of a UTF-8 character.
std::string cut_utf8(std::string text, std::size_t size);
/// The text for one line of a terminal or log: control characters and bytes that are not UTF-8 as \xNN, and
/// \t, \n and \r as such.
std::string printable(std::string_view text);

}  // namespace fairlead
