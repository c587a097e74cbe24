// SPDX-License-Identifier: Apache-2.0
// Evaluation of a selector. Values are immutable; an error is a Result, absorbed by && and || as the CEL
// specification says.
#include "drydock/cluster/cel.h"

#include <re2/re2.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <limits>
#include <map>
#include <optional>
#include <ranges>
#include <variant>

#include "drydock/cluster/cel_ast.h"
#include "drydock/cluster/field_check.h"
#include "drydock/cluster/quantity.h"

namespace drydock {
namespace cel {
namespace {

using fairlead::Code;
using fairlead::Error;
using fairlead::Result;

struct Value;
using List = std::vector<Value>;
struct Map;

struct Semver {
  std::array<std::int64_t, 3> numbers{};
  std::string prerelease;
};

struct DeviceRef {};
struct None {};  // an optional without a value; one with a value is an Optional
struct Optional {
  std::shared_ptr<const Value> value;
};

struct Value {
  std::variant<std::monostate, bool, std::int64_t, double, std::string, std::shared_ptr<const List>,
               std::shared_ptr<const Map>, Quantity, Semver, DeviceRef, None, Optional>
      data;
  template <class T>
  [[nodiscard]] const T* as() const {
    return std::get_if<T>(&data);
  }
};
struct Map {
  std::map<std::string, Value, std::less<>> entries;
  bool empty_map_for_unknown = false;  // attributes and capacity: an unknown domain is an empty map
};
using ListPtr = std::shared_ptr<const List>;
using MapPtr = std::shared_ptr<const Map>;

Error failure(std::string what) { return {Code::kInvalid, std::move(what)}; }

std::string_view type_name(const Value& value) {
  constexpr std::array<std::string_view, 12> kNames{"null",   "bool",   "int",      "double",
                                                    "string", "list",   "map",      "quantity",
                                                    "semver", "device", "optional", "optional"};
  return kNames.at(value.data.index());
}

Error no_overload(std::string_view what, const Value& value) {
  return failure("no such overload: " + std::string(what) + " on a " + std::string(type_name(value)));
}

Semver parse_semver(std::string_view text) {
  Semver version;
  text = text.substr(0, text.find('+'));
  const auto dash = text.find('-');
  if (dash != std::string_view::npos) {
    version.prerelease = text.substr(dash + 1);
    text = text.substr(0, dash);
  }
  for (std::int64_t& number : version.numbers) {
    const auto dot = text.find('.');
    const std::string_view part = text.substr(0, dot);
    (void)std::from_chars(part.data(), part.data() + part.size(), number);
    text.remove_prefix(dot == std::string_view::npos ? text.size() : dot + 1);
  }
  return version;
}

/// One identifier of a pre-release: numbers are lower than words (semver 2.0.0, section 11).
int compare_identifiers(std::string_view a, std::string_view b) {
  const auto numeric = [](std::string_view text) {
    return std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
  };
  if (numeric(a) != numeric(b)) {
    return numeric(a) ? -1 : 1;
  }
  if (numeric(a) && a.size() != b.size()) {
    return a.size() < b.size() ? -1 : 1;
  }
  const int order = a.compare(b);
  return order < 0 ? -1 : (order > 0 ? 1 : 0);
}

int compare_prerelease(std::string_view a, std::string_view b) {
  if (a.empty() || b.empty()) {
    return a.empty() == b.empty() ? 0 : (a.empty() ? 1 : -1);  // a release is higher than its pre-releases
  }
  while (true) {
    const auto dot_a = a.find('.');
    const auto dot_b = b.find('.');
    const int order = compare_identifiers(a.substr(0, dot_a), b.substr(0, dot_b));
    if (order != 0) {
      return order;
    }
    if (dot_a == std::string_view::npos || dot_b == std::string_view::npos) {
      return dot_a == dot_b ? 0 : (dot_a == std::string_view::npos ? -1 : 1);
    }
    a.remove_prefix(dot_a + 1);
    b.remove_prefix(dot_b + 1);
  }
}

int compare_semver(const Semver& a, const Semver& b) {
  if (a.numbers != b.numbers) {
    return a.numbers < b.numbers ? -1 : 1;
  }
  return compare_prerelease(a.prerelease, b.prerelease);
}

template <class T>
int sign_of(const T& a, const T& b) {
  return a < b ? -1 : (b < a ? 1 : 0);
}

std::optional<double> as_number(const Value& value) {
  if (const auto* i = value.as<std::int64_t>()) {
    return static_cast<double>(*i);
  }
  if (const auto* d = value.as<double>()) {
    return *d;
  }
  return std::nullopt;
}

/// nullopt if the two have no order.
std::optional<int> compare(const Value& a, const Value& b) {
  if (a.data.index() != b.data.index()) {
    const auto x = as_number(a);
    const auto y = as_number(b);
    return x && y ? std::optional(sign_of(*x, *y)) : std::nullopt;
  }
  if (const auto* x = a.as<bool>()) {
    return sign_of(*x, *b.as<bool>());
  }
  if (const auto* x = a.as<std::int64_t>()) {
    return sign_of(*x, *b.as<std::int64_t>());
  }
  if (const auto* x = a.as<double>()) {
    return sign_of(*x, *b.as<double>());
  }
  if (const auto* x = a.as<std::string>()) {
    return sign_of(*x, *b.as<std::string>());
  }
  if (const auto* x = a.as<Quantity>()) {
    return sign_of(*x, *b.as<Quantity>());
  }
  if (const auto* x = a.as<Semver>()) {
    return compare_semver(*x, *b.as<Semver>());
  }
  return std::nullopt;
}

bool equal(const Value& a, const Value& b) {
  if (const auto order = compare(a, b)) {
    return *order == 0;
  }
  if (a.data.index() != b.data.index()) {
    return false;  // values of different types are not equal (dyn equality)
  }
  if (const auto* x = a.as<ListPtr>()) {
    return std::ranges::equal(**x, **b.as<ListPtr>(), equal);
  }
  if (const auto* x = a.as<MapPtr>()) {
    const auto same = [](const auto& p, const auto& q) {
      return p.first == q.first && equal(p.second, q.second);
    };
    return std::ranges::equal((*x)->entries, (*b.as<MapPtr>())->entries, same);
  }
  if (const auto* x = a.as<Optional>()) {
    return equal(*x->value, *b.as<Optional>()->value);
  }
  return true;  // null and null, none and none
}

Value some(Value value) { return Value{Optional{std::make_shared<const Value>(std::move(value))}}; }

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

