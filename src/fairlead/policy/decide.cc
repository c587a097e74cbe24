// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "fairlead/core/text.h"
#include "fairlead/policy/policy.h"

namespace fairlead::policy {
namespace {

using devices::Kind;
using devices::OwnParents;
using devices::Registry;
using devices::Resolved;
using Entry = Registry::Entry;
using Reason = Refusal::Reason;

/// What a claim may always write: the name in the pod.
constexpr std::string_view kNameInPod = "interfaceName";

/// Those of the last one's kind, without what was before one of another kind.
std::vector<Entry> of_last_kind(std::vector<Entry> entries) {
  const auto other = std::ranges::find_if(entries.rbegin(), entries.rend(), [&](const Entry& entry) {
    return entry.kind != entries.back().kind;
  });
  entries.erase(entries.begin(), other.base());
  return entries;
}

fields::Values merged(const std::vector<Entry>& entries, const Kind& kind) {
  fields::Values values(kind.fields());
  for (const Entry& entry : entries) {
    for (const fields::Value& value : entry.values.all()) {
      values.set(value);
    }
    values.set_path(entry.values.path());
  }
  return values;
}

/// One device, or one part of one, below level privileged.
class Decider {
 public:
  Decider(const Question& question, Level level, const std::vector<FieldPolicy>& policies,
          std::string device_class, Decision& decision)
      : question_(question),
        level_(level),
        policies_(policies),
        class_(std::move(device_class)),
        decision_(decision) {}

  Result<Resolved> resolve(const std::vector<dra::DeviceConfig>& configs, bool is_part) {
    std::vector<Entry> of_class;
    std::vector<Entry> of_claim;
    for (const dra::DeviceConfig& config : configs) {
      FL_ASSIGN(auto entry, question_.kinds->read_entry(config));
      (config.from_class ? of_class : of_claim).push_back(std::move(entry));
    }
    if (of_class.empty() && of_claim.empty()) {
      return Resolved{};
    }
    if (of_class.empty()) {
      of_claim = of_last_kind(std::move(of_claim));
      check_kind(of_claim.back(), is_part);
    } else {
      of_class = of_last_kind(std::move(of_class));
      keep_kind(of_class.back(), of_claim);
    }
    const Kind& kind = *(of_class.empty() ? of_claim : of_class).back().kind;
    Resolved resolved{.kind = &kind, .values = merged(of_class, kind)};
    add_of_claim(merged(of_claim, kind), resolved);
    if (decision_.is_allowed()) {
      FL_TRY(fields::check_required(resolved.values));
    }
    check_bounds(resolved);
    if (kind.has_parts()) {
      FL_ASSIGN(const auto parts, question_.kinds->part_configs(kind, configs));
      for (const Registry::PartConfigs& part : parts) {
        FL_ASSIGN(Resolved one, resolve(part.configs, true));
        one.part = part.part;
        resolved.parts.push_back(std::move(one));
      }
    }
    return resolved;
  }

 private:
  [[nodiscard]] std::string at_level() const { return "at level " + std::string(to_string(level_)); }
  [[nodiscard]] std::string by_class() const {
    return class_.empty() ? "the class" : "DeviceClass " + class_;
  }
  [[nodiscard]] std::string space() const { return quoted(question_.claim_namespace); }

  void refuse(Reason reason, std::string path, std::string field, std::string why,
              std::string what_would_allow) {
    decision_.refusals.push_back({.reason = reason,
                                  .path = std::move(path),
                                  .field = std::move(field),
                                  .level = level_,
                                  .why = std::move(why),
                                  .what_would_allow = std::move(what_would_allow)});
  }

  /// A field is open only if all FieldPolicies of the device open it.
  [[nodiscard]] bool is_open(const std::string& field) const {
    return !policies_.empty() && std::ranges::all_of(policies_, [&](const FieldPolicy& policy) {
      return policy.opens(field, question_.claim_namespace);
    });
  }
  [[nodiscard]] bool is_allowed(fields::Risk risk) const {
    return level_ == Level::kBaseline && risk == fields::Risk::kOwn;
  }

