// SPDX-License-Identifier: Apache-2.0
#include "fairlead/formats/fields_text.h"

#include <algorithm>
#include <iterator>
#include <map>

#include <nlohmann/json.hpp>

namespace fairlead::fields {
namespace {

using json = nlohmann::ordered_json;

constexpr std::size_t kWidth = 120;

std::string code(std::string_view text) { return "`" + std::string(text) + "`"; }

std::string words_of(const Field& field) {
  std::string out;
  for (const std::string_view word : field.words) {
    out += (out.empty() ? "" : ", ") + code(word);
  }
  return out;
}

std::string range_of(const Field& field) {
  return std::to_string(field.min) + " to " + std::to_string(field.max);
}

std::string value_of(const Field& field) {
  const std::string most = ", at most " + std::to_string(field.max_items);
  const std::string example = field.format.example.empty() ? "" : " such as " + code(field.format.example);
  switch (field.type) {
    case Type::kString:
      return "string" + example;
    case Type::kWord:
      return words_of(field);
    case Type::kInteger:
      return range_of(field);
    case Type::kBool:
      return "`true`, `false`";
    case Type::kStrings:
      return "list of strings" + example + most;
    case Type::kIntegers:
      return "list of numbers from " + range_of(field) + most;
    case Type::kStringMap:
      return "names and strings" + example + most;
    case Type::kObject:
      return "object";
    case Type::kObjects:
      return "list of objects" + most;
  }
  return "";
}

std::string default_of(const Field& field) {
  return field.required ? "required" : std::string(field.default_text);
}

/// Same name, values, default and sentence: one row for all kinds that have it.
bool is_same(const Field& a, const Field& b) {
  return a.name == b.name && value_of(a) == value_of(b) && default_of(a) == default_of(b) &&
         a.risk == b.risk && a.meaning == b.meaning;
}

struct Row {
  const Field* field;
  std::vector<std::string_view> kinds;  // empty: of a nested object
};

/// A paragraph of a list, with lines of at most kWidth.
std::string wrapped(const std::string& text) {
  std::string out;
  std::string line = "-";
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t end = std::min(text.find(' ', at), text.size());
    const std::string word = text.substr(at, end - at);
    if (line.size() + 1 + word.size() > kWidth) {
      out += line + "\n";
      line = " ";
    }
    line += " " + word;
    at = end + 1;
  }
  return out + line + "\n";
}

std::string kinds_of(const Row& row, std::size_t all) {
  if (row.kinds.size() == all) {
    return "all";
  }
  std::string out;
  for (const std::string_view kind : row.kinds) {
    out += (out.empty() ? "" : ", ") + std::string(kind);
  }
  return out;
}

constexpr std::string_view kNestedHead = "| field | value | default | risk |\n|---|---|---|---|\n";
constexpr std::string_view kKindHead = "| field | kinds | value | default | risk |\n|---|---|---|---|---|\n";

/// `kinds`: how many there are; 0: a nested object.
std::string table_of(std::string_view head, const std::vector<Row>& rows, std::size_t kinds) {
  std::string out(head);
  for (const Row& row : rows) {
    out += "| " + code(row.field->name) + " | " + (kinds == 0 ? "" : kinds_of(row, kinds) + " | ") +
           value_of(*row.field) + " | " + default_of(*row.field) + " | " +
           std::string(to_string(row.field->risk)) + " |\n";
  }
  out += "\n";
  for (const Row& row : rows) {
    // Two kinds may have different fields of one name.
    const auto same_name = [&](const Row& other) { return other.field->name == row.field->name; };
    const bool is_ambiguous = std::ranges::count_if(rows, same_name) > 1;
    out += wrapped(code(row.field->name) + (is_ambiguous ? " (" + kinds_of(row, kinds) + ")" : "") + ": " +
                   std::string(row.field->meaning));
  }
  return out;
}

/// The risk of each kind: "own; `a`, `b`: node", where the lowest risk is that of all other kinds.
std::string risks_of(const TypeFields& type) {
  std::map<Risk, std::string> kinds;
  for (const KindFields& kind : type.kinds) {
    std::string& words = kinds[kind.risk];
    words += (words.empty() ? "" : ", ") + code(kind.kind);
  }
  std::string out;
  for (const auto& [risk, words] : kinds) {
    out += (out.empty() ? "" : "; " + words + ": ") + std::string(to_string(risk));
  }
  return out;
}

std::vector<Row> rows_of(const TypeFields& type) {
  std::vector<Row> rows;
  for (const KindFields& kind : type.kinds) {
    for (const Field& field : kind.fields) {
      const auto same =
          std::ranges::find_if(rows, [&](const Row& row) { return is_same(*row.field, field); });
      Row& row = same == rows.end() ? rows.emplace_back(Row{.field = &field, .kinds = {}}) : *same;
      row.kinds.push_back(kind.kind);
    }
  }
  // What all kinds have comes first.
  std::ranges::stable_partition(rows, [&](const Row& row) { return row.kinds.size() == type.kinds.size(); });
  return rows;
}

/// The tables of nested objects, each after the field that contains it.
std::string nested_tables(std::span<const Row> rows, const std::string& path) {
  std::string out;
  for (const Row& row : rows) {
    if (row.field->nested().empty()) {
      continue;
    }
    const bool is_list = row.field->type == Type::kObjects;
    const std::string name = path + std::string(row.field->name) + (is_list ? "[]" : "");
    std::vector<Row> inner;
    std::ranges::transform(row.field->nested(), std::back_inserter(inner),
                           [](const Field& field) { return Row{.field = &field, .kinds = {}}; });
    out += "\nFields of " + code(name) + ":\n\n" + table_of(kNestedHead, inner, 0) +
           nested_tables(inner, name + ".");
  }
  return out;
}

json schema_of(std::span<const Field> fields);

json string_schema(const Field& field) {
  json out = {{"type", "string"}};
  if (!field.format.pattern.empty()) {
    out["pattern"] = field.format.pattern;
  }
  if (!field.format.example.empty()) {
    out["examples"] = {field.format.example};
  }
  return out;
}

json integer_schema(const Field& field) {
  return {{"type", "integer"}, {"minimum", field.min}, {"maximum", field.max}};
}

json list_schema(const Field& field, json items) {
  return {{"type", "array"}, {"maxItems", field.max_items}, {"items", std::move(items)}};
}

json value_schema(const Field& field) {
  switch (field.type) {
    case Type::kString:
      return string_schema(field);
    case Type::kWord:
      return {{"enum", std::vector<std::string>(field.words.begin(), field.words.end())}};
    case Type::kInteger:
      return integer_schema(field);
    case Type::kBool:
      return {{"type", "boolean"}};
    case Type::kStrings:
      return list_schema(field, string_schema(field));
    case Type::kIntegers:
      return list_schema(field, integer_schema(field));
    case Type::kStringMap:
      return {{"type", "object"},
              {"maxProperties", field.max_items},
              {"additionalProperties", string_schema(field)}};
    case Type::kObject:
      return schema_of(field.nested());
    case Type::kObjects:
      return list_schema(field, schema_of(field.nested()));
  }
  return {};
}

/// The properties of an object, described.
json properties_of(std::span<const Field> fields) {
  json out = json::object();
  for (const Field& field : fields) {
    json property = {{"description", field.meaning}};
    property.update(value_schema(field));
    out[std::string(field.name)] = std::move(property);
  }
  return out;
}

/// A nested object.
json schema_of(std::span<const Field> fields) {
  json required = json::array();
  for (const Field& field : fields) {
    if (field.required) {
      required.push_back(field.name);
    }
  }
  return {{"type", "object"},
          {"additionalProperties", false},
          {"required", std::move(required)},
          {"properties", properties_of(fields)}};
}

json kind_schema(const KindFields& kind) {
  json properties = {{"kind", {{"const", kind.kind}}}};
  properties.update(properties_of(kind.fields));
  return {{"type", "object"},
          {"additionalProperties", false},
          {"required", {"kind"}},
          {"properties", std::move(properties)}};
}

std::string definition_of(const TypeFields& type, const KindFields& kind) {
  return std::string(type.type) + "." + std::string(kind.kind);
}

json type_schema(const TypeFields& type) {
  json kinds = json::array();
  for (const KindFields& kind : type.kinds) {
    kinds.push_back({{"$ref", "#/$defs/" + definition_of(type, kind)}});
  }
  json properties = {{"type", {{"const", type.type}}}};
  properties[std::string(type.type)] = {{"oneOf", std::move(kinds)}};
  return {{"type", "object"},
          {"additionalProperties", false},
          {"required", {"type", type.type}},
          {"properties", std::move(properties)}};
}

}  // namespace

