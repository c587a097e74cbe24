// SPDX-License-Identifier: Apache-2.0
// The tables of all kinds: each field's type and limits hold, whether a class or a claim contains it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cctype>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "fairlead/devices/netdev/fields.h"
#include "fairlead/devices/registry.h"
#include "fairlead/devices/testing/node.h"
#include "fairlead/formats/fields_text.h"

namespace fairlead::devices {
namespace {

using fields::Field;
using fields::Type;
using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

/// A value of each JSON type.
const std::vector<json> kAnything = {nullptr, true, 7, 1.5, "//", json::array(), json::object()};

bool is_of_type(const Field& field, const json& value) {
  switch (field.type) {
    case Type::kString:
    case Type::kWord:
      return value.is_string();
    case Type::kInteger:
      return value.is_number_integer();
    case Type::kBool:
      return value.is_boolean();
    case Type::kStrings:
    case Type::kIntegers:
    case Type::kObjects:
      return value.is_array();
    case Type::kStringMap:
    case Type::kObject:
      return value.is_object();
  }
  return false;
}

json object_of(std::span<const Field> table, bool only_required);

/// What the field takes: its limits, all words.
std::vector<json> right_values(const Field& field) {
  const std::string text(field.format.example.empty() ? "any" : field.format.example);
  switch (field.type) {
    case Type::kString:
      return {text};
    case Type::kWord:
      return {field.words.begin(), field.words.end()};
    case Type::kInteger:
      return {field.min, field.max};
    case Type::kBool:
      return {true, false};
    case Type::kStrings:
      return {json::array({text}), json::array()};
    case Type::kIntegers:
      return {json(std::vector<std::int64_t>(field.max_items, field.max)), json::array({field.min})};
    case Type::kStringMap:
      return {json{{"a", text}}, json::object()};
    case Type::kObject:
      return {object_of(field.nested(), false), object_of(field.nested(), true)};
    case Type::kObjects:
      return {json::array({object_of(field.nested(), false)}),
              json(std::vector<json>(1, object_of(field.nested(), true))), json::array()};
  }
  return {};
}

json object_of(std::span<const Field> table, bool only_required) {
  json object = json::object();
  for (const Field& field : table) {
    if (field.required || !only_required) {
      object[std::string(field.name)] = right_values(field).front();
    }
  }
  return object;
}

struct Wrong {
  json value;
  std::string below;  // what the path of the error has behind the field's
};

/// What the field refuses by its type, limits, words and format; of nested fields, too.
std::vector<Wrong> wrong_values(const Field& field) {
  std::vector<Wrong> wrong;
  for (const json& value : kAnything) {
    if (!is_of_type(field, value)) {
      wrong.push_back({value, ""});
    }
  }
  const bool has_items =
      field.type == Type::kStrings || field.type == Type::kIntegers || field.type == Type::kObjects;
  if (has_items) {
    const json item = right_values(field).front().front();
    wrong.push_back({json(std::vector<json>(field.max_items + 1, item)), ""});
    wrong.push_back({json::array({item, nullptr}), "[1]"});
  }
  switch (field.type) {
    case Type::kString:
      if (field.format.check != nullptr) {
        wrong.push_back({"//", ""});
      }
      break;
    case Type::kWord:
      wrong.push_back({"no-such-word", ""});
      wrong.push_back({"", ""});
      break;
    case Type::kInteger:
      wrong.push_back({field.min - 1, ""});
      wrong.push_back({field.max + 1, ""});
      break;
    case Type::kStrings:
      wrong.push_back({json::array({"//"}), "[0]"});
      break;
    case Type::kIntegers:
      wrong.push_back({json::array({field.min - 1}), "[0]"});
      wrong.push_back({json::array({field.max + 1}), "[0]"});
      break;
    case Type::kObject:
    case Type::kObjects:
      for (const Field& inner : field.nested()) {
        const std::string item = field.type == Type::kObjects ? "[0]." : ".";
        const std::string name(inner.name);
        const auto nest = [&](json object) {
          return field.type == Type::kObjects ? json::array({std::move(object)}) : object;
        };
        for (const Wrong& one : wrong_values(inner)) {
          json object = object_of(field.nested(), true);
          object[name] = one.value;
          wrong.push_back({nest(std::move(object)), item + name + one.below});
        }
        if (inner.required) {
          json object = object_of(field.nested(), true);
          object.erase(name);
          wrong.push_back({nest(std::move(object)), item + name});
        }
      }
      break;
    case Type::kBool:
    case Type::kStringMap:
      break;
  }
  return wrong;
}

/// Every field of every kind.
class FieldsOfAllKinds : public ::testing::Test {
 protected:
  template <class F>
  void for_each_field(F&& visit) const {
    int count = 0;
    for (const fields::TypeFields& type : all_) {
      for (const fields::KindFields& kind : type.kinds) {
        for (const Field& field : kind.fields) {
          SCOPED_TRACE(std::string(kind.kind) + ", " + std::string(field.name));
          visit(type, kind, field);
          ++count;
        }
      }
    }
    EXPECT_GT(count, 20) << "there are more fields than that";
  }

