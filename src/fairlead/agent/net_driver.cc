// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/net_driver.h"

#include <algorithm>
#include <memory>

#include "fairlead/agent/claim_names.h"
#include "fairlead/core/fd.h"
#include "fairlead/core/log.h"
#include "fairlead/devices/netdev/interface_names.h"
#include "fairlead/devices/netdev/link_book.h"
#include "fairlead/devices/netdev/link_use.h"
#include "fairlead/devices/node_questions.h"
#include "fairlead/devices/other_claims.h"
#include "fairlead/policy/policy.h"

namespace fairlead::agent {

using devices::AttachMode;
using devices::DevicePlan;
using devices::LinkShare;
using devices::OtherDevice;

namespace {

/// The other claims, and the devices of this one that were planned already: two devices of one claim cannot
/// share one either.
class OthersOf final : public devices::OtherClaims {
 public:
  OthersOf(const ClaimBook& book, const dra::Claim& claim)
      : book_(&book),
        own_(std::make_shared<devices::PlannedClaim>(
            devices::PlannedClaim{.namespace_ = claim.namespace_, .name = claim.name, .uid = claim.uid})) {}

  void add_own(const DevicePlan& device) {
    own_->devices.push_back(device);
    own_links_.add(own_, own_->devices.size() - 1);
  }
  [[nodiscard]] std::optional<OtherDevice> find_on(const IsLink& is_link, LinkShare share) const override {
    auto found = book_->find_on(is_link, share, own_->uid);
    return found ? std::move(found) : own_links_.find_on(is_link, share);
  }
  [[nodiscard]] std::optional<OtherDevice> find_want(const IsLink& is_link,
                                                     const std::string& want) const override {
    auto found = book_->find_want(is_link, want, own_->uid);
    return found ? std::move(found) : own_links_.find_want(is_link, want);
  }
  [[nodiscard]] std::optional<OtherDevice> find_other_value(const IsLink& is_link, const std::string& what,
                                                            const std::string& value) const override {
    auto found = book_->find_other_value(is_link, what, value, own_->uid);
    return found ? std::move(found) : own_links_.find_other_value(is_link, what, value);
  }

