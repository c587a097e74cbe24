// SPDX-License-Identifier: Apache-2.0
// Substrings of JSON text, found without building a tree: for values that must be kept byte for byte
// (opaque parameters) and for splitting a watch event. Pure functions, any thread; safe on any input, right on
// well-formed JSON: check that first.
#pragma once

#include <initializer_list>
#include <optional>
#include <string_view>
#include <vector>

namespace fairlead::json_text {

/// The text of the member `key` of the object `object`; of the last one if the key occurs twice, as in a DOM.
/// Empty if there is none or `object` is not an object. Keys may be written with escapes.
std::optional<std::string_view> member(std::string_view object, std::string_view key);

/// member() of member() ...: empty if one of them is missing.
std::optional<std::string_view> member_path(std::string_view object,
                                            std::initializer_list<std::string_view> keys);

/// The texts of the elements of an array; empty if `array` is not an array.
std::vector<std::string_view> elements(std::string_view array);

}  // namespace fairlead::json_text
