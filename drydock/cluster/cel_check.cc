// SPDX-License-Identifier: Apache-2.0
// What can be said of an expression without a device: unknown names and functions, and types that cannot fit.
#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "drydock/cluster/cel_ast.h"

namespace drydock::cel {
namespace {

using fairlead::Result;

enum class Type : std::uint8_t {
  kDyn,
  kBool,
  kInt,
  kDouble,
  kString,
  kList,
  kMap,
  kQuantity,
  kSemver,
  kDevice
};

std::string_view name_of(Type type) {
  switch (type) {
    case Type::kBool:
      return "bool";
    case Type::kInt:
      return "int";
    case Type::kDouble:
      return "double";
    case Type::kString:
      return "string";
    case Type::kList:
      return "list";
    case Type::kMap:
      return "map";
    case Type::kQuantity:
      return "quantity";
    case Type::kSemver:
      return "semver";
    case Type::kDevice:
      return "device";
    case Type::kDyn:
      break;
  }
  return "dyn";
}

struct Signature {
  std::size_t min, max;  // arguments
  Type result;
};

const std::map<std::string, Signature, std::less<>>& functions() {
  static const std::map<std::string, Signature, std::less<>> table{
      {"size", {.min = 1, .max = 1, .result = Type::kInt}},
      {"int", {.min = 1, .max = 1, .result = Type::kInt}},
      {"double", {.min = 1, .max = 1, .result = Type::kDouble}},
      {"string", {.min = 1, .max = 1, .result = Type::kString}},
      {"quantity", {.min = 1, .max = 1, .result = Type::kQuantity}},
      {"isQuantity", {.min = 1, .max = 1, .result = Type::kBool}},
      {"semver", {.min = 1, .max = 1, .result = Type::kSemver}},
      {"isSemver", {.min = 1, .max = 1, .result = Type::kBool}},
      {"matches", {.min = 2, .max = 2, .result = Type::kBool}},
      {"dyn", {.min = 1, .max = 1, .result = Type::kDyn}}};
  return table;
}

const std::map<std::string, Signature, std::less<>>& methods() {
  static const std::map<std::string, Signature, std::less<>> table{
      {"startsWith", {.min = 1, .max = 1, .result = Type::kBool}},
      {"endsWith", {.min = 1, .max = 1, .result = Type::kBool}},
      {"contains", {.min = 1, .max = 1, .result = Type::kBool}},
      {"matches", {.min = 1, .max = 1, .result = Type::kBool}},
      {"size", {.min = 0, .max = 0, .result = Type::kInt}},
      {"lowerAscii", {.min = 0, .max = 0, .result = Type::kString}},
      {"upperAscii", {.min = 0, .max = 0, .result = Type::kString}},
      {"trim", {.min = 0, .max = 0, .result = Type::kString}},
      {"orValue", {.min = 1, .max = 1, .result = Type::kDyn}},
      {"hasValue", {.min = 0, .max = 0, .result = Type::kBool}},
      {"value", {.min = 0, .max = 0, .result = Type::kDyn}},
      {"compareTo", {.min = 1, .max = 1, .result = Type::kInt}},
      {"isGreaterThan", {.min = 1, .max = 1, .result = Type::kBool}},
      {"isLessThan", {.min = 1, .max = 1, .result = Type::kBool}},
      {"asInteger", {.min = 0, .max = 0, .result = Type::kInt}},
      {"isInteger", {.min = 0, .max = 0, .result = Type::kBool}},
      {"asApproximateFloat", {.min = 0, .max = 0, .result = Type::kDouble}},
      {"sign", {.min = 0, .max = 0, .result = Type::kInt}},
      {"add", {.min = 1, .max = 1, .result = Type::kQuantity}},
      {"sub", {.min = 1, .max = 1, .result = Type::kQuantity}},
      {"major", {.min = 0, .max = 0, .result = Type::kInt}},
      {"minor", {.min = 0, .max = 0, .result = Type::kInt}},
      {"patch", {.min = 0, .max = 0, .result = Type::kInt}}};
  return table;
}

class Checker {
 public:
  explicit Checker(std::string_view text) : text_(text) {}

  Result<Type> type_of(const Node& node) {
    switch (node.op) {
      case Node::Op::kLiteral:
        return literal(node);
      case Node::Op::kIdent:
        return ident(node);
      case Node::Op::kSelect:
        return select(node);
      case Node::Op::kIndex:
        return index(node);
      case Node::Op::kCall:
        return call(node);
      case Node::Op::kMethod:
        return method(node);
      case Node::Op::kNot:
        FL_TRY(must_be_bool(*node.children[0]));
        return Type::kBool;
      case Node::Op::kNegate:
        return type_of(*node.children[0]);
      case Node::Op::kBinary:
        return binary(node);
      case Node::Op::kTernary:
        return ternary(node);
      case Node::Op::kList:
        FL_TRY(all(node));
        return Type::kList;
      case Node::Op::kHas:
        FL_TRY(type_of(*node.children[0]));
        return Type::kBool;
      case Node::Op::kMacro:
      case Node::Op::kBind:
        return scoped(node);
    }
    return Type::kDyn;
  }