  /// Parameters with these fields and all that are required.
  static std::string parameters(std::string_view type, const fields::KindFields& kind, const json& object) {
    json all = object_of(kind.fields, true);
    all.update(object);
    all["kind"] = kind.kind;
    return json{{"type", type}, {std::string(type), all}}.dump();
  }

  const Registry registry_ = all_kinds();
  const std::vector<fields::TypeFields> all_ = registry_.fields();
};

TEST_F(FieldsOfAllKinds, RightValues_AreReadWithPathAndOrigin) {
  for_each_field([&](const auto& type, const auto& kind, const Field& field) {
    const std::string name(field.name);
    for (const json& value : right_values(field)) {
      const std::string with = parameters(type.type, kind, {{name, value}});
      const std::string without = parameters(type.type, kind, json::object());
      for (const bool from_class : {true, false}) {
        const std::vector<dra::DeviceConfig> configs = {
            {.from_class = true, .parameters = from_class ? with : without, .path = "a"},
            {.parameters = from_class && !field.required ? without : with, .path = "b"}};
        const auto decoded = registry_.decode(configs);
        ASSERT_TRUE(decoded) << value << ": " << decoded.error().what();
        const fields::Value* read = (*decoded)->values.find(field.name);
        ASSERT_NE(read, nullptr) << value;
        const bool is_of_class = from_class && !field.required;  // required here means: in every config
        EXPECT_EQ(read->from_class, is_of_class);
        EXPECT_EQ(read->path, (is_of_class ? "a." : "b.") + std::string(type.type) + "." + name);
        EXPECT_EQ(read->field, &field);
      }
    }
  });
}

TEST_F(FieldsOfAllKinds, WrongValues_AreRefusedWithTheirPath) {
  for_each_field([&](const auto& type, const auto& kind, const Field& field) {
    const std::string name(field.name);
    const std::vector<Wrong> wrong = wrong_values(field);
    EXPECT_GE(wrong.size(), 5U);
    for (const Wrong& one : wrong) {
      const std::string with = parameters(type.type, kind, {{name, one.value}});
      const std::string without = parameters(type.type, kind, json::object());
      for (const bool from_class : {true, false}) {
        const auto decoded =
            registry_.decode({{.from_class = true, .parameters = from_class ? with : without, .path = "a"},
                              {.parameters = from_class ? without : with, .path = "b"}});
        ASSERT_FALSE(decoded) << one.value;
        EXPECT_EQ(decoded.error().code(), Code::kInvalid);
        EXPECT_THAT(decoded.error().what(), StartsWith((from_class ? "a." : "b.") + std::string(type.type) +
                                                       "." + name + one.below + ": "))
            << one.value;
      }
    }
  });
}

TEST_F(FieldsOfAllKinds, FieldOfAnotherKind_IsRefusedByName) {
  int count = 0;
  for_each_field([&](const auto& type, const auto& owner, const Field& field) {
    for (const fields::KindFields& kind : type.kinds) {
      if (std::ranges::find(kind.fields, field.name, &Field::name) != kind.fields.end()) {
        continue;
      }
      const auto decoded = registry_.decode(
          {{.parameters = parameters(type.type, kind, {{std::string(field.name), right_values(field)[0]}}),
            .path = "a"}});
      ASSERT_FALSE(decoded);
      EXPECT_THAT(decoded.error().what(), HasSubstr(std::string(field.name) + ": belongs to kind "));
      EXPECT_THAT(decoded.error().what(), HasSubstr('"' + std::string(owner.kind) + '"'));
      ++count;
    }
  });
  EXPECT_GE(count, 15);
}

TEST_F(FieldsOfAllKinds, EveryNetdevKind_HasTheCommonFields) {
  for (const fields::TypeFields& type : all_) {
    for (const fields::KindFields& kind : type.kinds) {
      for (const Field& field : netdev::kCommonFields) {
        EXPECT_TRUE(type.type != "netdev" ||
                    std::ranges::find(kind.fields, field.name, &Field::name) != kind.fields.end())
            << kind.kind << " " << field.name;
      }
    }
  }
}

void expect_is_complete(std::span<const Field> table) {
  std::set<std::string_view> names;
  for (const Field& field : table) {
    SCOPED_TRACE(field.name);
    EXPECT_TRUE(names.insert(field.name).second) << "twice";
    EXPECT_NE(field.name, "kind") << "the registry reads that";
    ASSERT_FALSE(field.name.empty());
    EXPECT_TRUE(std::islower(static_cast<unsigned char>(field.name.front())));
    EXPECT_TRUE(std::ranges::all_of(field.name, [](unsigned char c) { return std::isalnum(c) != 0; }));
    EXPECT_THAT(std::string(field.meaning), ::testing::EndsWith("."));
    EXPECT_TRUE(field.required || !field.default_text.empty());
    EXPECT_TRUE(field.type != Type::kWord || field.words.size() > 1);
    EXPECT_TRUE((field.type != Type::kInteger && field.type != Type::kIntegers) || field.min < field.max);
    EXPECT_EQ(field.max_items > 0, field.type == Type::kStrings || field.type == Type::kIntegers ||
                                       field.type == Type::kObjects || field.type == Type::kStringMap);
    EXPECT_EQ(field.nested().empty(), field.type != Type::kObject && field.type != Type::kObjects);
    if (field.format.check != nullptr) {
      EXPECT_FALSE(field.format.pattern.empty());
      EXPECT_EQ(field.format.check(field.format.example), std::nullopt);
    }
    expect_is_complete(field.nested());
  }
}

TEST_F(FieldsOfAllKinds, Tables_AreComplete) {
  for (const fields::TypeFields& type : all_) {
    for (const fields::KindFields& kind : type.kinds) {
      SCOPED_TRACE(kind.kind);
      expect_is_complete(kind.fields);
    }
  }
}

/// The risk of each field as the policy needs it (docs/adr/0015), "kind" for the choice of the kind: of all kinds of
/// the type, or of one.
const std::map<std::string, fields::Risk, std::less<>> kRisks = {
    {"netdev.dummy.kind", fields::Risk::kOwn},
    {"netdev.host-device.kind", fields::Risk::kOwn},
    {"netdev.ipvlan.kind", fields::Risk::kOwn},
    {"netdev.macvlan.kind", fields::Risk::kOwn},
    {"netdev.veth.kind", fields::Risk::kNode},
    {"netdev.vlan.kind", fields::Risk::kOwn},
    {"netdev.interfaceName", fields::Risk::kOwn},
    {"netdev.mtu", fields::Risk::kOwn},
    {"netdev.mac", fields::Risk::kShared},
    {"netdev.addresses", fields::Risk::kShared},
    {"netdev.routes", fields::Risk::kOwn},
    {"netdev.routes.dst", fields::Risk::kOwn},
    {"netdev.routes.gw", fields::Risk::kOwn},
    {"netdev.routes.metric", fields::Risk::kOwn},
    {"netdev.routes.table", fields::Risk::kOwn},
    {"netdev.routes.onlink", fields::Risk::kOwn},
    {"netdev.routes.scope", fields::Risk::kOwn},
    {"netdev.routes.src", fields::Risk::kOwn},
    {"netdev.master", fields::Risk::kNode},
    {"netdev.host-device.device", fields::Risk::kOwn},
    {"netdev.host-device.pciBusID", fields::Risk::kOwn},
    {"netdev.ipvlan.mode", fields::Risk::kNode},
    {"netdev.ipvlan.flag", fields::Risk::kNode},
    {"netdev.macvlan.mode", fields::Risk::kShared},
    {"netdev.veth.bridge", fields::Risk::kNode},
    {"netdev.vlan.vlanId", fields::Risk::kNode},
    {"netdev.vlan.vlanProto", fields::Risk::kNode},
    {"netdev.vlan.ingressQosMap", fields::Risk::kOwn},
    {"netdev.vlan.egressQosMap", fields::Risk::kShared},
    {"rdma.uverbs.kind", fields::Risk::kOwn},
    {"rdma.uverbs.device", fields::Risk::kOwn},
    {"rdma.uverbs.umad", fields::Risk::kNode},
    {"rdma.uverbs.issm", fields::Risk::kNode},
};

/// Compares with kRisks, and notes which of its lines were needed.
class RiskCheck {
 public:
  void expect(std::string_view type, std::string_view kind, const std::string& field, fields::Risk risk) {
    SCOPED_TRACE(std::string(kind) + " " + field);
    auto line = kRisks.find(std::string(type) + "." + std::string(kind) + "." + field);
    line = line != kRisks.end() ? line : kRisks.find(std::string(type) + "." + field);
    ASSERT_NE(line, kRisks.end())
        << "who is affected by this field? Add it to the list, and to docs/adr/0015";
    EXPECT_EQ(to_string(risk), to_string(line->second));
    used_.insert(line->first);
  }

