// SPDX-License-Identifier: Apache-2.0
// The walk: every field of every kind at every level, written by the class, by the claim and by both, through each way
// by which an allocation can say whose an entry is. What is expected is the table of docs/adr/0015, written down here
// once more.
#include <gmock/gmock.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "fairlead/policy/testing/asked_claim.h"

namespace fairlead::policy {
namespace {

using fields::Field;
using fields::Risk;
using nlohmann::json;

enum class Way : std::uint8_t {
  kOwnClass,             // the class's entries name the request
  kClearedRequests,      // they name none, and all requests are of that class
  kSubRequest,           // the request has alternatives, the entries name all of it
  kForeignClass,         // the device came by a class that has entries for another driver only
  kNoEntries,            // ... by one that has none at all
  kClearedOfTwoClasses,  // they name none, and the claim has requests of two classes
  kClearedOfTwoDrivers,  // the same, and the other request's device is another driver's
};
constexpr std::array kWays = {Way::kOwnClass,           Way::kClearedRequests, Way::kSubRequest,
                              Way::kForeignClass,       Way::kNoEntries,       Way::kClearedOfTwoClasses,
                              Way::kClearedOfTwoDrivers};

enum class Writer : std::uint8_t { kClass, kClaim, kBothTheSame, kBothDifferent };
constexpr std::array kWriters = {Writer::kClass, Writer::kClaim, Writer::kBothTheSame,
                                 Writer::kBothDifferent};

/// FieldPolicies of the class.
enum class Opening : std::uint8_t {
  kNone,
  kField,           // opens the field for the claim's namespace
  kOtherNamespace,  // opens it for another one
  kOneOfTwo,        // of two FieldPolicies one does not list it
  kBoth,            // two, and both list it
};
constexpr std::array kOpenings = {Opening::kNone, Opening::kField, Opening::kOtherNamespace,
                                  Opening::kOneOfTwo, Opening::kBoth};

/// Two values that a field takes, of fields whose table row does not say them.
const std::map<std::string, std::pair<json, json>, std::less<>> kValues = {
    {"netdev.interfaceName", {"data0", "data1"}},
    {"netdev.mac", {"02:00:00:00:00:01", "02:00:00:00:00:02"}},
    {"netdev.addresses", {json::array({"192.0.2.10/24"}), json::array({"192.0.2.10/24", "192.0.2.11/24"})}},
    {"netdev.routes", {{{{"dst", "10.0.0.0/8"}}}, {{{"dst", "10.0.0.0/8"}, {"metric", 5}}}}},
    {"netdev.master", {"eth0", "eth1"}},
    {"netdev.bridge", {"br0", "br1"}},
    {"netdev.device", {"eth0", "eth1"}},
    {"rdma.device", {"mlx5_0", "mlx5_1"}},
    {"netdev.pciBusID", {"0000:03:00.1", "0000:03:00.2"}},
    {"netdev.ingressQosMap", {json::array({"5:1"}), json::array({"5:2"})}},
    {"netdev.egressQosMap", {json::array({"1:5"}), json::array()}},
};

std::pair<json, json> values_of(std::string_view type, const Field& field) {
  const auto found = kValues.find(std::string(type) + "." + std::string(field.name));
  if (found != kValues.end()) {
    return found->second;
  }
  switch (field.type) {
    case fields::Type::kWord:
      return {std::string(field.words[0]), std::string(field.words[1])};
    case fields::Type::kInteger:
      return {field.min, field.max};
    case fields::Type::kBool:
      return {true, false};
    default:
      ADD_FAILURE() << "kValues needs two values for " << type << "." << field.name;
      return {};
  }
}

json parameters(std::string_view type, std::string_view kind, const json& members) {
  json object = members;
  object["kind"] = std::string(kind);
  return {{"type", std::string(type)}, {std::string(type), object}};
}

/// The table of the ADR.
bool level_allows(Level level, const std::string& name, Risk risk) {
  switch (level) {
    case Level::kPrivileged:
      return true;
    case Level::kBaseline:
      return risk == Risk::kOwn;
    case Level::kRestricted:
      return name == "interfaceName";
  }
  return false;
}

struct Step {
  std::string_view type;
  const fields::KindFields* kind;
  const Field* field;
  Level level;
  Way way;
  Writer writer;
  Opening opening;
};

class Walk : public ::testing::Test {
 protected:
  /// The field, and what the kind requires beside it.
  json members(const Step& step, const json& value) const {
    json out = {{std::string(step.field->name), value}};
    for (const Field& field : step.kind->fields) {
      if (field.required && field.name != step.field->name) {
        out[std::string(field.name)] = values_of(step.type, field).first;
      }
    }
    return out;
  }

