// SPDX-License-Identifier: Apache-2.0
// Fields of opaque parameters as data. A kind of device describes its parameters in a constant table; the
// decoder, the reference in docs/parameters.md and the JSON schema are all made from that table.
//
//   constexpr std::array kOwn = {fields::Field{.name = "mtu", .type = fields::Type::kInteger, ...}};
//   constexpr auto kFields = fields::concat(kAddressing, kOwn);          // groups that several kinds share
//
//   FL_ASSIGN(const fields::Values values, fields::decode({"macvlan", kFields}, others, sections));
//   if (const auto mtu = values.integer("mtu")) { ... mtu->value, mtu->path, mtu->from_class ... }
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "fairlead/core/result.h"
#include "fairlead/formats/strict_json.h"

namespace fairlead::fields {

enum class Type : std::uint8_t {
  kString,     // Format
  kWord,       // one of `words`
  kInteger,    // `min` to `max`
  kBool,       //
  kStrings,    // a list; Format of each item, `max_items`
  kIntegers,   // a list; `min` to `max` of each item, `max_items`
  kStringMap,  // an object with any names and strings as values; Format of each value, `max_items`
  kObject,     // `fields`
  kObjects,    // a list; `fields` of each item, `max_items`
};

/// Who is affected by a field's value, in ascending order.
enum class Risk : std::uint8_t {
  kOwn,     // only the pod's own interface
  kShared,  // others on the same parent or network
  kNode,    // the node, or the network behind it
};
/// "own", "shared", "node".
std::string_view to_string(Risk risk);

/// Which list of the policy's bounds a field's values must be in; of a list of values, each.
enum class Bound : std::uint8_t {
  kNone,
  kParent,        // a link of the node by name
  kAddress,       // an address with or without a prefix length
  kVlan,          // a VLAN id
  kDriver,        // a kernel driver
  kNadNamespace,  // the namespace of a NetworkAttachmentDefinition
  kCniPlugin,     // the type of a CNI plugin
};

struct Field;
class Values;
struct Value;

/// How a string must look. Default-constructed: any string.
struct Format {
  /// Why the string is invalid, as the end of a sentence that begins with the field's path; nullopt if it is
  /// valid.
  std::optional<std::string> (*check)(std::string_view text) = nullptr;
  /// For the JSON schema: a regular expression (ECMA-262) that matches all that `check` accepts, and may
  /// match more.
  std::string_view pattern = {};
  std::string_view example = {};  // accepted by both
};

/// An error in a value that is well-formed by type, limits and format.
struct Problem {
  std::string at;   // below the field: "[1]", "[0].gw"; empty: the field itself
  std::string why;  // the end of a sentence that begins with the path
};

/// The table of a nested object: an array with static storage duration.
struct Table {
  const Field* first = nullptr;
  std::size_t size = 0;
};

struct Field {
  std::string_view name;  // as in JSON, lowerCamel
  Type type = Type::kString;
  Risk risk = Risk::kNode;
  Bound bound = Bound::kNone;
  /// The value describes parts of the device (devices::Kind::parts): risk and bound are those of the parts' fields.
  bool is_part = false;
  /// In a nested object: of each object. Else: of all sections of a device together.
  bool required = false;
  std::int64_t min = 0;
  std::int64_t max = 0;
  std::span<const std::string_view> words = {};
  std::size_t max_items = 0;
  Format format = {};
  Table table = {};
  /// Rules that concern several items or nested fields at once. Called after everything else has been
  /// accepted.
  std::optional<Problem> (*check)(const Value& value) = nullptr;
  std::string_view default_text = {};  // for the documentation: "`bridge`", "the parent's"
  std::string_view meaning = {};       // one sentence for the documentation

