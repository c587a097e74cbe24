// SPDX-License-Identifier: Apache-2.0
// The values of the expression language: their types, equality and order. Immutable. Inside drydock_cluster only.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "drydock/cluster/quantity.h"
#include "fairlead/core/result.h"

namespace drydock::cel {

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

/// kInvalid, as all errors of an evaluation.
fairlead::Error failure(std::string what);
std::string_view type_name(const Value& value);
fairlead::Error no_overload(std::string_view what, const Value& value);

/// Of a text that is a semantic version (is_semver).
Semver parse_semver(std::string_view text);
std::optional<double> as_number(const Value& value);
/// Negative, 0, positive; nullopt if the two have no order.
std::optional<int> compare(const Value& a, const Value& b);
bool equal(const Value& a, const Value& b);
/// An optional with this value.
Value some(Value value);

template <class T>
int sign_of(const T& a, const T& b) {
  return a < b ? -1 : (b < a ? 1 : 0);
}

}  // namespace drydock::cel