  /// The claim chooses type and kind.
  void check_kind(const Entry& entry, bool is_part) {
    const devices::KindName name = entry.kind->name();
    const std::string field = name.type + ".kind";
    const bool is_devices_own = !is_part && entry.kind == question_.kind_without_parameters;
    const fields::Risk risk = entry.kind->risk();
    if (is_devices_own || is_allowed(risk) || is_open(field)) {
      return;
    }
    if (!question_.is_device_known && !is_part && risk == fields::Risk::kOwn) {
      decision_.notes.push_back(entry.kind_path + ": " + quoted(name.kind) + " is accepted " + at_level() +
                                " only for a device that is of this kind without parameters");
      return;
    }
    refuse(Reason::kKind, entry.kind_path, field,
           "a claim of namespace " + space() + " may not choose the kind " + quoted(name.kind) + " " +
               at_level() + " (risk: " + std::string(fields::to_string(risk)) + ")",
           "use a DeviceClass that sets it, or has a FieldPolicy with claimMay " + field + " for " + space());
  }

  /// The class sets type and kind. Entries of another kind are removed.
  void keep_kind(const Entry& of_class, std::vector<Entry>& of_claim) {
    const devices::KindName fixed = of_class.kind->name();
    for (const Entry& entry : of_claim) {
      if (entry.kind == of_class.kind) {
        continue;
      }
      const devices::KindName name = entry.kind->name();
      const bool is_type = name.type != fixed.type;
      refuse(Reason::kFixed, is_type ? entry.type_path : entry.kind_path, name.type + ".kind",
             quoted(is_type ? name.type : name.kind) + " differs from " +
                 quoted(is_type ? fixed.type : fixed.kind) + ", which " + by_class() +
                 " sets and which is fixed " + at_level(),
             "repeat that value, or use another class");
    }
    std::erase_if(of_claim, [&](const Entry& entry) { return entry.kind != of_class.kind; });
  }

  /// What the claim wrote joins what the class sets, each field if it may.
  void add_of_claim(const fields::Values& of_claim, Resolved& resolved) {
    for (const fields::Value& value : of_claim.all()) {
      const fields::Value* fixed = resolved.values.find(value.field->name);
      if (fixed != nullptr) {
        check_repeated(value, *fixed, field_name(resolved, *value.field));
        continue;
      }
      check_written(value, field_name(resolved, *value.field));
      resolved.values.set(value);
    }
    if (!of_claim.path().empty()) {
      resolved.values.set_path(of_claim.path());
    }
  }

  static std::string field_name(const Resolved& resolved, const fields::Field& field) {
    return resolved.kind->name().type + "." + std::string(field.name);
  }

  void check_repeated(const fields::Value& value, const fields::Value& fixed, const std::string& field) {
    if (value.field->is_part || fields::is_equal(value, fixed)) {
      return;
    }
    const std::string ours = text_of(value);
    const std::string theirs = text_of(fixed);
    const bool is_shown = !ours.empty() && !theirs.empty() && ours != theirs;
    const std::string no_use = is_open(field) ? " (claimMay does not open what the class sets)" : "";
    refuse(
        Reason::kFixed, value.path, field,
        (is_shown ? ours + " differs from " + theirs + ", which " + by_class() + " sets and which is fixed "
                  : "differs from what " + by_class() + " sets, which is fixed ") +
            at_level() + no_use,
        "repeat that value or leave the field out, or use another class");
  }

  void check_written(const fields::Value& value, const std::string& field) {
    const fields::Risk risk = fields::risk_of(*value.field);
    if (value.field->is_part || value.field->name == kNameInPod || is_allowed(risk)) {
      return;
    }
    if (!is_open(field)) {
      refuse(Reason::kNotOpen, value.path, field,
             "a claim of namespace " + space() + " may not write it " + at_level() +
                 " (risk: " + std::string(fields::to_string(risk)) + ")",
             "leave it out, or ask your admin for a DeviceClass that sets it or has a FieldPolicy with "
             "claimMay " +
                 field + " for " + space());
      return;
    }
    for (const FieldPolicy& policy : policies_) {
      if (const auto outside = find_outside(policy.bounds, value)) {
        refuse(Reason::kOutsideOpening, value.path + outside->at, field,
               outside->item + " is outside what " + by_class() + " opens for claims " + at_level() + " (" +
                   std::string(outside->key) + " " + outside->allowed + ")",
               outside->allowed == "nothing" ? "leave it out" : "take one of these");
        return;
      }
    }
  }

