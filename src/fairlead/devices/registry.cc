// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/registry.h"

#include <algorithm>
#include <cstdlib>
#include <set>
#include <utility>

#include "fairlead/core/log.h"
#include "fairlead/devices/node.h"
#include "fairlead/formats/quantity.h"

namespace fairlead::devices {

std::string to_string(const KindName& name) { return name.type + " " + name.kind; }

void add_up_parts(DevicePlan& plan) {
  for (const DevicePlan& part : plan.parts) {
    plan.needs.pod_netns = plan.needs.pod_netns || part.needs.pod_netns;
    plan.needs.leaves_node = plan.needs.leaves_node || part.needs.leaves_node;
    if (!plan.problem) {
      plan.problem = part.problem;
    }
  }
}

namespace {

Error not_known(const KindName& name) {
  return {Code::kUnsupported, "this version of the driver does not know " + to_string(name)};
}

}  // namespace

void Registry::add(std::unique_ptr<Kind> kind) {
  KindName name = kind->name();
  auto& kinds = kinds_[name.type];
  if (!kinds.emplace(name.kind, std::move(kind)).second) {
    log::error("a kind of device is registered twice", {{"kind", to_string(name)}});
    std::abort();
  }
}

const Kind* Registry::find(const KindName& name) const {
  const auto kinds = kinds_.find(name.type);
  if (kinds == kinds_.end()) {
    return nullptr;
  }
  const auto kind = kinds->second.find(name.kind);
  return kind == kinds->second.end() ? nullptr : kind->second.get();
}

Result<const Kind*> Registry::kind_of(const DevicePlan& plan) const {
  if (plan.problem) {
    return *plan.problem;
  }
  if (const Kind* kind = find(plan.name)) {
    return kind;
  }
  return not_known(plan.name);
}

Result<bool> Registry::is_claim_in(const Side& pod, const Marker& claim) const {
  for (const Kind* kind : kinds()) {
    FL_ASSIGN(const bool is_there, kind->is_claim_in(pod, claim));
    if (is_there) {
      return true;
    }
  }
  return false;
}

std::vector<const Kind*> Registry::kinds() const {
  std::vector<const Kind*> all;
  for (const auto& [type, kinds] : kinds_) {
    for (const auto& [word, kind] : kinds) {
      all.push_back(kind.get());
    }
  }
  return all;
}

void Registry::read(DevicePlan& plan, std::string_view body, std::string_view name_in_pod) const {
  const Kind* kind = find(plan.name);
  if (kind == nullptr) {
    plan.problem = not_known(plan.name);
    return;
  }
  auto read = kind->read(body, name_in_pod);
  if (!read) {
    plan.problem = std::move(read).error();
    return;
  }
  plan.body = *std::move(read);
  plan.needs = kind->needs(*plan.body);
}

std::vector<std::string_view> Registry::types() const {
  std::vector<std::string_view> words;
  for (const auto& [type, kinds] : kinds_) {
    words.emplace_back(type);
  }
  return words;
}

std::vector<fields::KindFields> Registry::kind_fields(std::string_view type) const {
  std::vector<fields::KindFields> all;
  if (const auto it = kinds_.find(type); it != kinds_.end()) {
    for (const auto& [word, kind] : it->second) {
      all.push_back({.kind = word, .fields = kind->fields(), .risk = kind->risk()});
    }
  }
  return all;
}

std::vector<fields::TypeFields> Registry::fields() const {
  std::vector<fields::TypeFields> all;
  for (const auto& [type, kinds] : kinds_) {
    all.push_back({.type = type, .kinds = kind_fields(type)});
  }
  return all;
}

std::vector<std::string_view> Registry::kinds_of(std::string_view type) const {
  std::vector<std::string_view> words;
  if (const auto it = kinds_.find(type); it != kinds_.end()) {
    for (const auto& [kind, known] : it->second) {
      words.emplace_back(kind);
    }
  }
  return words;
}

Result<Registry::Choice> Registry::choose(const dra::DeviceConfig& config) const {
  FL_ASSIGN(auto document, strict_json::Document::parse(config.parameters, config.path));
  const strict_json::Object root = document.root();
  const std::string type = root.required_word("type", types());
  if (type.empty()) {
    root.ignore_rest();  // the type's own section would be called unknown otherwise
    FL_TRY(document.finish());
  }
  const strict_json::Object object = root.required_object(type);
  const std::string kind = object.required_word("kind", kinds_of(type));
  const Kind* known = find({.type = type, .kind = kind});
  if (known == nullptr) {
    object.ignore_rest();
    FL_TRY(document.finish());
    return Error(Code::kInvalid, config.path + ": type and kind are missing");
  }
  std::string path = root.path_of(type);
  std::string type_path = root.path_of("type");
  std::string kind_path = object.path_of("kind");
  return Choice{.kind = known,
                .section = {.document = std::move(document),
                            .object = object,
                            .path = std::move(path),
                            .from_class = config.from_class},
                .type_path = std::move(type_path),
                .kind_path = std::move(kind_path)};
}

Result<Registry::Entry> Registry::read_entry(const dra::DeviceConfig& config) const {
  FL_ASSIGN(Choice choice, choose(config));
  const KindName name = choice.kind->name();
  FL_ASSIGN(auto values, fields::read({.kind = name.kind, .fields = choice.kind->fields()},
                                      kind_fields(name.type), choice.section));
  return Entry{.kind = choice.kind,
               .values = std::move(values),
               .type_path = std::move(choice.type_path),
               .kind_path = std::move(choice.kind_path)};
}

Result<std::optional<Registry::Decoded>> Registry::decode(
    const std::vector<dra::DeviceConfig>& configs) const {
  const Kind* kind = nullptr;
  std::vector<fields::Section> sections;
  for (const dra::DeviceConfig& config : configs) {
    FL_ASSIGN(Choice choice, choose(config));
    if (choice.kind != kind) {
      sections.clear();
      kind = choice.kind;
    }
    sections.push_back(std::move(choice.section));
  }
  if (kind == nullptr) {
    return std::optional<Decoded>();
  }
  const KindName name = kind->name();
  FL_ASSIGN(auto values,
            fields::decode({.kind = name.kind, .fields = kind->fields()}, kind_fields(name.type), sections));
  return std::optional(Decoded{.kind = kind, .values = std::move(values)});
}

namespace {

/// What was allocated by slices of an older version, or by an allocator that does not know validValues.
Result<> check_slots(const dra::AllocatedDevice& device) {
  const auto slots = device.consumed_capacity.find("slots");
  if (device.device != kVirtualDevice || slots == device.consumed_capacity.end() ||
      formats::same_quantity(slots->second, "1")) {
    return {};
  }
  return Error(Code::kInvalid,
               "request \"" + device.request + "\" was allocated " + slots->second + " slots of " +
                   device.device +
                   ", but one interface is one slot: leave capacity out of the request, and "
                   "ask for more devices (count, or more requests) if you want more interfaces");
}

}  // namespace

Offers Registry::offers(const OfferInput& input) const {
  Offers all;
  std::set<std::string> names;
  for (const Kind* kind : kinds()) {
    Offers offers = kind->offers(input);
    for (Offer& offer : offers.devices) {
      if (names.insert(offer.device.name).second) {
        all.devices.push_back(std::move(offer));
      }
    }
    if (!all.problem) {
      all.problem = std::move(offers.problem);
    }
  }
  return all;
}

std::optional<Registry::Owned> Registry::find_owned(const PlanInput& input) const {
  const std::string& name = input.device->device;
  const OfferInput only{.node = input.node, .facts = input.facts, .named = name};
  for (const Kind* kind : kinds()) {
    for (Offer& offer : kind->offers(only).devices) {
      if (offer.device.name != name &&
          std::ranges::find(offer.former_names, name) == offer.former_names.end()) {
        continue;
      }
      if (offer.device.allow_multiple_allocations) {
        return std::nullopt;
      }
      if (offer.identity.key.empty()) {
        offer.identity.key = offer.device.name;
      }
      return Owned{.owner = kind, .offer = std::move(offer)};
    }
  }
  return std::nullopt;
}

Result<DevicePlan> Registry::plan_by(const Kind& kind, const PlanInput& input, const fields::Values& values) {
  FL_ASSIGN(DevicePlan plan, kind.plan(input, values));
  plan.name = kind.name();
  plan.request = input.device->request;
  if ((plan.body == nullptr) == plan.parts.empty()) {
    return Error(Code::kInternal, "the kind " + to_string(plan.name) + " returned a plan with " +
                                      (plan.body == nullptr ? "neither a body nor" : "both a body and") +
                                      " parts");
  }
  if (plan.body == nullptr) {
    add_up_parts(plan);
    return plan;
  }
  plan.needs = kind.needs(*plan.body);
  if (plan.needs.pod_netns && input.node->options().mode == AttachMode::kNetdevices &&
      kind.staging() == nullptr) {
    return Error(Code::kUnsupported,
                 "this node attaches with --attach=netdevices, which cannot give a pod a device of kind " +
                     to_string(plan.name) + "; use a node with another attach mode");
  }
  return plan;
}

Result<DevicePlan> Registry::plan_part(const PlanInput& device, const Resolved& whole,
                                       std::string_view name) {
  const auto found = std::ranges::find(whole.parts, name, &Resolved::part);
  if (found == whole.parts.end() || found->kind == nullptr) {
    return Error(Code::kInternal, "the kind " + to_string(whole.kind->name()) + " plans the part " +
                                      std::string(name) + ", which its parameters do not have");
  }
  const Error nested(Code::kInvalid, found->values.path() + ": a device of kind " +
                                         to_string(found->kind->name()) +
                                         " has parts, so it cannot be a part itself");
  PlanInput input = device;
  input.own_parents = found->own_parents;
  input.plan_part = [&](std::string_view /*part*/) -> Result<DevicePlan> { return nested; };
  FL_ASSIGN(DevicePlan part, plan_by(*found->kind, input, found->values));
  if (!part.parts.empty()) {
    return nested;
  }
  if (device.part_planned) {
    device.part_planned(part);
  }
  return part;
}

Result<Resolved> Registry::resolve(const std::vector<dra::DeviceConfig>& configs) const {
  FL_ASSIGN(auto decoded, decode(configs));
  Resolved resolved{.own_parents = OwnParents::kAny};
  if (!decoded) {
    return resolved;
  }
  resolved.kind = decoded->kind;
  resolved.values = std::move(decoded->values);
  if (!resolved.kind->has_parts()) {
    return resolved;
  }
  FL_ASSIGN(const auto parts, part_configs(*resolved.kind, configs));
  for (const PartConfigs& part : parts) {
    FL_ASSIGN(Resolved one, resolve(part.configs));
    one.part = part.part;
    resolved.parts.push_back(std::move(one));
  }
  return resolved;
}

Result<std::vector<Registry::PartConfigs>> Registry::part_configs(
    const Kind& kind, const std::vector<dra::DeviceConfig>& configs) const {
  std::vector<PartConfigs> parts;
  for (const dra::DeviceConfig& config : configs) {
    FL_ASSIGN(const Entry entry, read_entry(config));
    if (entry.kind != &kind) {
      continue;  // dropped
    }
    for (PartConfig& part : kind.parts(entry.values)) {
      auto to = std::ranges::find(parts, part.part, &PartConfigs::part);
      if (to == parts.end()) {
        to = parts.insert(to, PartConfigs{.part = std::move(part.part)});
      }
      part.config.from_class = config.from_class;
      part.config.classes = config.classes;
      to->configs.push_back(std::move(part.config));
    }
  }
  return parts;
}

Result<Registry::Allocated> Registry::find(const PlanInput& input) const {
  const dra::AllocatedDevice& device = *input.device;
  FL_TRY(check_slots(device));
  auto owned = find_owned(input);
  if (!owned) {
    // It is not here now, which is how a NIC is that was pulled out: its kind says so.
    const bool is_virtual = device.device == kVirtualDevice;
    return Allocated{.kind_without_parameters =
                         is_virtual ? nullptr : find({.type = "netdev", .kind = "host-device"})};
  }
  const std::string& called = owned->offer.called;
  FL_TRY(owned->owner->check_is_same(device.reported, owned->offer,
                                     "the device " + device.device + " of the request \"" + device.request +
                                         "\"" + (called.empty() ? "" : " (" + called + ")")));
  return Allocated{.owner = owned->owner,
                   .offer = std::move(owned->offer),
                   .kind_without_parameters = device.device == kVirtualDevice ? nullptr : owned->owner};
}

Result<DevicePlan> Registry::plan(const PlanInput& input, const Allocated& allocated,
                                  const Resolved& resolved) {
  const dra::AllocatedDevice& device = *input.device;
  const Kind* kind = resolved.kind != nullptr ? resolved.kind : allocated.kind_without_parameters;
  if (kind == nullptr) {
    return Error(Code::kInvalid,
                 "request \"" + device.request + "\" got the device " + device.device +
                     ", but nothing says what to make of it: add a config with parameters "
                     "such as {\"type\": \"netdev\", \"netdev\": {\"kind\": \"macvlan\", ...}}");
  }
  const fields::Values none(kind->fields());
  PlanInput full = input;
  full.own_parents = resolved.own_parents;
  full.plan_part = [&](std::string_view part) { return plan_part(input, resolved, part); };
  FL_ASSIGN(DevicePlan plan, plan_by(*kind, full, resolved.kind != nullptr ? resolved.values : none));
  if (allocated.offer) {
    plan.key = allocated.offer->identity.key;
    plan.identity = allocated.offer->identity.data;
  }
  return plan;
}

Result<DevicePlan> Registry::plan(const PlanInput& input, const Resolved& resolved) const {
  FL_ASSIGN(const Allocated allocated, find(input));
  return plan(input, allocated, resolved);
}

}  // namespace fairlead::devices
