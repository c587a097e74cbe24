// SPDX-License-Identifier: Apache-2.0
// Evaluation of a selector: walks the tree with a device at hand. An error is a Result, absorbed by && and || as the
// CEL specification says.
#include "drydock/cluster/cel.h"

#include <algorithm>
#include <map>
#include <optional>
#include <ranges>
#include <variant>

#include "drydock/cluster/cel_ast.h"
#include "drydock/cluster/cel_functions.h"
#include "drydock/cluster/cel_value.h"
#include "drydock/cluster/field_check.h"

namespace drydock {
namespace cel {
namespace {

using fairlead::Error;
using fairlead::Result;

/// "name" of driver d is domain d; "d/name" says its own.
std::pair<std::string, std::string> split_key(std::string_view driver, std::string_view key) {
  const auto slash = key.find('/');
  if (slash == std::string_view::npos) {
    return {std::string(driver), std::string(key)};
  }
  return {std::string(key.substr(0, slash)), std::string(key.substr(slash + 1))};
}

Value attribute_value(const Json& attribute) {
  if (attribute.contains("int")) {
    return Value{attribute["int"].get<std::int64_t>()};
  }
  if (attribute.contains("bool")) {
    return Value{attribute["bool"].get<bool>()};
  }
  if (attribute.contains("version")) {
    return Value{parse_semver(attribute["version"].get_ref<const std::string&>())};
  }
  return Value{text_at(attribute, "string")};
}

Value capacity_value(const Json& capacity) {
  return Value{Quantity::parse(text_at(capacity, "value")).value_or(Quantity())};
}

Value by_domain(std::string_view driver, const Json& entries, Value (*convert)(const Json&)) {
  std::map<std::string, Map> domains;
  for (const auto& [key, entry] : entries.items()) {
    const auto [domain, name] = split_key(driver, key);
    domains[domain].entries[name] = convert(entry);
  }
  Map map;
  map.empty_map_for_unknown = true;
  for (auto& [domain, inner] : domains) {
    map.entries[domain] = Value{std::make_shared<const Map>(std::move(inner))};
  }
  return Value{std::make_shared<const Map>(std::move(map))};
}

class Evaluator {
 public:
  explicit Evaluator(const CelDevice& device) : device_(device) {}

  Result<Value> eval(const Node& node) {
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
        return negated(node);
      case Node::Op::kNegate:
        return negative(node);
      case Node::Op::kBinary:
        return binary(node);
      case Node::Op::kTernary:
        return ternary(node);
      case Node::Op::kList:
        return list(node);
      case Node::Op::kHas:
        return has(node);
      case Node::Op::kMacro:
        return macro(node);
      case Node::Op::kBind:
        return bind(node);
    }
    return failure("unknown expression");
  }

 private:
  static Result<Value> literal(const Node& node) {
    return std::visit([](const auto& value) { return Value{value}; }, node.literal);
  }

  Result<Value> ident(const Node& node) {
    for (auto& it : std::ranges::reverse_view(scope_)) {
      if (it.first == node.name) {
        return it.second;
      }
    }
    return Value{DeviceRef{}};
  }

  Result<Value> device_field(std::string_view name) const {
    if (name == "driver") {
      return Value{std::string(device_.driver)};
    }
    if (name == "attributes") {
      return by_domain(device_.driver, value_at(device_.device, "attributes"), attribute_value);
    }
    if (name == "capacity") {
      return by_domain(device_.driver, value_at(device_.device, "capacity"), capacity_value);
    }
    return Value{value_at(device_.device, "allowMultipleAllocations") == Json(true)};
  }

  /// The entry; nullopt if it is absent.
  Result<std::optional<Value>> member(const Value& target, const std::string& key) const {
    if (target.as<DeviceRef>() != nullptr) {
      FL_ASSIGN(Value field, device_field(key));
      return std::optional(std::move(field));
    }
    if (target.as<None>() != nullptr) {
      return std::optional<Value>();
    }
    if (const auto* optional = target.as<Optional>()) {
      return member(*optional->value, key);
    }
    const auto* map = target.as<MapPtr>();
    if (map == nullptr) {
      return no_overload("field \"" + key + "\"", target);
    }
    const auto it = (*map)->entries.find(key);
    if (it != (*map)->entries.end()) {
      return std::optional(it->second);
    }
    if ((*map)->empty_map_for_unknown) {
      return std::optional(Value{std::make_shared<const Map>()});
    }
    return std::optional<Value>();
  }