  static bool has_class_values(Way way) { return way != Way::kForeignClass && way != Way::kNoEntries; }

  testing::AskedClaim claim(const Step& step) const {
    testing::AskedClaim claim = request(step.way);
    const auto [value, other] = values_of(step.type, *step.field);
    const std::string kind(step.kind->kind);
    json of_class = members(step, value);
    if (step.writer == Writer::kClaim) {
      of_class.erase(std::string(step.field->name));
    }
    add_of_class(step, claim, parameters(step.type, kind, of_class).dump());
    add_openings(step, claim);
    if (step.writer != Writer::kClass) {
      const json& written = step.writer == Writer::kBothDifferent ? other : value;
      const json of_claim = has_class_values(step.way) ? json{{std::string(step.field->name), written}}
                                                       : members(step, written);
      claim.of_claim(parameters(step.type, kind, of_claim).dump());
    }
    return claim;
  }

  static testing::AskedClaim request(Way way) {
    testing::AskedClaim claim;
    if (way == Way::kSubRequest) {
      claim = testing::AskedClaim("main/vf");
    }
    if (way == Way::kClearedRequests) {
      claim.add_request("second", "net", testing::kDriver);
    }
    if (way == Way::kClearedOfTwoClasses || way == Way::kClearedOfTwoDrivers) {
      claim.add_request("second", "other",
                        way == Way::kClearedOfTwoClasses ? testing::kDriver : testing::kOtherDriver);
    }
    return claim;
  }

  static void add_of_class(const Step& step, testing::AskedClaim& claim, const std::string& text) {
    switch (step.way) {
      case Way::kOwnClass:
        return claim.of_class(text, {"nic"});
      case Way::kSubRequest:
        return claim.of_class(text, {"main"});
      case Way::kForeignClass:
        return claim.of_class(text, {"nic"}, testing::kOtherDriver);
      case Way::kNoEntries:
        return;
      case Way::kClearedRequests:
      case Way::kClearedOfTwoClasses:
      case Way::kClearedOfTwoDrivers:
        return claim.of_class(text, {});
    }
  }

  static void add_openings(const Step& step, testing::AskedClaim& claim) {
    const std::string type(step.type);
    const std::string field = '"' + type + "." + std::string(step.field->name) + '"';
    const std::string kind = '"' + type + R"(.kind")";
    const auto add = [&](const std::string& fields, const std::string& namespaces) {
      add_of_class(step, claim, testing::field_policy(fields, namespaces));
    };
    switch (step.opening) {
      case Opening::kNone:
        return;
      case Opening::kField:
        return add(field, R"("other","lab")");
      case Opening::kOtherNamespace:
        return add(field, R"("other","lab-2")");
      case Opening::kOneOfTwo:
        add(field, R"("*")");
        return add(kind, R"("*")");
      case Opening::kBoth:
        add(field, R"("*")");
        return add(kind + "," + field, R"("lab")");
    }
  }