  static Result<Value> ordered(const std::string& sign, const Value& left, const Value& right) {
    const auto order = compare(left, right);
    if (!order) {
      return failure("no such overload: " + std::string(type_name(left)) + " " + sign + " " +
                     std::string(type_name(right)));
    }
    if (sign == "<") {
      return Value{*order < 0};
    }
    if (sign == "<=") {
      return Value{*order <= 0};
    }
    return Value{sign == ">" ? *order > 0 : *order >= 0};
  }

  static Result<Value> contained(const Value& left, const Value& right) {
    if (const auto* list = right.as<ListPtr>()) {
      return Value{std::ranges::any_of(**list, [&](const Value& item) { return equal(item, left); })};
    }
    const auto* map = right.as<MapPtr>();
    const auto* key = left.as<std::string>();
    if (map == nullptr || key == nullptr) {
      return no_overload("\"in\"", right);
    }
    return Value{(*map)->entries.contains(*key)};
  }

  static Result<Value> integer_arithmetic(char sign, std::int64_t a, std::int64_t b) {
    std::int64_t out = 0;
    bool overflow = false;
    if ((sign == '/' || sign == '%') && b == 0) {
      return failure(sign == '/' ? "division by zero" : "modulus by zero");
    }
    switch (sign) {
      case '+':
        overflow = __builtin_add_overflow(a, b, &out);
        break;
      case '-':
        overflow = __builtin_sub_overflow(a, b, &out);
        break;
      case '*':
        overflow = __builtin_mul_overflow(a, b, &out);
        break;
      default:
        overflow = b == -1 && a == std::numeric_limits<std::int64_t>::min();
        out = overflow ? 0 : (sign == '/' ? a / b : a % b);
        break;
    }
    if (overflow) {
      return failure("integer overflow");
    }
    return Value{out};
  }