  void expect_all(std::string_view type, const fields::KindFields& kind, std::span<const Field> table,
                  const std::string& path) {
    for (const Field& field : table) {
      const std::string name = path + std::string(field.name);
      expect(type, kind.kind, name, field.risk);
      expect_all(type, kind, field.nested(), name + ".");
    }
  }

  [[nodiscard]] std::size_t used() const { return used_.size(); }

 private:
  std::set<std::string> used_;
};

TEST_F(FieldsOfAllKinds, Risks_AreThoseOfTheList) {
  RiskCheck check;
  for (const fields::TypeFields& type : all_) {
    for (const fields::KindFields& kind : type.kinds) {
      check.expect(type.type, kind.kind, "kind", kind.risk);
      check.expect_all(type.type, kind, kind.fields, "");
    }
  }
  EXPECT_EQ(check.used(), kRisks.size()) << "the list has fields that no kind has";
}

/// The fields whose values the bounds of the policy file are about (docs/adr/0015).
const std::map<std::string, fields::Bound, std::less<>> kBounds = {
    {"netdev.master", fields::Bound::kParent},
    {"netdev.bridge", fields::Bound::kParent},
    {"netdev.addresses", fields::Bound::kAddress},
    {"netdev.vlanId", fields::Bound::kVlan},
};

TEST_F(FieldsOfAllKinds, Bounds_AreThoseOfTheList) {
  std::set<std::string> bounded;
  for_each_field([&](const auto& type, const auto& /*kind*/, const Field& field) {
    const std::string name = std::string(type.type) + "." + std::string(field.name);
    const auto line = kBounds.find(name);
    EXPECT_EQ(field.bound, line == kBounds.end() ? fields::Bound::kNone : line->second) << name;
    if (field.bound != fields::Bound::kNone) {
      bounded.insert(name);
      EXPECT_TRUE(field.type == Type::kString || field.type == Type::kStrings || field.type == Type::kWord ||
                  field.type == Type::kInteger)
          << "policy/bounds.cc compares strings and numbers";
    }
    for (const Field& inner : field.nested()) {
      EXPECT_EQ(inner.bound, fields::Bound::kNone) << "policy/bounds.cc does not look into nested objects";
    }
  });
  EXPECT_EQ(bounded.size(), kBounds.size());
}

void expect_schema(const json& schema, const Field& field) {
  switch (field.type) {
    case Type::kString:
      EXPECT_EQ(schema["type"], "string");
      EXPECT_EQ(schema.value("pattern", ""), field.format.pattern);
      break;
    case Type::kWord:
      EXPECT_EQ(schema["enum"].size(), field.words.size());
      break;
    case Type::kInteger:
      EXPECT_EQ(schema["minimum"], field.min);
      EXPECT_EQ(schema["maximum"], field.max);
      break;
    case Type::kBool:
      EXPECT_EQ(schema["type"], "boolean");
      break;
    case Type::kStrings:
    case Type::kIntegers:
    case Type::kObjects:
      EXPECT_EQ(schema["maxItems"], field.max_items);
      for (const Field& inner : field.nested()) {
        SCOPED_TRACE(inner.name);
        expect_schema(schema["items"]["properties"][std::string(inner.name)], inner);
      }
      break;
    case Type::kStringMap:
      EXPECT_EQ(schema["maxProperties"], field.max_items);
      break;
    case Type::kObject:
      for (const Field& inner : field.nested()) {
        expect_schema(schema["properties"][std::string(inner.name)], inner);
      }
      break;
  }
}

TEST_F(FieldsOfAllKinds, Schema_HasTheLimitsOfEachField) {
  const json schema = json::parse(fields::to_json_schema(all_));
  for_each_field([&](const auto& type, const auto& kind, const Field& field) {
    const std::string name = std::string(type.type) + "." + std::string(kind.kind);
    const json& properties = schema.at("$defs").at(name).at("properties");
    EXPECT_EQ(properties.size(), kind.fields.size() + 1);
    expect_schema(properties.at(std::string(field.name)), field);
  });
}

}  // namespace
}  // namespace fairlead::devices