  /// x.?y is an optional; so is x.y when x is one.
  static Result<Value> wrap(const Node& node, const Value& target, std::optional<Value> found,
                            const std::string& key) {
    if (node.optional || target.as<Optional>() != nullptr || target.as<None>() != nullptr) {
      return found ? some(std::move(*found)) : Value{None{}};
    }
    if (!found) {
      return failure("no such key: " + key);
    }
    return std::move(*found);
  }

  Result<Value> select(const Node& node) {
    FL_ASSIGN(const Value target, eval(*node.children[0]));
    FL_ASSIGN(std::optional<Value> found, member(target, node.name));
    return wrap(node, target, std::move(found), node.name);
  }

  Result<Value> index(const Node& node) {
    FL_ASSIGN(const Value target, eval(*node.children[0]));
    FL_ASSIGN(const Value key, eval(*node.children[1]));
    if (const auto* list = target.as<ListPtr>()) {
      const auto* at = key.as<std::int64_t>();
      if (at == nullptr) {
        return no_overload("list index", key);
      }
      std::optional<Value> found;
      if (*at >= 0 && static_cast<std::size_t>(*at) < (*list)->size()) {
        found = (**list)[static_cast<std::size_t>(*at)];
      }
      return wrap(node, target, std::move(found), std::to_string(*at));
    }
    const auto* name = key.as<std::string>();
    if (name == nullptr) {
      return no_overload("index", key);
    }
    FL_ASSIGN(std::optional<Value> found, member(target, *name));
    return wrap(node, target, std::move(found), *name);
  }

  Result<Value> has(const Node& node) {
    const Node& field = *node.children[0];
    FL_ASSIGN(const Value target, eval(*field.children[0]));
    FL_ASSIGN(const std::optional<Value> found, member(target, field.name));
    if (const auto* map = target.as<MapPtr>(); map != nullptr && (*map)->empty_map_for_unknown) {
      return Value{(*map)->entries.contains(field.name)};
    }
    return Value{found.has_value()};
  }

  Result<bool> truth(const Node& node) {
    FL_ASSIGN(const Value value, eval(node));
    if (const auto* truth = value.as<bool>()) {
      return *truth;
    }
    return no_overload("a bool is needed; it was applied", value);
  }

  Result<Value> negated(const Node& node) {
    FL_ASSIGN(const bool value, truth(*node.children[0]));
    return Value{!value};
  }

  Result<Value> negative(const Node& node) {
    FL_ASSIGN(const Value value, eval(*node.children[0]));
    if (const auto* number = value.as<std::int64_t>()) {
      return arithmetic("-", Value{std::int64_t{0}}, Value{*number});
    }
    if (const auto* number = value.as<double>()) {
      return Value{-*number};
    }
    return no_overload("\"-\"", value);
  }

  /// false && error and error && false are false; true || error and error || true are true (CEL, "Logical
  /// Operators").
  Result<Value> logical(const Node& node) {
    const bool decides = node.name == "||";
    auto left = truth(*node.children[0]);
    if (left && *left == decides) {
      return Value{decides};
    }
    auto right = truth(*node.children[1]);
    if (right && *right == decides) {
      return Value{decides};
    }
    if (!left) {
      return std::move(left).error();
    }
    if (!right) {
      return std::move(right).error();
    }
    return Value{!decides};
  }

  Result<Value> binary(const Node& node) {
    if (node.name == "&&" || node.name == "||") {
      return logical(node);
    }
    FL_ASSIGN(const Value left, eval(*node.children[0]));
    FL_ASSIGN(const Value right, eval(*node.children[1]));
    if (node.name == "==" || node.name == "!=") {
      return Value{equal(left, right) == (node.name == "==")};
    }
    if (node.name == "in") {
      return contained(left, right);
    }
    if (node.name[0] == '<' || node.name[0] == '>') {
      return ordered(node.name, left, right);
    }
    return arithmetic(node.name, left, right);
  }

  Result<Value> ternary(const Node& node) {
    FL_ASSIGN(const bool condition, truth(*node.children[0]));
    return eval(*node.children[condition ? 1 : 2]);
  }

  Result<Value> list(const Node& node) {
    List items;
    for (const NodePtr& child : node.children) {
      FL_ASSIGN(Value item, eval(*child));
      items.push_back(std::move(item));
    }
    return Value{std::make_shared<const List>(std::move(items))};
  }

