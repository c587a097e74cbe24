// SPDX-License-Identifier: Apache-2.0
// The words of an expression. Inside drydock_cluster only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fairlead/core/result.h"

namespace drydock::cel {

struct Token {
  enum class Type : std::uint8_t { kEnd, kIdent, kInt, kDouble, kString, kSign } type = Type::kEnd;
  std::string text;  // the string's value, else as written
  std::size_t offset = 0;
};

/// The last one is kEnd.
fairlead::Result<std::vector<Token>> tokens_of(std::string_view expression);

}  // namespace drydock::cel