  Result<> must_be_bool(const Node& node) {
    FL_ASSIGN(const Type type, type_of(node));
    if (type != Type::kBool && type != Type::kDyn) {
      return error_at(text_, node.offset, "must be a bool, not a " + std::string(name_of(type)));
    }
    return {};
  }

 private:
  static Result<Type> literal(const Node& node) {
    constexpr std::array kTypes{Type::kDyn, Type::kBool, Type::kInt, Type::kDouble, Type::kString};
    return kTypes.at(node.literal.index());
  }
  Result<Type> ident(const Node& node) {
    if (variables_.contains(node.name)) {
      return Type::kDyn;
    }
    if (node.name == "device") {
      return Type::kDevice;
    }
    return error_at(text_, node.offset,
                    "undeclared reference to \"" + node.name + "\" (there is only `device`)");
  }
  Result<Type> select(const Node& node) {
    FL_ASSIGN(const Type target, type_of(*node.children[0]));
    if (target != Type::kDevice) {
      if (target == Type::kDyn || target == Type::kMap) {
        return Type::kDyn;
      }
      return error_at(text_, node.offset,
                      "a " + std::string(name_of(target)) + " has no field \"" + node.name + "\"");
    }
    static const std::map<std::string, Type, std::less<>> fields{{"driver", Type::kString},
                                                                 {"attributes", Type::kMap},
                                                                 {"capacity", Type::kMap},
                                                                 {"allowMultipleAllocations", Type::kBool}};
    const auto field = fields.find(node.name);
    if (field == fields.end()) {
      return error_at(text_, node.offset,
                      "undefined field \"" + node.name +
                          "\" of device (driver, attributes, capacity, allowMultipleAllocations)");
    }
    return node.optional ? Type::kDyn : field->second;
  }
  Result<Type> index(const Node& node) {
    FL_ASSIGN(const Type target, type_of(*node.children[0]));
    FL_TRY(type_of(*node.children[1]));
    if (target != Type::kDyn && target != Type::kMap && target != Type::kList) {
      return error_at(text_, node.offset, "a " + std::string(name_of(target)) + " cannot be indexed");
    }
    return Type::kDyn;
  }
  Result<Type> known(const Node& node, const std::map<std::string, Signature, std::less<>>& table,
                     std::size_t arguments) {
    FL_TRY(all(node));
    const auto it = table.find(node.name);
    if (it == table.end()) {
      return error_at(text_, node.offset, "unknown function \"" + node.name + "\"");
    }
    if (arguments < it->second.min || arguments > it->second.max) {
      return error_at(text_, node.offset,
                      node.name + "() takes " + std::to_string(it->second.min) + " argument(s), not " +
                          std::to_string(arguments));
    }
    return it->second.result;
  }
  Result<Type> call(const Node& node) { return known(node, functions(), node.children.size()); }
  Result<Type> method(const Node& node) {
    const Node& target = *node.children[0];
    if (target.op == Node::Op::kIdent && target.name == "optional" &&
        (node.name == "of" || node.name == "none")) {
      for (std::size_t i = 1; i < node.children.size(); ++i) {
        FL_TRY(type_of(*node.children[i]));
      }
      return Type::kDyn;
    }
    return known(node, methods(), node.children.size() - 1);
  }
  Result<Type> binary(const Node& node) {
    if (node.name == "&&" || node.name == "||") {
      FL_TRY(must_be_bool(*node.children[0]));
      FL_TRY(must_be_bool(*node.children[1]));
      return Type::kBool;
    }
    FL_ASSIGN(const Type left, type_of(*node.children[0]));
    FL_ASSIGN(const Type right, type_of(*node.children[1]));
    const bool compares = std::string_view("==,!=,<=,>=,<,>").find(node.name) != std::string_view::npos;
    const bool dynamic = left == Type::kDyn || right == Type::kDyn;
    if (compares && !dynamic && left != right) {
      return error_at(text_, node.offset,
                      "no overload of \"" + node.name + "\" for (" + std::string(name_of(left)) + ", " +
                          std::string(name_of(right)) + ")");
    }
    if (compares || node.name == "in") {
      return Type::kBool;
    }
    return dynamic ? Type::kDyn : left;
  }
  Result<Type> ternary(const Node& node) {
    FL_TRY(must_be_bool(*node.children[0]));
    FL_ASSIGN(const Type yes, type_of(*node.children[1]));
    FL_ASSIGN(const Type no, type_of(*node.children[2]));
    return yes == no ? yes : Type::kDyn;
  }
  Result<Type> scoped(const Node& node) {
    FL_TRY(type_of(*node.children[0]));
    const bool fresh = variables_.insert(node.variable).second;
    auto body = type_of(*node.children[1]);
    if (fresh) {
      variables_.erase(node.variable);
    }
    if (!body || node.op == Node::Op::kBind) {
      return body;
    }
    return node.name == "map" || node.name == "filter" ? Type::kList : Type::kBool;
  }
  Result<> all(const Node& node) {
    for (const NodePtr& child : node.children) {
      FL_TRY(type_of(*child));
    }
    return {};
  }

  std::string_view text_;
  std::set<std::string> variables_;
};

}  // namespace

Result<> check(const Node& root, std::string_view expression) {
  return Checker(expression).must_be_bool(root);
}

}  // namespace drydock::cel