  static Result<List> range_of(const Value& value) {
    if (const auto* list = value.as<ListPtr>()) {
      return **list;
    }
    if (const auto* map = value.as<MapPtr>()) {
      List keys;
      for (const auto& [key, unused] : (*map)->entries) {
        keys.push_back(Value{key});
      }
      return keys;
    }
    return no_overload("a macro", value);
  }

  Result<Value> macro(const Node& node) {
    FL_ASSIGN(const Value range, eval(*node.children[0]));
    FL_ASSIGN(const List items, range_of(range));
    List kept;
    std::int64_t hits = 0;
    std::optional<Error> problem;
    for (const Value& item : items) {
      scope_.emplace_back(node.variable, item);
      auto value = eval(*node.children[1]);
      scope_.pop_back();
      if (!value) {
        problem = std::move(value).error();
        continue;
      }
      if (node.name == "map") {
        kept.push_back(std::move(*value));
        continue;
      }
      const auto* yes = value->as<bool>();
      if (yes == nullptr) {
        return no_overload(node.name + "()", *value);
      }
      hits += *yes ? 1 : 0;
      if (*yes) {
        kept.push_back(item);
      }
    }
    return verdict(node.name, static_cast<std::int64_t>(items.size()), hits, std::move(kept),
                   std::move(problem));
  }

  /// all and exists absorb errors as && and || do; the others do not.
  static Result<Value> verdict(std::string_view macro, std::int64_t size, std::int64_t hits, List kept,
                               std::optional<Error> problem) {
    if (macro == "exists" && hits > 0) {
      return Value{true};
    }
    if (macro == "all" && hits < size - (problem ? 1 : 0)) {
      return Value{false};
    }
    if (problem) {
      return std::move(*problem);
    }
    if (macro == "all") {
      return Value{hits == size};
    }
    if (macro == "exists" || macro == "exists_one") {
      return Value{macro == "exists" ? hits > 0 : hits == 1};
    }
    return Value{std::make_shared<const List>(std::move(kept))};
  }

  Result<Value> bind(const Node& node) {
    FL_ASSIGN(Value value, eval(*node.children[0]));
    scope_.emplace_back(node.variable, std::move(value));
    auto result = eval(*node.children[1]);
    scope_.pop_back();
    return result;
  }

  Result<Value> call(const Node& node) {
    std::vector<Value> arguments;
    for (const NodePtr& child : node.children) {
      FL_ASSIGN(Value argument, eval(*child));
      arguments.push_back(std::move(argument));
    }
    if (node.name == "matches") {
      return matches(arguments[0], arguments[1]);
    }
    if (node.name == "size") {
      return size(arguments[0]);
    }
    if (node.name == "dyn") {
      return std::move(arguments[0]);
    }
    return convert(node.name, arguments[0]);
  }

  Result<Value> method(const Node& node) {
    const Node& first = *node.children[0];
    std::vector<Value> arguments;
    for (std::size_t i = 1; i < node.children.size(); ++i) {
      FL_ASSIGN(Value argument, eval(*node.children[i]));
      arguments.push_back(std::move(argument));
    }
    if (first.op == Node::Op::kIdent && first.name == "optional") {
      return arguments.empty() ? Value{None{}} : some(std::move(arguments[0]));
    }
    FL_ASSIGN(const Value target, eval(first));
    if (target.as<Optional>() != nullptr || target.as<None>() != nullptr) {
      return optional_method(node.name, target, arguments);
    }
    if (node.name == "size") {
      return size(target);
    }
    if (target.as<std::string>() != nullptr) {
      return string_method(node.name, *target.as<std::string>(), arguments);
    }
    return ordered_method(node.name, target, arguments);
  }

  CelDevice device_;
  std::vector<std::pair<std::string, Value>> scope_;
};

}  // namespace
}  // namespace cel

fairlead::Result<CelProgram> CelProgram::compile(std::string_view expression) {
  FL_ASSIGN(cel::NodePtr root, cel::parse(expression));
  FL_TRY(cel::check(*root, expression));
  return CelProgram(std::shared_ptr<const cel::Node>(std::move(root)));
}

fairlead::Result<bool> CelProgram::matches(const CelDevice& device) const {
  cel::Evaluator evaluator(device);
  FL_ASSIGN(const cel::Value value, evaluator.eval(*root_));
  if (const bool* truth = value.as<bool>()) {
    return *truth;
  }
  return fairlead::Error(fairlead::Code::kInvalid,
                         "the result is a " + std::string(cel::type_name(value)) + ", not a bool");
}

}  // namespace drydock