  [[nodiscard]] std::span<const Field> nested() const;
};

/// The highest risk of the field and of all that is nested in it.
Risk risk_of(const Field& field);

inline std::span<const Field> Field::nested() const { return {table.first, table.size}; }

template <std::size_t N>
constexpr Table table_of(const std::array<Field, N>& fields) {
  return {.first = fields.data(), .size = N};
}

/// One table made of several groups.
template <std::size_t... N>
constexpr auto concat(const std::array<Field, N>&... groups) {
  std::array<Field, (N + ...)> all = {};
  std::size_t next = 0;
  const auto append = [&](const auto& group) {
    for (const Field& field : group) {
      all[next++] = field;
    }
  };
  (append(groups), ...);
  return all;
}

/// A value, the full path that it was read at, and whether a DeviceClass or the claim contains it.
template <class T>
struct Sourced {
  T value = {};
  std::string path;
  bool from_class = false;
};

/// The value of one field, as decoded.
struct Value {
  const Field* field = nullptr;
  std::variant<std::string, std::int64_t, bool, std::vector<std::string>, std::vector<std::int64_t>,
               std::map<std::string, std::string>, std::vector<Values>>
      data;
  std::string path;
  bool from_class = false;
};

/// Whether both have the same data, wherever they were read; of objects, the same fields with the same data.
bool is_equal(const Value& a, const Value& b);

/// The values of an object, each of the type in its field. Asking for a field that is not in the table, or
/// with a function that does not fit its type, is a programming error: it aborts.
class Values {
 public:
  explicit Values(std::span<const Field> table, std::string path = "")
      : table_(table), path_(std::move(path)) {}

  [[nodiscard]] bool has(std::string_view name) const { return find(name) != nullptr; }
  /// nullptr: not present.
  [[nodiscard]] const Value* find(std::string_view name) const;
  /// All fields that are present.
  [[nodiscard]] std::span<const Value> all() const;

  // nullopt: not present.
  [[nodiscard]] std::optional<Sourced<std::string>> string(std::string_view name) const;  // words, too
  [[nodiscard]] std::optional<Sourced<std::int64_t>> integer(std::string_view name) const;
  [[nodiscard]] std::optional<Sourced<bool>> boolean(std::string_view name) const;
  [[nodiscard]] std::optional<Sourced<std::vector<std::string>>> strings(std::string_view name) const;
  [[nodiscard]] std::optional<Sourced<std::vector<std::int64_t>>> integers(std::string_view name) const;
  [[nodiscard]] std::optional<Sourced<std::map<std::string, std::string>>> string_map(
      std::string_view name) const;
  [[nodiscard]] std::optional<Sourced<Values>> object(std::string_view name) const;
  [[nodiscard]] std::optional<Sourced<std::vector<Values>>> objects(std::string_view name) const;

  /// The path of the object; of several sections the last one's: "config[1] of the claim:
  /// opaque.parameters.netdev". Empty if there was no section.
  [[nodiscard]] const std::string& path() const { return path_; }
  /// The path of a field, also if it is not present.
  [[nodiscard]] std::string path_of(std::string_view name) const;

  /// Adds a value, or replaces the one of the same field.
  void set(Value value);
  [[nodiscard]] std::span<const Field> table() const { return table_; }
  void set_path(std::string path) { path_ = std::move(path); }

 private:
  template <class T>
  [[nodiscard]] std::optional<Sourced<T>> get(std::string_view name) const;

  std::span<const Field> table_;
  std::vector<Value> values_;
  std::string path_;
};

/// A kind of device and its table.
struct KindFields {
  std::string_view kind;
  std::span<const Field> fields;
  /// Who is affected by the choice of this kind, with no other field than the required ones.
  Risk risk = Risk::kNode;
};

/// One opaque config of a device: the object described by the table. It may contain fields that were read
/// already ("kind").
struct Section {
  strict_json::Document document;
  strict_json::Object object;
  std::string path;  // of the object
  bool from_class = false;
};

/// What one section says, without a check for required fields. Errors as of decode().
Result<Values> read(const KindFields& kind, std::span<const KindFields> others, const Section& section);
/// kInvalid: a required field of the table is missing.
Result<> check_required(const Values& values);

/// Reads the sections of one device, weakest first; a later one overrides field by field (a list as a whole).
/// `others` are the other kinds of the same type: their fields are refused with the name of the kind.
/// kInvalid names the first invalid field of the first invalid section; a missing field is reported for the
/// last section.
Result<Values> decode(const KindFields& kind, std::span<const KindFields> others,
                      std::span<const Section> sections);

}  // namespace fairlead::fields