 private:
  const ClaimBook* book_;
  std::shared_ptr<devices::PlannedClaim> own_;
  devices::netdev::LinkBook own_links_;
};

/// For a claim of another namespace the pod's author learns only that it exists.
std::string name_for(const dra::Claim& reader, const devices::PlannedClaim& other) {
  return other.namespace_ == reader.namespace_ ? "the claim " + other.name : "another claim";
}

}  // namespace

Result<std::unique_ptr<NetDriver>> NetDriver::create(dra::Host& host, NetDriverOptions options,
                                                     const devices::Registry& registry) {
  auto driver = std::unique_ptr<NetDriver>(new NetDriver(host, std::move(options), registry));
  PolicyWatch::Options policy = driver->options_.policy;
  policy.driver = driver->driver_name();
  FL_ASSIGN(driver->policy_, PolicyWatch::start(std::move(policy), registry));
  if (auto ways = driver->options_.ways) {
    ways->guard_socket = driver->options_.guard_socket;
    FL_ASSIGN(driver->ways_, AttachWays::create(*std::move(ways), driver->service_));
  }
  return driver;
}

Result<> NetDriver::ready() const {
  FL_TRY(offers_.ready());
  return policy_->ready();
}

std::string NetDriver::metrics_text() const { return offers_.metrics_text() + policy_->metrics_text(); }

Result<devices::Resolved> NetDriver::resolve(const policy::Policy& policy, const dra::Claim& claim,
                                             const dra::AllocatedDevice& device,
                                             const devices::Kind* kind_without_parameters) const {
  FL_ASSIGN(auto decision, policy::decide({.kinds = registry_,
                                           .policy = &policy,
                                           .claim_namespace = claim.namespace_,
                                           .device = &device,
                                           .kind_without_parameters = kind_without_parameters}));
  return std::move(decision).take();
}

Result<std::string> NetDriver::plan(const dra::Claim& claim) {
  FL_ASSIGN(const auto policy, policy_->policy());
  FL_ASSIGN(const auto node, offers_.known_node());
  FL_TRY(book_.refresh(*host_));
  const PlannedClaims in_its_pods = book_.in_pods(claim.reserved_for, claim.uid);
  FL_TRY(check_variables(claim, in_its_pods));
  const auto names = names_of(in_its_pods);
  OthersOf others(book_, claim);
  const auto add_own = [&](const DevicePlan& part) { others.add_own(part); };
  const devices::NodeQuestions ask = devices::questions_to_kernel();
  ClaimPlan plan{.mode = options_.node.mode};
  for (const dra::AllocatedDevice& device : claim.devices) {
    if (device.admin_access) {
      const auto parameters = std::ranges::find_if(device.config, [](const dra::DeviceConfig& config) {
        return !config.from_class || !policy::is_field_policy(config.parameters);
      });
      if (parameters != device.config.end()) {
        return Error(Code::kInvalid,
                     parameters->path + ": the request \"" + device.request +
                         "\" has adminAccess, which only watches a device; it takes no parameters");
      }
      plan.devices.push_back({.admin_access = true, .request = device.request});
      continue;
    }
    const devices::PlanInput input{.device = &device,
                                   .node = &node->links,
                                   .facts = node->facts.get(),
                                   .claim = &claim,
                                   .others = &others,
                                   .ask = &ask,
                                   .part_planned = add_own};
    FL_ASSIGN(const auto allocated, registry_->find(input));
    FL_ASSIGN(const auto resolved, resolve(*policy, claim, device, allocated.kind_without_parameters));
    FL_ASSIGN(DevicePlan planned, devices::Registry::plan(input, allocated, resolved));
    if (planned.parts.empty()) {
      others.add_own(planned);
    }
    plan.devices.push_back(std::move(planned));
  }
  FL_TRY(devices::netdev::assign_interface_names(plan.devices, names));
  offers_.planned(claim.uid);
  std::string text = to_json(plan);
  attacher_.plans().keep(text, std::make_shared<const ClaimPlan>(std::move(plan)));
  return text;
}

std::string NetDriver::plan_for_previous(const std::string& plan) const {
  const auto read = attacher_.plans().read(plan);
  return read ? plan_for_version_0_1(**read) : plan;
}

Result<std::unique_ptr<dra::Admission>> NetDriver::begin_admission(const dra::ClaimRecord& record,
                                                                   const dra::RecordSource& records,
                                                                   const dra::CallContext& context) {
  const auto plan = attacher_.plans().read(record.plan);
  if (!plan) {
    return nullptr;  // nothing was taken yet
  }
  const devices::PlannedClaim own = planned_claim(record.claim, **plan);
  FL_TRY(book_.refresh(records));
  if (const auto conflict = book_.find_conflict(own)) {
    return Error(Code::kConflict, conflict->what + " went to " + name_for(record.claim, *conflict->with) +
                                      (conflict->of_same_pod ? " of the same pod" : "") +
                                      " while this claim was planned");
  }
  return holders_ ? holders_->admit(nic_claim(record, **plan), context) : nullptr;
}

NicClaim NetDriver::nic_claim(const dra::ClaimRecord& record, const ClaimPlan& plan) {
  return {.uid = record.claim.uid,
          .namespace_ = record.claim.namespace_,
          .name = record.claim.name,
          .uses = nic_uses(devices::netdev::link_uses(plan.devices))};
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

Result<std::optional<std::vector<cdi::ContainerEdits>>> NetDriver::prepare_again(
    const dra::ClaimRecord& record, const dra::CallContext& /*context*/) {
  const auto plan = attacher_.plans().read(record.plan);
  if (!plan) {
    return std::optional<std::vector<cdi::ContainerEdits>>();  // of another version: it stays as it is
  }
  return attacher_.prepare_changed(*plan, record.claim.uid, environment_names(record.claim),
                                   record.prepared.device_edits);
}

Result<> NetDriver::unprepare(const dra::ClaimRecord& record, const dra::CallContext& context) {
  const auto plan = attacher_.plans().read(record.plan);
  std::vector<std::string> lost;
  if (holders_ && plan) {
    FL_ASSIGN(lost, holders_->lost(nic_claim(record, **plan), context),
              "find out whether the claim still has its NIC");
  }
  FL_TRY(attacher_.detach(record, context.deadline, lost));
  if (holders_) {
    FL_TRY(holders_->forget(record.claim.uid),
           "record for the other drivers of this node that the NIC is free");
  }
  if (plan && shares_any(**plan)) {
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
  const auto plan = attacher_.plans().read(record.plan);
  if (!plan || (*plan)->devices.size() != identities.size()) {
    return identities;
  }
  for (std::size_t i = 0; i < identities.size(); ++i) {
    const DevicePlan& device = (*plan)->devices[i];
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
