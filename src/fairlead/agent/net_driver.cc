// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/net_driver.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <memory>

#include "fairlead/core/fd.h"
#include "fairlead/core/log.h"
#include "fairlead/devices/netdev/interface_names.h"
#include "fairlead/devices/netdev/link_use.h"
#include "fairlead/devices/node_questions.h"

namespace fairlead::agent {

using devices::AttachMode;
using devices::DevicePlan;
using devices::netdev::LinkUse;

namespace {

using PlannedClaims = std::vector<std::shared_ptr<const devices::PlannedClaim>>;

/// Whether two claims, reserved for these, are of one pod.
bool share_a_pod(const std::vector<dra::Pod>& a, const std::vector<dra::Pod>& b) {
  return std::ranges::any_of(
      a, [&](const dra::Pod& pod) { return std::ranges::find(b, pod.uid, &dra::Pod::uid) != b.end(); });
}

/// Interface names of the other claims that the claim's pods have.
devices::netdev::TakenNames names_of(const PlannedClaims& in_its_pods) {
  devices::netdev::TakenNames names;
  for (const auto& other : in_its_pods) {
    for (const DevicePlan& device : other->devices) {
      if (device.body != nullptr && !device.body->name_in_pod().empty()) {
        names.emplace(device.body->name_in_pod(), other->name);
      }
    }
  }
  return names;
}

/// As environment variables are written: letters and digits in upper case, all else a "_".
std::string in_capitals(std::string_view name) {
  std::string out;
  for (const char c : name) {
    const bool lower = c >= 'a' && c <= 'z';
    const bool kept = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z');
    out += lower ? static_cast<char>(c - 'a' + 'A') : (kept ? c : '_');
  }
  return out;
}

}  // namespace

std::vector<std::string> environment_names(const dra::Claim& claim) {
  const std::string& called = claim.pod_claim_name.empty() ? claim.name : claim.pod_claim_name;
  std::map<std::string, int> total;
  for (const dra::AllocatedDevice& device : claim.devices) {
    ++total[device.main_request()];
  }
  std::map<std::string, int> count;
  std::vector<std::string> names;
  for (const dra::AllocatedDevice& device : claim.devices) {
    const std::string request = device.main_request();
    std::string name = "FAIRLEAD_" + in_capitals(called) + "_" + in_capitals(request);
    if (total[request] > 1) {
      name += "_" + std::to_string(++count[request]);
    }
    names.push_back(std::move(name));
  }
  return names;
}

Result<std::unique_ptr<NetDriver>> NetDriver::create(dra::Host& host, NetDriverOptions options,
                                                     const devices::Registry& registry) {
  auto driver = std::unique_ptr<NetDriver>(new NetDriver(host, std::move(options), registry));
  if (auto ways = driver->options_.ways) {
    ways->guard_socket = driver->options_.guard_socket;
    FL_ASSIGN(driver->ways_, AttachWays::create(*std::move(ways), driver->service_));
  }
  return driver;
}

namespace {

/// "request x (count 2)"
std::string request_of(const dra::Claim& claim, std::size_t device) {
  const std::string request = claim.devices[device].main_request();
  const auto count = std::ranges::count_if(
      claim.devices, [&](const dra::AllocatedDevice& other) { return other.main_request() == request; });
  return "request " + request + (count > 1 ? " (count " + std::to_string(count) + ")" : "");
}

/// A device that is only monitored has no interface that a variable could name.
std::vector<std::string> variables_of(const dra::Claim& claim) {
  std::vector<std::string> variables = environment_names(claim);
  for (std::size_t i = 0; i < variables.size(); ++i) {
    if (claim.devices[i].admin_access) {
      variables[i].clear();
    }
  }
  return variables;
}

devices::PlannedClaim planned_claim(const dra::Claim& claim, const ClaimPlan& plan) {
  devices::PlannedClaim planned{.namespace_ = claim.namespace_,
                                .name = claim.name,
                                .uid = claim.uid,
                                .devices = {},
                                .reserved_for = claim.reserved_for};
  const auto variables = variables_of(claim);
  for (const PlanPart& part : parts_of(plan)) {
    planned.devices.push_back(*part.plan);
    const bool has_one = part.part.value_or(0) == 0 && part.device < variables.size();
    planned.variables.push_back(has_one ? variables[part.device] : "");
  }
  return planned;
}

/// Fails if two devices of one pod would have the names of their interfaces in the same variable. Which of
/// the pod's claims a container lists is not known yet.
Result<> check_variables(const dra::Claim& claim, const PlannedClaims& in_its_pods) {
  const std::vector<std::string> variables = variables_of(claim);
  const auto both = [](const std::string& one, const std::string& other, const std::string& variable,
                       const std::string& what_to_do) {
    return Error(Code::kInvalid, one + " and " + other + " would both be " + variable +
                                     " in the environment of a container; give " + what_to_do);
  };
  for (std::size_t i = 0; i < variables.size(); ++i) {
    if (variables[i].empty()) {
      continue;
    }
    const auto first = std::ranges::find(variables, variables[i]) - variables.begin();
    if (const auto before = static_cast<std::size_t>(first); before < i) {
      return both(request_of(claim, i), request_of(claim, before) + " of claim " + claim.name, variables[i],
                  "one of the requests another name");
    }
    for (const auto& other : in_its_pods) {
      const auto found = std::ranges::find(other->variables, variables[i]);
      if (found == other->variables.end()) {
        continue;
      }
      const auto at = static_cast<std::size_t>(found - other->variables.begin());
      const std::string request =
          at < other->devices.size() ? "request " + other->devices[at].request + " of " : "";
      return both(request_of(claim, i) + " of claim " + claim.name,
                  request + "claim " + other->name + " of the same pod", variables[i],
                  "one of the requests, or of the claims in the pod, another name");
    }
  }
  return {};
}

}  // namespace

Result<std::string> NetDriver::plan(const dra::Claim& claim) {
  FL_ASSIGN(netlink::Socket socket, netlink::Socket::open(), "read this node's links");
  FL_ASSIGN(const NodeOffers::Node node, offers_.known_node(socket));
  FL_ASSIGN(auto planned_claims, planned_but(claim.uid));
  PlannedClaims in_its_pods;
  std::ranges::copy_if(planned_claims, std::back_inserter(in_its_pods), [&](const auto& other) {
    return share_a_pod(claim.reserved_for, other->reserved_for);
  });
  FL_TRY(check_variables(claim, in_its_pods));
  const auto names = names_of(in_its_pods);
  // Two devices of one claim cannot share one either: each sees those before it.
  const auto own = std::make_shared<devices::PlannedClaim>(devices::PlannedClaim{
      .namespace_ = claim.namespace_, .name = claim.name, .uid = claim.uid, .devices = {}});
  planned_claims.push_back(own);
  const auto add_to_own = [&](const DevicePlan& part) { own->devices.push_back(part); };
  const devices::NodeQuestions ask = devices::questions_to_kernel(socket);
  ClaimPlan plan{.mode = options_.node.mode};
  for (const dra::AllocatedDevice& device : claim.devices) {
    if (device.admin_access) {
      if (!device.config.empty()) {
        return Error(Code::kInvalid,
                     device.config.front().path + ": the request \"" + device.request +
                         "\" has adminAccess, which only watches a device; it takes no parameters");
      }
      plan.devices.push_back({.admin_access = true, .request = device.request});
      continue;
    }
    FL_ASSIGN(DevicePlan planned, registry_->plan({.device = &device,
                                                   .node = &node.links,
                                                   .facts = node.facts.get(),
                                                   .claim = &claim,
                                                   .others = &planned_claims,
                                                   .ask = &ask,
                                                   .part_planned = add_to_own}));
    if (planned.parts.empty()) {
      own->devices.push_back(planned);
    }
    plan.devices.push_back(std::move(planned));
  }
  FL_TRY(devices::netdev::assign_interface_names(plan.devices, names));
  offers_.planned(claim.uid);
  return to_json(plan);
}

/// Most records are the same objects as at the last call: each is parsed once.
Result<std::vector<std::shared_ptr<const devices::PlannedClaim>>> NetDriver::planned_but(
    const std::string& claim_uid) {
  PlannedClaims others;
  FL_ASSIGN(const auto records, host_->shared_records(), "find out what other claims have");
  const Lock lock(planned_mutex_);
  std::map<std::string, KnownPlan> still_there;
  for (const RecordPtr& record : records) {
    const dra::Claim& claim = record->claim;
    auto known = known_plans_.extract(claim.uid);
    KnownPlan now = known.empty() ? KnownPlan() : std::move(known.mapped());
    if (now.record != record) {
      auto plan = parse_claim_plan(record->plan, *registry_);
      now = {.record = record, .planned = nullptr};
      if (plan) {
        now.planned = std::make_shared<const devices::PlannedClaim>(planned_claim(claim, *plan));
      }
    }
    if (now.planned != nullptr && claim.uid != claim_uid) {
      others.push_back(now.planned);
    }
    still_there.insert_or_assign(claim.uid, std::move(now));
  }
  known_plans_ = std::move(still_there);
  return others;
}

// ---- admission

NetDriver::ClaimUses NetDriver::uses_of(const dra::ClaimRecord& record) const {
  ClaimUses uses;
  const auto plan = parse_claim_plan(record.plan, *registry_);
  if (!plan) {
    return uses;  // nothing was taken yet
  }
  uses.links = devices::netdev::link_uses(plan->devices);
  for (const DevicePlan* device : devices::all_parts(plan->devices)) {
    if (device->body != nullptr && !device->body->name_in_pod().empty()) {
      uses.interface_names.push_back(device->body->name_in_pod());
    }
  }
  uses.variables = variables_of(record.claim);
  return uses;
}

const NetDriver::ClaimUses& NetDriver::known_uses_of(const RecordPtr& record) {
  KnownUses& known = known_uses_[record->claim.uid];
  if (known.record != record) {
    known = {.record = record, .uses = uses_of(*record)};
  }
  return known.uses;
}

namespace {

/// The first part of `own` that conflicts with `theirs`: "the address 192.0.2.5 on eth0"; empty: no conflict.
std::string taken_on_links(const std::vector<LinkUse>& own, const std::vector<LinkUse>& theirs) {
  for (const LinkUse& use : own) {
    for (const LinkUse& their : theirs) {
      if (!devices::is_same_link(their.link, use.link.link)) {
        continue;
      }
      if (use.whole || their.whole) {
        return "the link " + use.link.link.name;
      }
      if (const std::string what = devices::netdev::conflict(use, their); !what.empty()) {
        return what + " on " + use.link.link.name;
      }
    }
  }
  return "";
}

/// For a claim of another namespace the pod's author learns only that it exists.
std::string name_for(const dra::Claim& reader, const dra::Claim& other) {
  return other.namespace_ == reader.namespace_ ? "the claim " + other.name : "another claim";
}

}  // namespace

/// The same for two claims of one pod.
std::string NetDriver::taken_in_pod(const ClaimUses& own, const ClaimUses& theirs) {
  if (const auto name = std::ranges::find_first_of(own.interface_names, theirs.interface_names);
      name != own.interface_names.end()) {
    return "the interface name \"" + *name + "\"";
  }
  const auto variable = std::ranges::find_if(own.variables, [&](const std::string& one) {
    return !one.empty() && std::ranges::find(theirs.variables, one) != theirs.variables.end();
  });
  return variable == own.variables.end() ? "" : "the variable " + *variable;
}

Result<std::unique_ptr<dra::Admission>> NetDriver::admit(const dra::ClaimRecord& record,
                                                         const std::vector<RecordPtr>& others,
                                                         const dra::CallContext& context) {
  const ClaimUses own = uses_of(record);
  FL_TRY(check_against(record, own, others));
  if (!holders_) {
    return nullptr;
  }
  return holders_->admit({.uid = record.claim.uid,
                          .namespace_ = record.claim.namespace_,
                          .name = record.claim.name,
                          .uses = nic_uses(own.links)},
                         context);
}

Result<> NetDriver::check_against(const dra::ClaimRecord& record, const ClaimUses& own,
                                  const std::vector<RecordPtr>& others) {
  const Lock lock(admission_mutex_);
  std::map<std::string, KnownUses> still_there;
  for (const RecordPtr& other : others) {
    const ClaimUses& theirs = known_uses_of(other);
    const std::string on_link = taken_on_links(own.links, theirs.links);
    const std::string in_pod =
        share_a_pod(record.claim.reserved_for, other->claim.reserved_for) ? taken_in_pod(own, theirs) : "";
    if (!on_link.empty() || !in_pod.empty()) {
      return Error(Code::kConflict,
                   (on_link.empty() ? in_pod : on_link) + " went to " + name_for(record.claim, other->claim) +
                       (on_link.empty() ? " of the same pod" : "") + " while this claim was planned");
    }
    still_there.insert(known_uses_.extract(other->claim.uid));
  }
  known_uses_ = std::move(still_there);
  return {};
}

cdi::Hook NetDriver::guard_hook(const std::string& claim_uid) const {
  return {.hook_name = "createRuntime",
          .path = options_.guard_path,
          .args = {"fairlead-guard", "--socket", options_.guard_socket, "--claim", claim_uid},
          .timeout_seconds = static_cast<int>(options_.hook_timeout.count())};
}

Result<dra::Prepared> NetDriver::prepare(const dra::Claim& claim, const std::string& plan_text,
                                         const dra::CallContext& /*context*/) {
  FL_ASSIGN(const PlanPtr plan_ptr, attacher_.plans().read(plan_text));
  const ClaimPlan& plan = *plan_ptr;
  dra::Prepared prepared;
  FL_ASSIGN(prepared.device_edits, attacher_.prepare(plan_ptr, claim.uid, environment_names(claim)));
  AttachState state;
  if (plan.mode == AttachMode::kNetdevices) {
    FL_ASSIGN(auto staged, attacher_.stage(plan_ptr, claim.uid));
    for (std::size_t i = 0; i < staged.size(); ++i) {
      prepared.device_edits[i].net_devices = std::move(staged[i]);
    }
    state.staged = true;
  }
  // In mode netdevices runtimes run hooks of this stage when they have moved the devices (runc 1.5, crun 1.28):
  // the guard adds addresses and routes then, and stops a container that did not get its devices.
  const bool has_guard = plan.mode == AttachMode::kGuard || options_.node.has_guard;
  if (plan.needs_pod_netns() && has_guard) {
    prepared.claim_edits.hooks = {guard_hook(claim.uid)};
  }
  if (plan.needs_pod_netns() && plan.mode == AttachMode::kGuard) {
    service_.reports().waiting(claim.uid);
  } else {
    service_.reports().staged(claim.uid);  // no attach follows, or none that is seen here
  }
  prepared.state = to_json(state);
  if (shares_any(plan)) {
    host_->republish();  // the kernel sends no event for this
  }
  return prepared;
}

Result<> NetDriver::unprepare(const dra::ClaimRecord& record, const dra::CallContext& context) {
  std::vector<std::string> lost;
  if (holders_) {
    FL_ASSIGN(lost,
              holders_->lost({.uid = record.claim.uid,
                              .namespace_ = record.claim.namespace_,
                              .name = record.claim.name,
                              .uses = nic_uses(uses_of(record).links)},
                             context),
              "find out whether the claim still has its NIC");
  }
  FL_TRY(attacher_.detach(record, context.deadline, lost));
  if (holders_) {
    FL_TRY(holders_->forget(record.claim.uid),
           "record for the other drivers of this node that the NIC is free");
  }
  const auto plan = parse_claim_plan(record.plan, *registry_);
  if (plan && shares_any(*plan)) {
    offers_.undone(record.claim.uid);
    host_->republish();
  }
  return {};
}

bool NetDriver::shares_any(const ClaimPlan& plan) {
  return std::ranges::any_of(devices::all_parts(plan.devices), [](const DevicePlan* device) {
    return devices::netdev::shared_link(*device).has_value();
  });
}

void NetDriver::restored(const std::vector<dra::ClaimRecord>& records) {
  offers_.repair_holders();
  attacher_.adopt(records);
  if (const auto swept = attacher_.sweep(records); !swept) {
    log::warn("links that were left behind could not be looked for", {{"error", swept.error().what()}});
  }
  if (ways_) {
    ways_->open(records);
  }
}

void NetDriver::stopping() {
  if (ways_) {
    ways_->close();
  }
}

namespace {

/// The identity of a NIC in a record of version 0.1: enough to recognize it, and its PCI address. The record
/// does not say whether the MAC is permanent (a VF's is not).
dra::DeviceIdentity identity_of_old_record(const sys::InventoryLink& was) {
  const devices::NicIdentity known = devices::identity_of(was, {});
  dra::DeviceIdentity identity{.key = known.name};
  if (!known.pci_bus_id.empty()) {
    identity.data = devices::to_json({.name = known.name, .pci_bus_id = known.pci_bus_id});
  }
  return identity;
}

/// Without even that: the claim has a link on the NIC of this name.
dra::DeviceIdentity identity_of_old_name(const devices::NodeOptions& options, const std::string& device) {
  auto socket = netlink::Socket::open();
  auto inventory = socket ? sys::read_inventory(*socket, {.sysfs_root = options.sysfs_root}) : socket.error();
  if (!inventory) {
    log::warn("cannot determine which NIC a claim of an older version has",
              {{"device", device}, {"error", inventory.error().what()}});
    return {};
  }
  const devices::NodeView node(*std::move(inventory), options);
  const sys::InventoryLink* nic = node.find_device(device);
  return nic == nullptr ? dra::DeviceIdentity() : dra::DeviceIdentity{.key = node.device_name(*nic)};
}

}  // namespace

std::vector<dra::DeviceIdentity> NetDriver::identities(const dra::ClaimRecord& record) const {
  std::vector<dra::DeviceIdentity> identities(record.claim.devices.size());
  const auto plan = parse_claim_plan(record.plan, *registry_);
  if (!plan || plan->devices.size() != identities.size()) {
    return identities;
  }
  for (std::size_t i = 0; i < identities.size(); ++i) {
    const DevicePlan& device = plan->devices[i];
    const std::string& name = record.claim.devices[i].device;
    if (device.admin_access || name == devices::kVirtualDevice) {
      continue;
    }
    if (!device.key.empty()) {
      identities[i] = {.key = device.key, .data = device.identity};
    } else if (const auto was = devices::netdev::taken_nic(device)) {
      identities[i] = identity_of_old_record(*was);
    } else if (device.name.type == "netdev") {
      identities[i] = identity_of_old_name(options_.node, name);
    }
  }
  return identities;
}

}  // namespace fairlead::agent
