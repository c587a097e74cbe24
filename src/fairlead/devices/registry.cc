// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/registry.h"

#include "fairlead/devices/node.h"
#include "fairlead/formats/quantity.h"

namespace fairlead::devices {

void Registry::add(std::unique_ptr<Kind> handler) {
  auto& kinds = handlers_[std::string(handler->type())];
  std::string kind(handler->kind());
  kinds.insert_or_assign(std::move(kind), std::move(handler));
}

const Kind* Registry::find(std::string_view type, std::string_view kind) const {
  const auto kinds = handlers_.find(type);
  if (kinds == handlers_.end()) {
    return nullptr;
  }
  const auto handler = kinds->second.find(kind);
  return handler == kinds->second.end() ? nullptr : handler->second.get();
}

Result<> Registry::links_changed(netlink::Socket& node, const NodeOptions& options) const {
  Result<> first;
  for (const auto& [type, kinds] : handlers_) {
    for (const auto& [kind, handler] : kinds) {
      auto done = handler->links_changed(node, options);
      first = first ? std::move(done) : std::move(first);
    }
  }
  return first;
}

std::vector<std::string_view> Registry::types() const {
  std::vector<std::string_view> words;
  for (const auto& [type, kinds] : handlers_) {
    words.emplace_back(type);
  }
  return words;
}

std::vector<std::string_view> Registry::kinds(std::string_view type) const {
  std::vector<std::string_view> words;
  if (const auto it = handlers_.find(type); it != handlers_.end()) {
    for (const auto& [kind, handler] : it->second) {
      words.emplace_back(kind);
    }
  }
  return words;
}

Result<Registry::Choice> Registry::read(const dra::DeviceConfig& config) const {
  FL_ASSIGN(auto document, strict_json::Document::parse(config.parameters, config.path));
  const strict_json::Object root = document.root();
  const std::string type = root.required_word("type", types());
  if (type.empty()) {
    root.ignore_rest();  // the type's own section would be called unknown otherwise
    FL_TRY(document.finish());
  }
  const strict_json::Object fields = root.required_object(type);
  const std::string kind = fields.required_word("kind", kinds(type));
  const Kind* handler = find(type, kind);
  if (handler == nullptr) {
    fields.ignore_rest();
    FL_TRY(document.finish());
    return Error(Code::kInvalid, config.path + ": type and kind are missing");
  }
  std::string path = root.path_of(type);
  return Choice{.handler = handler,
                .section = {.document = std::move(document),
                            .fields = fields,
                            .path = std::move(path),
                            .from_class = config.from_class}};
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

/// What the NIC that was allocated is: the one that it was when this allocation was prepared before. Nothing:
/// no NIC was allocated, or it is not there.
Result<std::optional<NicIdentity>> identify(const PlanInput& input) {
  const dra::AllocatedDevice& device = *input.device;
  const sys::InventoryLink* nic =
      device.device == kVirtualDevice ? nullptr : input.node->find_device(device.device);
  if (nic == nullptr) {
    return std::optional<NicIdentity>();
  }
  NicIdentity identity = input.node->identity(*nic);
  FL_TRY(check_is_same(
      device.reported, identity,
      "the device " + device.device + " of the request \"" + device.request + "\" (" + nic->link.name + ")"));
  return std::optional(std::move(identity));
}

}  // namespace

Result<DevicePlan> Registry::plan(const PlanInput& input) const {
  const dra::AllocatedDevice& device = *input.device;
  FL_TRY(check_slots(device));
  FL_ASSIGN(const auto nic, identify(input));
  const Kind* handler = nullptr;
  std::vector<Section> sections;
  for (const dra::DeviceConfig& config : device.config) {
    FL_ASSIGN(Choice choice, read(config));
    if (choice.handler != handler) {
      sections.clear();
      handler = choice.handler;
    }
    sections.push_back(std::move(choice.section));
  }
  if (handler == nullptr && device.device != kVirtualDevice) {
    handler = find("netdev", "host-device");
  }
  if (handler == nullptr) {
    return Error(Code::kInvalid,
                 "request \"" + device.request + "\" got the device " + device.device +
                     ", but nothing says what to make of it: add a config with parameters "
                     "such as {\"type\": \"netdev\", \"netdev\": {\"kind\": \"macvlan\", ...}}");
  }
  FL_ASSIGN(DevicePlan plan, handler->plan(input, std::move(sections)));
  plan.type = handler->type();
  plan.kind = handler->kind();
  plan.request = device.request;
  if (nic) {
    plan.nic = nic->name;
    plan.identity = to_json(*nic);
  }
  return plan;
}

}  // namespace fairlead::devices