  static Result<Value> arithmetic(const std::string& sign, const Value& left, const Value& right) {
    if (left.as<std::int64_t>() != nullptr && right.as<std::int64_t>() != nullptr) {
      return integer_arithmetic(sign[0], *left.as<std::int64_t>(), *right.as<std::int64_t>());
    }
    if (sign == "+" && left.as<std::string>() != nullptr && right.as<std::string>() != nullptr) {
      return Value{*left.as<std::string>() + *right.as<std::string>()};
    }
    if (sign == "+" && left.as<ListPtr>() != nullptr && right.as<ListPtr>() != nullptr) {
      List joined = **left.as<ListPtr>();
      joined.insert(joined.end(), (*right.as<ListPtr>())->begin(), (*right.as<ListPtr>())->end());
      return Value{std::make_shared<const List>(std::move(joined))};
    }
    const auto* a = left.as<double>();
    const auto* b = right.as<double>();
    if (a == nullptr || b == nullptr || sign == "%") {
      return failure("no such overload: " + std::string(type_name(left)) + " " + sign + " " +
                     std::string(type_name(right)));
    }
    const double value = sign == "+" ? *a + *b : (sign == "-" ? *a - *b : (sign == "*" ? *a * *b : *a / *b));
    return Value{value};
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

  static Result<Value> convert(const std::string& name, const Value& value) {
    if (name == "int" || name == "double" || name == "string") {
      return convert_scalar(name, value);
    }
    const auto* text = value.as<std::string>();
    if (text == nullptr) {
      return no_overload(name + "()", value);
    }
    if (name == "isQuantity") {
      return Value{Quantity::parse(*text).has_value()};
    }
    if (name == "isSemver") {
      return Value{is_semver(*text)};
    }
    if (name == "semver") {
      if (!is_semver(*text)) {
        return failure("semver(): \"" + *text + "\" is not a semantic version");
      }
      return Value{parse_semver(*text)};
    }
    const auto quantity = Quantity::parse(*text);
    if (!quantity) {
      return failure("quantity(): \"" + *text + "\" is not a quantity");
    }
    return Value{*quantity};
  }

  static Result<Value> convert_scalar(const std::string& name, const Value& value) {
    const auto* text = value.as<std::string>();
    if (name == "string") {
      if (const auto* number = value.as<std::int64_t>()) {
        return Value{std::to_string(*number)};
      }
      if (const auto* truth = value.as<bool>()) {
        return Value{std::string(*truth ? "true" : "false")};
      }
      return text != nullptr ? Result<Value>(value) : Result<Value>(no_overload("string()", value));
    }
    if (const auto number = as_number(value)) {
      if (name == "double") {
        return Value{*number};
      }
      const auto* whole = value.as<std::int64_t>();
      return Value{whole != nullptr ? *whole : static_cast<std::int64_t>(*number)};
    }
    if (text == nullptr) {
      return no_overload(name + "()", value);
    }
    std::int64_t whole = 0;
    double real = 0;
    const char* const end = text->data() + text->size();
    const auto parsed =
        name == "int" ? std::from_chars(text->data(), end, whole) : std::from_chars(text->data(), end, real);
    if (parsed.ec != std::errc() || parsed.ptr != end) {
      return failure(name + "(): \"" + *text + "\" is not a number");
    }
    return name == "int" ? Value{whole} : Value{real};
  }

  static Result<Value> size(const Value& value) {
    std::size_t size = 0;
    if (const auto* text = value.as<std::string>()) {
      size = static_cast<std::size_t>(std::ranges::count_if(
          *text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
    } else if (const auto* list = value.as<ListPtr>()) {
      size = (*list)->size();
    } else if (const auto* map = value.as<MapPtr>()) {
      size = (*map)->entries.size();
    } else {
      return no_overload("size()", value);
    }
    return Value{static_cast<std::int64_t>(size)};
  }

  static Result<Value> matches(const Value& text, const Value& pattern) {
    const auto* subject = text.as<std::string>();
    const auto* expression = pattern.as<std::string>();
    if (subject == nullptr || expression == nullptr) {
      return no_overload("matches()", subject == nullptr ? text : pattern);
    }
    const re2::RE2 compiled(*expression, re2::RE2::Quiet);
    if (!compiled.ok()) {
      return failure("matches(): bad regular expression: " + compiled.error());
    }
    return Value{re2::RE2::PartialMatch(*subject, compiled)};
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

  static Result<Value> optional_method(const std::string& name, const Value& target,
                                       const std::vector<Value>& arguments) {
    const auto* value = target.as<Optional>();
    if (name == "hasValue") {
      return Value{value != nullptr};
    }
    if (name == "orValue") {
      return value != nullptr ? *value->value : arguments[0];
    }
    if (name == "value") {
      return value != nullptr ? Result<Value>(*value->value)
                              : Result<Value>(failure("optional.none() has no value"));
    }
    return no_overload(name + "()", target);
  }

  static int lower(int c) { return std::tolower(c); }
  static int upper(int c) { return std::toupper(c); }
  static std::string mapped(const std::string& text, int (*change)(int)) {
    std::string out = text;
    std::ranges::transform(out, out.begin(), [&](char c) {
      return static_cast<unsigned char>(c) < 0x80 ? static_cast<char>(change(static_cast<unsigned char>(c)))
                                                  : c;
    });
    return out;
  }

  static Result<Value> string_method(const std::string& name, const std::string& text,
                                     const std::vector<Value>& arguments) {
    if (name == "lowerAscii" || name == "upperAscii") {
      return Value{mapped(text, name == "lowerAscii" ? &lower : &upper)};
    }
    if (name == "trim") {
      const auto first = text.find_first_not_of(" \t\r\n");
      const auto last = text.find_last_not_of(" \t\r\n");
      return Value{first == std::string::npos ? std::string() : text.substr(first, last - first + 1)};
    }
    const auto* argument = arguments.empty() ? nullptr : arguments[0].as<std::string>();
    if (argument == nullptr) {
      return no_overload(name + "()", arguments.empty() ? Value{text} : arguments[0]);
    }
    if (name == "matches") {
      return matches(Value{text}, arguments[0]);
    }
    if (name == "startsWith") {
      return Value{text.starts_with(*argument)};
    }
    if (name == "endsWith") {
      return Value{text.ends_with(*argument)};
    }
    if (name == "contains") {
      return Value{text.find(*argument) != std::string::npos};
    }
    return no_overload(name + "()", Value{text});
  }

  static Result<Value> ordered_method(const std::string& name, const Value& target,
                                      const std::vector<Value>& arguments) {
    if (target.as<Quantity>() == nullptr && target.as<Semver>() == nullptr) {
      return no_overload(name + "()", target);
    }
    if (name == "compareTo" || name == "isGreaterThan" || name == "isLessThan") {
      const auto order =
          arguments[0].data.index() == target.data.index() ? compare(target, arguments[0]) : std::nullopt;
      if (!order) {
        return no_overload(name + "()", arguments[0]);
      }
      if (name == "compareTo") {
        return Value{std::int64_t{*order}};
      }
      return Value{name == "isGreaterThan" ? *order > 0 : *order < 0};
    }
    if (const auto* version = target.as<Semver>()) {
      constexpr std::array<std::string_view, 3> kParts{"major", "minor", "patch"};
      const auto* const part = std::ranges::find(kParts, name);
      if (part == kParts.end()) {
        return no_overload(name + "()", target);
      }
      return Value{version->numbers.at(static_cast<std::size_t>(part - kParts.begin()))};
    }
    return quantity_method(name, *target.as<Quantity>(), arguments);
  }

  static Result<Value> quantity_method(const std::string& name, const Quantity& quantity,
                                       const std::vector<Value>& arguments) {
    if (name == "isInteger") {
      return Value{quantity.as_integer().has_value()};
    }
    if (name == "asInteger") {
      const auto value = quantity.as_integer();
      return value ? Result<Value>(Value{*value}) : Result<Value>(failure("cannot convert value to integer"));
    }
    if (name == "asApproximateFloat") {
      return Value{quantity.as_double()};
    }
    if (name == "sign") {
      return Value{std::int64_t{sign_of(quantity, Quantity())}};
    }
    if (name == "add" || name == "sub") {
      const auto* other = arguments[0].as<Quantity>();
      const auto* number = arguments[0].as<std::int64_t>();
      if (other == nullptr && number == nullptr) {
        return no_overload(name + "()", arguments[0]);
      }
      const Quantity operand = other != nullptr ? *other : Quantity::of(*number);
      return Value{name == "add" ? quantity + operand : quantity - operand};
    }
    return no_overload(name + "()", Value{quantity});
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
