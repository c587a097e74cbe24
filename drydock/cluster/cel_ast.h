// SPDX-License-Identifier: Apache-2.0
// The syntax tree between cel_parse.cc, cel_check.cc and cel.cc. Inside drydock_cluster only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "fairlead/core/result.h"

namespace drydock::cel {

using Literal = std::variant<std::monostate, bool, std::int64_t, double, std::string>;

struct Node {
  enum class Op : std::uint8_t {
    kLiteral,  // literal
    kIdent,    // name
    kSelect,   // children[0] . name
    kIndex,    // children[0] [ children[1] ]
    kCall,     // name(children...)
    kMethod,   // children[0].name(children[1]...)
    kNot,      // ! children[0]
    kNegate,   // - children[0]
    kBinary,   // children[0] name children[1]
    kTernary,  // children[0] ? children[1] : children[2]
    kList,     // [children...]
    kHas,      // has(children[0]), a select
    kMacro,    // children[0].name(variable, children[1]...)
    kBind,     // cel.bind(variable, children[0], children[1])
  };
  Op op = Op::kLiteral;
  bool optional = false;  // .?name, [?index]
  std::string name;
  std::string variable;
  Literal literal;
  std::size_t offset = 0;  // in the expression
  std::vector<std::unique_ptr<Node>> children;
};
using NodePtr = std::unique_ptr<Node>;

fairlead::Result<NodePtr> parse(std::string_view expression);
/// Names, functions and those types that are plain to see; the whole must be a bool.
fairlead::Result<> check(const Node& root, std::string_view expression);
/// "column 12: ..." or "line 2, column 3: ..."
fairlead::Error error_at(std::string_view expression, std::size_t offset, std::string_view what);

}  // namespace drydock::cel