  /// The node's bounds, which hold for every value, and whose the node's own parents are.
  void check_bounds(Resolved& resolved) {
    const Bounds& bounds = question_.policy->file.bounds;
    for (const fields::Value& value : resolved.values.all()) {
      if (const auto outside = find_outside(bounds, value)) {
        refuse(Reason::kOutsideNode, value.path + outside->at, field_name(resolved, *value.field),
               outside->item + " is not in bounds." + std::string(outside->key) +
                   " of the node's policy file (" + outside->allowed + "), which " +
                   (value.from_class ? "binds classes too " : "binds every claim ") + at_level(),
               "the admin can add it there, or give namespace " + space() + " the level privileged");
      }
      if (value.field->bound == fields::Bound::kParent && may_be_own_parent(value)) {
        resolved.own_parents = OwnParents::kAsWritten;
      }
    }
  }

  [[nodiscard]] bool may_be_own_parent(const fields::Value& value) const {
    const auto* name = std::get_if<std::string>(&value.data);
    if (name == nullptr) {
      return false;
    }
    const bool is_listed_by_all =
        !policies_.empty() && std::ranges::all_of(policies_, [&](const FieldPolicy& policy) {
          return policy.bounds.lists_parent_exactly(*name);
        });
    return value.from_class || is_listed_by_all || question_.policy->file.bounds.lists_parent_exactly(*name);
  }

  const Question& question_;
  const Level level_;
  const std::vector<FieldPolicy>& policies_;
  const std::string class_;
  Decision& decision_;
};

/// Which class an entry is from must be certain: else what two classes set and open would add up on one device.
std::optional<Refusal> find_uncertain(const dra::AllocatedDevice& device, Level level) {
  const auto entry = std::ranges::find_if(device.config, [](const dra::DeviceConfig& config) {
    return config.from_class && !config.is_class_certain();
  });
  if (entry == device.config.end()) {
    return std::nullopt;
  }
  return Refusal{
      .reason = Refusal::Reason::kUncertainClass,
      .level = level,
      .why = "request " + quoted(device.request) + " got the device " + device.device +
             ", and the allocation does not say which of the classes " + short_list(entry->classes) +
             " set " + entry->path.substr(0, entry->path.find(':')) +
             " (the scheduler lacks the fix of kubernetes#134793)",
      .what_would_allow = "at level " + std::string(to_string(level)) + " use one claim for each class"};
}

std::string class_of(const dra::AllocatedDevice& device) {
  const auto entry = std::ranges::find_if(device.config, &dra::DeviceConfig::from_class);
  return entry == device.config.end() || !entry->is_class_certain() ? std::string() : entry->classes.front();
}

}  // namespace

Result<Resolved> Decision::take() && {
  if (refusals.empty()) {
    return std::move(resolved);
  }
  const std::size_t more = refusals.size() - 1;
  return Error(Code::kDenied, refusals.front().sentence() +
                                  (more == 0 ? "" : " (" + std::to_string(more) + " more of this device)"));
}

Result<Decision> decide(const Question& question) {
  const Level level = question.policy->level_of(question.claim_namespace);
  std::vector<FieldPolicy> policies;
  std::vector<dra::DeviceConfig> parameters;
  for (const dra::DeviceConfig& config : question.device->config) {
    if (!is_field_policy(config.parameters)) {
      parameters.push_back(config);
    } else if (config.from_class) {
      FL_ASSIGN(policies.emplace_back(), read_field_policy(config, *question.kinds));
    } else {
      return Error(
          Code::kInvalid,
          config.path + ": a FieldPolicy is for a DeviceClass and has no effect in a claim; remove it");
    }
  }
  Decision decision;
  if (level == Level::kPrivileged) {
    FL_ASSIGN(decision.resolved, question.kinds->resolve(parameters));
    return decision;
  }
  if (auto uncertain = find_uncertain(*question.device, level)) {
    decision.refusals.push_back(*std::move(uncertain));
    return decision;
  }
  Decider decider(question, level, policies, class_of(*question.device), decision);
  FL_ASSIGN(decision.resolved, decider.resolve(parameters, false));
  return decision;
}

}  // namespace fairlead::policy