std::string to_markdown(std::span<const TypeFields> types) {
  std::string out;
  for (const TypeFields& type : types) {
    const std::string name(type.type);
    const std::vector<Row> rows = rows_of(type);
    std::string words;
    for (const KindFields& kind : type.kinds) {
      words += (words.empty() ? "" : ", ") + code(kind.kind);
    }
    const std::string head =
        std::string(kKindHead) + "| `kind` | all | " + words + " | required | " + risks_of(type) + " |\n";
    out += "<!-- fields of " + name + ": written by tools/update_parameters.py -->\n" +
           table_of(head, rows, type.kinds.size()) + nested_tables(rows, "") + "<!-- end of the fields of " +
           name + " -->\n";
  }
  return out;
}

std::string to_json_schema(std::span<const TypeFields> types) {
  json one_of = json::array();
  json definitions = json::object();
  for (const TypeFields& type : types) {
    one_of.push_back(type_schema(type));
    for (const KindFields& kind : type.kinds) {
      definitions[definition_of(type, kind)] = kind_schema(kind);
    }
  }
  const json schema = {{"$schema", "https://json-schema.org/draft/2020-12/schema"},
                       {"title", "Parameters of a fairlead device"},
                       {"oneOf", std::move(one_of)},
                       {"$defs", std::move(definitions)}};
  return schema.dump(2) + "\n";
}

}  // namespace fairlead::fields
