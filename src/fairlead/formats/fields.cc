// SPDX-License-Identifier: Apache-2.0
#include "fairlead/formats/fields.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <type_traits>

#include "fairlead/core/text.h"

namespace fairlead::fields {
namespace {

using strict_json::Object;

const Field* find_field(std::span<const Field> table, std::string_view name) {
  const auto found = std::ranges::find(table, name, &Field::name);
  return found == table.end() ? nullptr : &*found;
}

[[noreturn]] void misused(std::string_view name, const char* why) {
  (void)std::fprintf(stderr, "fairlead: the field %.*s %s\n", static_cast<int>(name.size()), name.data(),
                     why);
  std::abort();
}

/// Reads objects by their tables. The document keeps the first error, and what was read is dropped then.
class Reader {
 public:
  explicit Reader(bool from_class) : from_class_(from_class) {}

  void read(const Object& in, std::span<const Field> table, Values& out) const {
    for (const Field& field : table) {
      if (!in.has(field.name)) {
        continue;
      }
      Value value{.field = &field, .path = in.path_of(field.name), .from_class = from_class_};
      read_value(in, field, value);
      if (in.failed()) {
        return;
      }
      if (const auto problem = field.check == nullptr ? std::nullopt : field.check(value)) {
        return in.fail_below(field.name, problem->at, problem->why);
      }
      out.set(std::move(value));
    }
  }

 private:
  void read_value(const Object& in, const Field& field, Value& value) const {
    switch (field.type) {
      case Type::kString:
        return read_string(in, field, value);
      case Type::kWord:
        value.data = in.optional_word(field.name, {field.words.begin(), field.words.end()}).value_or("");
        return;
      case Type::kInteger:
        value.data = in.optional_integer(field.name, field.min, field.max).value_or(0);
        return;
      case Type::kBool:
        value.data = in.optional_bool(field.name).value_or(false);
        return;
      case Type::kStrings:
        return read_strings(in, field, value);
      case Type::kIntegers:
        value.data = in.optional_integers(field.name, field.min, field.max, field.max_items);
        return;
      case Type::kStringMap:
        return read_string_map(in, field, value);
      case Type::kObject:
        if (const auto object = in.optional_object(field.name)) {
          value.data = std::vector<Values>{read_object(*object, field)};
        }
        return;
      case Type::kObjects: {
        std::vector<Values> items;
        for (const Object& item : in.optional_objects(field.name, field.max_items)) {
          items.push_back(read_object(item, field));
        }
        value.data = std::move(items);
        return;
      }
    }
  }

  static std::optional<std::string> why_malformed(const Field& field, const std::string& text) {
    return field.format.check == nullptr ? std::nullopt : field.format.check(text);
  }

  static void read_string(const Object& in, const Field& field, Value& value) {
    std::string text = in.optional_string(field.name).value_or("");
    if (const auto why = in.failed() ? std::nullopt : why_malformed(field, text)) {
      in.fail(field.name, *why);
    }
    value.data = std::move(text);
  }

  static void read_strings(const Object& in, const Field& field, Value& value) {
    std::vector<std::string> items = in.optional_strings(field.name, field.max_items);
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (const auto why = why_malformed(field, items[i])) {
        in.fail_item(field.name, i, *why);
      }
    }
    value.data = std::move(items);
  }

  static void read_string_map(const Object& in, const Field& field, Value& value) {
    std::map<std::string, std::string> entries = in.optional_string_map(field.name, field.max_items);
    const auto object = in.optional_object(field.name);
    for (const auto& [name, text] : entries) {
      if (const auto why = why_malformed(field, text)) {
        object->fail(name, *why);
      }
    }
    value.data = std::move(entries);
  }

  Values read_object(const Object& in, const Field& field) const {
    Values values(field.nested(), in.path());
    for (const Field& inner : field.nested()) {
      if (inner.required) {
        in.require(inner.name);
      }
    }
    read(in, field.nested(), values);
    return values;
  }

  bool from_class_;
};

/// The first field of the object that only other kinds have.
void refuse_foreign(const Object& in, const KindFields& kind, std::span<const KindFields> others) {
  for (const std::string& key : in.keys()) {
    if (find_field(kind.fields, key) != nullptr) {
      continue;
    }
    std::string owners;
    for (const KindFields& other : others) {
      if (find_field(other.fields, key) != nullptr) {
        owners += (owners.empty() ? "" : " or ") + quoted(other.kind);
      }
    }
    if (!owners.empty()) {
      return in.fail(key, "belongs to kind " + owners + ", not to " + quoted(kind.kind));
    }
  }
}

}  // namespace