  /// The fields that are refused, by the ADR.
  static std::set<std::string> expected(const Step& step) {
    const std::string type = std::string(step.type) + ".";
    const std::string name(step.field->name);
    if (step.level == Level::kPrivileged) {
      return {};
    }
    if (step.way == Way::kClearedOfTwoClasses || step.way == Way::kClearedOfTwoDrivers) {
      return {""};  // no field: the claim as a whole
    }
    std::set<std::string> refused;
    const bool is_open =
        has_class_values(step.way) && (step.opening == Opening::kField || step.opening == Opening::kBoth);
    const auto check = [&](const Field& field, bool open) {
      if (!level_allows(step.level, std::string(field.name), fields::risk_of(field)) && !open) {
        refused.insert(type + std::string(field.name));
      }
    };
    if (step.writer == Writer::kClass) {
      return {};
    }
    if (has_class_values(step.way)) {
      if (step.writer == Writer::kClaim) {
        check(*step.field, is_open);
      } else if (step.writer == Writer::kBothDifferent) {
        refused.insert(type + name);  // fixed, and nothing opens it
      }
      return refused;
    }
    // The claim says all by itself.
    if (step.level == Level::kRestricted || step.kind->risk != Risk::kOwn) {
      refused.insert(type + "kind");
    }
    for (const Field& field : step.kind->fields) {
      if (field.required || field.name == name) {
        check(field, false);
      }
    }
    return refused;
  }

  static std::string describe(const Step& step) {
    return std::string(step.type) + " " + std::string(step.kind->kind) + " " + std::string(step.field->name) +
           " at " + std::string(to_string(step.level)) + ", way " +
           std::to_string(static_cast<int>(step.way)) + ", writer " +
           std::to_string(static_cast<int>(step.writer)) + ", opening " +
           std::to_string(static_cast<int>(step.opening));
  }

  void take(const Step& step) {
    SCOPED_TRACE(describe(step));
    const auto decision = claim(step).ask({.flag = step.level}, kinds_);
    ASSERT_TRUE(decision) << decision.error().what();
    std::set<std::string> refused;
    for (const Refusal& refusal : decision->refusals) {
      refused.insert(refusal.field);
      const std::string sentence = refusal.sentence();
      EXPECT_THAT(sentence, ::testing::HasSubstr("at level " + std::string(to_string(step.level))));
      EXPECT_TRUE(refusal.field.empty() ||
                  sentence.find("." + refusal.field.substr(refusal.field.find('.') + 1) + ": ") !=
                      std::string::npos)
          << sentence;
      EXPECT_FALSE(refusal.what_would_allow.empty());
    }
    const std::set<std::string> wanted = expected(step);
    EXPECT_EQ(refused, wanted);
    if (wanted.empty()) {
      expect_value(step, decision->resolved);
      ++allowed_;
    } else {
      ++refused_;
    }
  }

  /// The value is there: the claim's where it counts, the class's where that is fixed.
  void expect_value(const Step& step, const devices::Resolved& resolved) const {
    if (resolved.kind == nullptr) {
      EXPECT_TRUE(step.writer == Writer::kClass && !has_class_values(step.way));
      return;
    }
    EXPECT_EQ(resolved.kind->name(),
              (devices::KindName{.type = std::string(step.type), .kind = std::string(step.kind->kind)}));
    const fields::Value* value = resolved.values.find(step.field->name);
    ASSERT_NE(value, nullptr);
    const auto [first, second] = values_of(step.type, *step.field);
    const auto same = kinds_.read_entry(
        {.parameters = parameters(step.type, step.kind->kind,
                                  {{std::string(step.field->name),
                                    step.writer == Writer::kBothDifferent ? second : first}})
                           .dump(),
         .path = "p"});
    ASSERT_TRUE(same);
    EXPECT_TRUE(fields::is_equal(*value, *same->values.find(step.field->name)));
  }

