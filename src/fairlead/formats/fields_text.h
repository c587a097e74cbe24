// SPDX-License-Identifier: Apache-2.0
// Generates the reference in docs/parameters.md and a JSON schema from the tables in fields.h.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fairlead/formats/fields.h"

namespace fairlead::fields {

/// The kinds of one type: {"type": "netdev", "netdev": {"kind": "macvlan", ...}}.
struct TypeFields {
  std::string_view type;
  std::vector<KindFields> kinds;
};

/// For each type a block between the lines `<!-- fields of TYPE: ... -->` and `<!-- end of the fields of TYPE
/// -->`, with a table and a sentence for each field. Lines are at most 120 bytes long if names, words and
/// defaults allow it.
std::string to_markdown(std::span<const TypeFields> types);

/// Draft 2020-12, indented, with one definition for each kind. Everything that decode() accepts is valid for
/// the schema; the schema accepts more where a rule concerns several fields or cannot be expressed as a
/// pattern. A required field of a kind is not required here, since several configs make up one device.
std::string to_json_schema(std::span<const TypeFields> types);

}  // namespace fairlead::fields