std::string_view to_string(Risk risk) {
  switch (risk) {
    case Risk::kOwn:
      return "own";
    case Risk::kShared:
      return "shared";
    case Risk::kNode:
      return "node";
  }
  return "";
}

Risk risk_of(const Field& field) {
  Risk risk = field.risk;
  for (const Field& inner : field.nested()) {
    risk = std::max(risk, risk_of(inner));
  }
  return risk;
}

namespace {

bool are_equal(const Values& a, const Values& b) {
  return a.all().size() == b.all().size() && std::ranges::all_of(a.all(), [&](const Value& value) {
           const auto other = std::ranges::find(b.all(), value.field, &Value::field);
           return other != b.all().end() && is_equal(value, *other);
         });
}

}  // namespace

bool is_equal(const Value& a, const Value& b) {
  const auto* objects = std::get_if<std::vector<Values>>(&a.data);
  const auto* others = std::get_if<std::vector<Values>>(&b.data);
  if (objects != nullptr && others != nullptr) {
    return std::ranges::equal(*objects, *others, are_equal);
  }
  return std::visit(
      [](const auto& left, const auto& right) {
        if constexpr (!std::is_same_v<decltype(left), decltype(right)>) {
          return false;
        } else if constexpr (std::is_same_v<decltype(left), const std::vector<Values>&>) {
          return false;  // compared above
        } else {
          return left == right;
        }
      },
      a.data, b.data);
}

const Value* Values::find(std::string_view name) const {
  if (find_field(table_, name) == nullptr) {
    misused(name, "is read, but is not in the table");
  }
  const auto found = std::ranges::find(values_, name, [](const Value& value) { return value.field->name; });
  return found == values_.end() ? nullptr : &*found;
}

std::span<const Value> Values::all() const { return values_; }

template <class T>
std::optional<Sourced<T>> Values::get(std::string_view name) const {
  const Value* value = find(name);
  if (value == nullptr) {
    return std::nullopt;
  }
  const T* data = std::get_if<T>(&value->data);
  if (data == nullptr) {
    misused(name, "is read as another type than its table says");
  }
  return Sourced<T>{.value = *data, .path = value->path, .from_class = value->from_class};
}

std::optional<Sourced<std::string>> Values::string(std::string_view name) const {
  return get<std::string>(name);
}

std::optional<Sourced<std::int64_t>> Values::integer(std::string_view name) const {
  return get<std::int64_t>(name);
}

std::optional<Sourced<bool>> Values::boolean(std::string_view name) const { return get<bool>(name); }

std::optional<Sourced<std::vector<std::string>>> Values::strings(std::string_view name) const {
  return get<std::vector<std::string>>(name);
}

std::optional<Sourced<std::vector<std::int64_t>>> Values::integers(std::string_view name) const {
  return get<std::vector<std::int64_t>>(name);
}

std::optional<Sourced<std::map<std::string, std::string>>> Values::string_map(std::string_view name) const {
  return get<std::map<std::string, std::string>>(name);
}

std::optional<Sourced<Values>> Values::object(std::string_view name) const {
  auto found = get<std::vector<Values>>(name);
  if (!found) {
    return std::nullopt;
  }
  return Sourced<Values>{.value = std::move(found->value.front()),
                         .path = std::move(found->path),
                         .from_class = found->from_class};
}

std::optional<Sourced<std::vector<Values>>> Values::objects(std::string_view name) const {
  return get<std::vector<Values>>(name);
}

std::string Values::path_of(std::string_view name) const {
  return path_.empty() ? std::string(name) : path_ + "." + std::string(name);
}

void Values::set(Value value) {
  const auto same =
      std::ranges::find(values_, value.field->name, [](const Value& v) { return v.field->name; });
  if (same != values_.end()) {
    *same = std::move(value);
  } else {
    values_.push_back(std::move(value));
  }
}

Result<Values> read(const KindFields& kind, std::span<const KindFields> others, const Section& section) {
  Values values(kind.fields, section.path);
  refuse_foreign(section.object, kind, others);
  Reader(section.from_class).read(section.object, kind.fields, values);
  FL_TRY(section.document.finish());
  return values;
}

Result<> check_required(const Values& values) {
  for (const Field& field : values.table()) {
    if (field.required && !values.has(field.name)) {
      return Error(Code::kInvalid, values.path_of(field.name) + ": this field is required");
    }
  }
  return {};
}

Result<Values> decode(const KindFields& kind, std::span<const KindFields> others,
                      std::span<const Section> sections) {
  Values values(kind.fields);
  for (const Section& section : sections) {
    FL_ASSIGN(const Values written, read(kind, others, section));
    for (const Value& value : written.all()) {
      values.set(value);
    }
    values.set_path(section.path);
  }
  FL_TRY(check_required(values));
  return values;
}

}  // namespace fairlead::fields