  devices::Registry kinds_ = devices::all_kinds();
  int allowed_ = 0;
  int refused_ = 0;
};

TEST_F(Walk, EveryFieldOfEveryKind_AtEveryLevel_FromClassAndClaim_ThroughEveryWay) {
  int fields = 0;
  for (const fields::TypeFields& type : kinds_.fields()) {
    for (const fields::KindFields& kind : type.kinds) {
      for (const Field& field : kind.fields) {
        ++fields;
        for (const Level level : {Level::kRestricted, Level::kBaseline, Level::kPrivileged}) {
          for (const Way way : kWays) {
            for (const Writer writer : kWriters) {
              for (const Opening opening : kOpenings) {
                take({type.type, &kind, &field, level, way, writer, opening});
                if (HasFailure()) {
                  return;  // one is enough to read
                }
              }
            }
          }
        }
      }
    }
  }
  EXPECT_GE(fields, 40);
  EXPECT_EQ(allowed_ + refused_,
            fields * 3 * static_cast<int>(kWays.size() * kWriters.size() * kOpenings.size()));
  EXPECT_GT(refused_, fields * 100);
  EXPECT_GT(allowed_, fields * 100);
}

/// The choice of every kind, by the claim and against the class, for each kind that the device has without parameters.
TEST_F(Walk, EveryKind_AtEveryLevel) {
  const auto all = kinds_.kinds();
  for (const devices::Kind* wanted : all) {
    for (const devices::Kind* without : all) {
      for (const Level level : {Level::kRestricted, Level::kBaseline, Level::kPrivileged}) {
        for (const bool is_open : {false, true}) {
          const devices::KindName name = wanted->name();
          SCOPED_TRACE(to_string(name) + " for " + to_string(without->name()) + " at " +
                       std::string(to_string(level)) + (is_open ? ", open" : ""));
          testing::AskedClaim claim;
          if (is_open) {
            claim.of_class(testing::field_policy('"' + name.type + R"(.kind")", R"("lab")"));
          }
          claim.of_claim(parameters(name.type, name.kind, json::object()).dump());
          const auto decision = claim.ask({.flag = level}, kinds_, without);
          const bool may = level == Level::kPrivileged || wanted == without || is_open ||
                           (level == Level::kBaseline && wanted->risk() == Risk::kOwn);
          // A field that is required is missing here, which is the next thing that is found.
          const bool is_incomplete = std::ranges::any_of(wanted->fields(), &Field::required);
          if (may && is_incomplete) {
            ASSERT_FALSE(decision);
            EXPECT_THAT(decision.error().what(), ::testing::HasSubstr("this field is required"));
            continue;
          }
          ASSERT_TRUE(decision) << decision.error().what();
          EXPECT_EQ(decision->is_allowed(), may);
          if (!may) {
            EXPECT_EQ(decision->refusals[0].reason, Refusal::Reason::kKind);
            EXPECT_EQ(decision->refusals[0].field, name.type + ".kind");
          }
        }
      }
    }
  }
}

TEST_F(Walk, AnotherKindThanTheClasss_IsAllowedOnlyAtPrivileged) {
  for (const devices::Kind* of_class : kinds_.kinds()) {
    for (const devices::Kind* wanted : kinds_.kinds()) {
      for (const Level level : {Level::kRestricted, Level::kBaseline}) {
        const devices::KindName set = of_class->name();
        const devices::KindName name = wanted->name();
        testing::AskedClaim claim;
        claim.of_class(parameters(set.type, set.kind, json::object()).dump());
        claim.of_class(testing::field_policy('"' + name.type + R"(.kind")", R"("*")"));
        claim.of_claim(parameters(name.type, name.kind, json::object()).dump());
        const auto decision = claim.ask({.flag = level}, kinds_, wanted);
        if (of_class == wanted) {
          EXPECT_TRUE(!decision || decision->is_allowed());
          continue;
        }
        ASSERT_TRUE(decision) << decision.error().what();
        ASSERT_FALSE(decision->is_allowed()) << to_string(set) << " " << to_string(name);
        EXPECT_EQ(decision->refusals[0].reason, Refusal::Reason::kFixed);
      }
    }
  }
}

}  // namespace
}  // namespace fairlead::policy
