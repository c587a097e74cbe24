// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/attach/record.h"

#include <algorithm>
#include <array>
#include <utility>

#include <nlohmann/json.hpp>

#include "fairlead/formats/json_writer.h"

namespace fairlead::agent {
namespace {

using devices::AttachMode;
using devices::DevicePlan;
using nlohmann::json;

constexpr int kVersion = 1;

std::string dump(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

/// Parses and runs `read`; exceptions of the JSON library stay here.
template <class T, class F>
Result<T> read_versioned(std::string_view text, std::string_view what, F&& read) {
  try {
    const json in = json::parse(text);
    if (const int version = in.at("version"); version != kVersion) {
      return Error(Code::kUnsupported, std::string(what) + " has version " + std::to_string(version) +
                                           ", this program knows version " + std::to_string(kVersion));
    }
    return read(in);
  } catch (const json::exception& e) {
    return Error(Code::kCorrupt, std::string(what) + " cannot be read: " + e.what());
  }
}

constexpr std::array<std::pair<AttachPhase, std::string_view>, 4> kPhases = {
    {{AttachPhase::kNone, "none"},
     {AttachPhase::kAttaching, "attaching"},
     {AttachPhase::kAttached, "attached"},
     {AttachPhase::kReleased, "released"}}};

std::string_view word_of(AttachPhase phase) {
  return std::ranges::find(kPhases, phase, &std::pair<AttachPhase, std::string_view>::first)->second;
}

/// Records of versions that had no phases say it by the namespace alone.
AttachPhase phase_of(const json& in) {
  const auto found = in.find("phase");
  if (found == in.end()) {
    return in.contains("netns") ? AttachPhase::kAttached : AttachPhase::kNone;
  }
  const auto known = std::ranges::find(kPhases, found->get<std::string>(),
                                       &std::pair<AttachPhase, std::string_view>::second);
  return known == kPhases.end() ? AttachPhase::kAttaching : known->first;
}

}  // namespace

bool ClaimPlan::needs_pod_netns() const {
  return std::ranges::any_of(devices, [](const DevicePlan& device) { return device.needs.pod_netns; });
}

bool ClaimPlan::needs_attach() const {
  return needs_pod_netns() ||
         std::ranges::any_of(devices, [](const DevicePlan& device) { return device.problem.has_value(); });
}

bool ClaimPlan::leaves_node() const {
  return std::ranges::any_of(devices, [](const DevicePlan& device) { return device.needs.leaves_node; });
}

std::optional<AttachPhase> next_phase(AttachPhase phase, AttachEvent event) {
  using enum AttachPhase;
  constexpr std::optional<AttachPhase> kNever;
  struct Row {
    std::optional<AttachPhase> arrive, complete, release, give_back;
  };
  // One row per phase, in the order of AttachPhase.
  constexpr std::array<Row, 4> kTable = {{
      /* none      */ {kAttaching, kNever, kNever, kNever},
      /* attaching */ {kAttaching, kAttached, kReleased, kNone},
      /* attached  */ {kAttaching, kAttached, kReleased, kNone},
      /* released  */ {kAttaching, kNever, kNever, kNever},
  }};
  const Row& row = kTable.at(static_cast<std::size_t>(phase));
  switch (event) {
    case AttachEvent::kArrive:
      return row.arrive;
    case AttachEvent::kComplete:
      return row.complete;
    case AttachEvent::kRelease:
      return row.release;
    case AttachEvent::kGiveBack:
      return row.give_back;
  }
  return kNever;
}

Result<> AttachState::advance(AttachEvent event) {
  constexpr std::array<std::string_view, 4> kEvents = {"arrive", "complete", "release", "give back"};
  const auto next = next_phase(phase, event);
  if (!next) {
    return Error(Code::kInternal, "the event \"" + std::string(kEvents.at(static_cast<std::size_t>(event))) +
                                      "\" cannot come for a claim in the attach phase \"" +
                                      std::string(word_of(phase)) + "\"");
  }
  phase = *next;
  return {};
}

std::vector<PlanPart> parts_of(const ClaimPlan& plan) {
  std::vector<PlanPart> all;
  for (std::size_t i = 0; i < plan.devices.size(); ++i) {
    const DevicePlan& device = plan.devices[i];
    if (device.parts.empty()) {
      all.push_back({.plan = &device, .device = i, .part = {}});
    }
    for (std::size_t part = 0; part < device.parts.size(); ++part) {
      all.push_back({.plan = &device.parts[part], .device = i, .part = part});
    }
  }
  return all;
}

namespace {

enum class BodyForm : std::uint8_t { kNested, kText };

// The writers give the keys of an object in order (json_writer.h).

void write_body(JsonWriter& out, const DevicePlan& plan, BodyForm form) {
  if (plan.body != nullptr) {
    const std::string body = plan.body->to_json();
    out.key("body");
    form == BodyForm::kText ? out.value(body) : out.raw(body);
  }
}

void write_name_in_pod(JsonWriter& out, const DevicePlan& plan) {
  if (plan.body != nullptr) {
    out.member("interfaceName", plan.body->name_in_pod());
  }
}

void write_part(JsonWriter& out, const DevicePlan& part) {
  out.begin_object();
  write_body(out, part, BodyForm::kNested);
  write_name_in_pod(out, part);
  out.member("kind", part.name.kind).member("type", part.name.type);
  out.end_object();
}

void write_device(JsonWriter& out, const DevicePlan& device, BodyForm form) {
  write_body(out, device, form);
  if (!device.identity.empty()) {
    out.key("identity").raw(device.identity);
  }
  write_name_in_pod(out, device);
  out.member("kind", device.name.kind);
  if (!device.key.empty()) {
    out.member("nic", device.key);
  }
  if (!device.parts.empty()) {
    out.key("parts").begin_array();
    for (const DevicePlan& part : device.parts) {
      write_part(out, part);
    }
    out.end_array();
  }
  out.member("request", device.request).member("type", device.name.type);
}

std::string text_of(const ClaimPlan& plan, BodyForm form) {
  JsonWriter out;
  out.begin_object();
  out.member("attach", plan.mode == AttachMode::kGuard ? "guard" : "netdevices");
  out.key("devices").begin_array();
  for (const DevicePlan& device : plan.devices) {
    out.begin_object();
    if (device.admin_access) {
      out.member("adminAccess", true).member("request", device.request);
    } else {
      write_device(out, device, form);
    }
    out.end_object();
  }
  out.end_array();
  out.member("version", kVersion);
  out.end_object();
  return std::move(out).take();
}

DevicePlan from_item(const json& item, std::string request, const devices::Registry& kinds) {
  DevicePlan plan;
  plan.request = std::move(request);
  plan.name = {.type = item.value("type", ""), .kind = item.value("kind", "")};
  if (const auto parts = item.find("parts"); parts != item.end()) {
    for (const json& part : *parts) {
      plan.parts.push_back(from_item(part, plan.request, kinds));
    }
    add_up_parts(plan);
    return plan;
  }
  // Version 0.1 wrote no kind for what is only monitored.
  if (!item.value("adminAccess", plan.name.kind.empty())) {
    const auto body = item.find("body");
    const bool is_text = body != item.end() && body->is_string();  // of version 0.1
    kinds.read(plan,
               body == item.end() ? ""
               : is_text          ? body->get<std::string>()
                                  : dump(*body),
               item.value("interfaceName", ""));
  }
  return plan;
}

}  // namespace

std::string to_json(const ClaimPlan& plan) { return text_of(plan, BodyForm::kNested); }

std::string plan_for_version_0_1(const ClaimPlan& plan) { return text_of(plan, BodyForm::kText); }

Result<ClaimPlan> parse_claim_plan(std::string_view text, const devices::Registry& kinds) {
  return read_versioned<ClaimPlan>(text, "the claim's plan", [&](const json& in) {
    ClaimPlan plan;
    plan.mode = in.at("attach") == "netdevices" ? AttachMode::kNetdevices : AttachMode::kGuard;
    for (const json& item : in.at("devices")) {
      DevicePlan device = from_item(item, item.at("request"), kinds);
      // Version 0.1 wrote no kind, and no adminAccess.
      device.admin_access = item.value("adminAccess", device.name.kind.empty());
      device.key = item.value("nic", "");
      if (const auto identity = item.find("identity"); identity != item.end()) {
        device.identity = identity->is_string() ? identity->get<std::string>() : dump(*identity);
      }
      plan.devices.push_back(std::move(device));
    }
    return plan;
  });
}

std::string to_json(const AttachState& state) {
  JsonWriter out;
  out.begin_object();
  if (state.netns) {
    out.member("container", state.container);
  }
  if (!state.given.empty()) {
    out.key("given").begin_array();
    for (const devices::Given& given : state.given) {
      out.begin_object().member("addresses", given.addresses).member("mac", given.mac).end_object();
    }
    out.end_array();
  }
  out.member("ifindexes", state.indexes);
  if (state.netns) {
    out.key("netns").begin_object();
    out.member("device", state.netns->device).member("inode", state.netns->inode).end_object();
    if (state.number) {
      out.key("netnsNumber").begin_object().member("number", state.number->number);
      out.member("ofDevice", state.number->of.device).member("ofInode", state.number->of.inode).end_object();
    }
  }
  out.member("phase", word_of(state.phase));
  if (state.netns) {
    out.member("podUid", state.pod_uid).member("sandbox", state.sandbox).member("seenIn", state.seen_in);
  }
  out.member("staged", state.staged).member("version", kVersion);
  if (state.netns) {
    out.member("visible", state.visible);
  }
  out.end_object();
  return std::move(out).take();
}

Result<AttachState> parse_attach_state(std::string_view text) {
  if (text.empty()) {
    return AttachState{};
  }
  return read_versioned<AttachState>(text, "the claim's attach state", [](const json& in) {
    AttachState state;
    state.phase = phase_of(in);
    state.staged = in.at("staged");
    state.indexes = in.at("ifindexes").get<std::vector<std::int32_t>>();
    for (const json& item : in.value("given", json::array())) {
      state.given.push_back(
          {.mac = item.at("mac"), .addresses = item.at("addresses").get<std::vector<std::string>>()});
    }
    if (const auto netns = in.find("netns"); netns != in.end()) {
      state.netns =
          sys::NetnsId{.device = netns->at("device").get<dev_t>(), .inode = netns->at("inode").get<ino_t>()};
      state.sandbox = in.value("sandbox", "");
      state.container = in.at("container");
      state.pod_uid = in.value("podUid", "");
      state.visible = in.value("visible", true);
      state.seen_in = in.value("seenIn", "");
      if (const auto number = in.find("netnsNumber"); number != in.end()) {
        state.number = {.number = number->at("number"),
                        .of = {.device = number->at("ofDevice").get<dev_t>(),
                               .inode = number->at("ofInode").get<ino_t>()}};
      }
    }
    return state;
  });
}

}  // namespace fairlead::agent
