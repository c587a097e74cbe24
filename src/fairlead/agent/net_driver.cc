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

/// Claims change while the node is being read.
constexpr int kDiscoverTries = 4;

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

/// Runs before the node's links are first read, so that no change is missed. Waits for the first read of the
/// Node object, so that a node's NICs do not vanish from its slices briefly at each start.
void NetDriver::watch_node() {
  constexpr std::chrono::seconds kFirstAnswer{2};
  auto watch = sys::FactsWatcher::start({.sysfs_root = options_.node.sysfs_root},
                                        [host = host_] { host->republish(); });
  if (watch) {
    facts_ = *std::move(watch);
    known_facts_ = facts_.get();
  } else {
    log::error("changes of links are seen at the next resync only", {{"error", watch.error().what()}});
  }
  if (options_.holders) {
    auto holders =
        HoldersWatch::start(options_.holders->dir, driver_name(), [host = host_] { host->republish(); });
    if (holders) {
      holders_watch_ = *std::move(holders);
    } else {
      log::warn("which NICs other drivers take and give back is seen at the next resync only",
                {{"error", holders.error().what()}});
    }
  }
  if (options_.node.memory) {
    node_reader_ = std::make_unique<NodeReader>(NodeReaderOptions{
        .read = [host = host_](std::stop_token stop) { return host->node_addresses(std::move(stop)); },
        .memory = options_.node.memory,
        .changed = [host = host_] { host->republish(); }});
    node_reader_->wait_first(kFirstAnswer);
  }
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

Result<std::vector<dra::Pool>> NetDriver::discover() {
  if (options_.watch_node) {
    std::call_once(discovered_, [this] { watch_node(); });
  }
  FL_ASSIGN(netlink::Socket socket, netlink::Socket::open(), "read this node's links");
  look_after_devices();
  repair_holders();
  // A NIC that moves between the two reads must not be missed in both: the records are the same before and
  // after the links were read, or both are used.
  FL_ASSIGN(auto used, in_use());
  for (int tries = 1;; ++tries) {
    FL_ASSIGN(const auto node, look_at_node(socket, Look::kAgain, used.shared));
    FL_ASSIGN(auto after, in_use());
    const bool same =
        std::ranges::equal(used.held, after.held, {}, &devices::HeldDevice::name, &devices::HeldDevice::name);
    if (same || tries == kDiscoverTries) {
      if (!same) {
        used.held.insert(used.held.end(), after.held.begin(), after.held.end());
      }
      note_withheld(node, used.held);
      return std::vector<dra::Pool>{{.devices = devices::published_devices(node, used.held)}};
    }
    used = std::move(after);
  }
}

/// The watcher's facts are as new as the kernel's last event; what sysfs alone says (a PF's number of VFs) may be newer,
/// so discover() reads everything, and what a plan is about is read again just before the effect.
Result<sys::Inventory> NetDriver::read_links(netlink::Socket& socket, Look look) const {
  sys::FactsWatcher* watcher = known_facts_;
  if (watcher == nullptr) {
    return sys::read_inventory(socket, {.sysfs_root = options_.node.sysfs_root});
  }
  FL_ASSIGN(const auto facts, look == Look::kAgain ? watcher->read_again() : watcher->facts());
  return facts->inventory();
}

Result<devices::NodeView> NetDriver::look_at_node(netlink::Socket& socket, Look look,
                                                  std::vector<sys::InventoryLink> shared) {
  FL_ASSIGN(sys::Inventory inventory, read_links(socket, look), "read this node's links");
  if (options_.node.memory) {
    options_.node.memory->remember_uplinks(inventory);
  }
  return devices::NodeView(std::move(inventory), options_.node, std::move(shared), other_drivers());
}

devices::OtherDrivers NetDriver::other_drivers() const {
  devices::OtherDrivers others;
  if (!holders_) {
    return others;
  }
  const auto opened = holders_->open();
  const auto holders = opened ? holders_->of_others() : opened.error();
  if (!holders) {
    others.problem = holders.error().what();
    return others;
  }
  for (const NicHolders::Holder& holder : *holders) {
    // Whole or shared, the first in order: one reason is enough.
    others.nics.emplace(holder.nic,
                        holder.whole ? "a claim of the driver " + holder.driver + " has it"
                                     : "interfaces of claims of the driver " + holder.driver + " sit on it");
  }
  return others;
}

Result<std::vector<NicClaim>> NetDriver::nic_claims() {
  std::vector<NicClaim> claims;
  FL_ASSIGN(const auto records, host_->records(), "find out which NICs claims have");
  const Lock lock(nic_uses_mutex_);
  std::map<std::string, KnownNics> still_there;
  std::optional<sys::Inventory> inventory;  // if it is needed
  for (const dra::ClaimRecord& record : records) {
    KnownNics& known = still_there[record.claim.uid];
    known = std::move(known_nics_[record.claim.uid]);
    if (known.plan != record.plan) {
      std::vector<LinkUse> links = uses_of(record).links;
      // A record of version 0.1 has the parent's name only. If no link has that name now, it is left out, and
      // looked up again the next time.
      const auto is_known_by_name = [](const LinkUse& use) { return !use.link.link.index.valid(); };
      if (std::ranges::any_of(links, is_known_by_name) && !inventory) {
        FL_ASSIGN(netlink::Socket socket, netlink::Socket::open(), "read this node's links");
        FL_ASSIGN(inventory, sys::read_inventory(socket, {.sysfs_root = options_.node.sysfs_root}),
                  "read this node's links");
      }
      const auto missing = std::erase_if(links, [&](LinkUse& use) {
        const sys::InventoryLink* link =
            is_known_by_name(use) ? inventory->find(use.link.link.name) : &use.link;
        if (link != nullptr && link != &use.link) {
          use.link = *link;
        }
        return link == nullptr;
      });
      known = {.plan = missing == 0 ? record.plan : "", .uses = nic_uses(links)};
    }
    claims.push_back({.uid = record.claim.uid,
                      .namespace_ = record.claim.namespace_,
                      .name = record.claim.name,
                      .uses = known.uses,
                      .is_prepared = record.state == dra::ClaimState::kPrepared});
  }
  known_nics_ = std::move(still_there);
  return claims;
}

void NetDriver::repair_holders() {
  if (!holders_) {
    return;
  }
  const auto repaired = [&]() -> Result<> {
    FL_TRY(holders_->open());
    FL_ASSIGN(const auto claims, nic_claims());
    FL_ASSIGN(const bool needed, holders_->needs_repair(claims));
    return needed ? holders_->repair([this] { return nic_claims(); }) : Result<>();
  }();
  if (!repaired) {
    log::warn("cannot record which NICs this driver has for the other drivers of this node",
              {{"error", repaired.error().what()}});
  }
}

void NetDriver::note_withheld(const devices::NodeView& node, const std::vector<devices::HeldDevice>& held) {
  std::map<std::string, devices::Withheld> now;
  for (const sys::InventoryLink& link : node.inventory().links()) {
    const bool is_taken = std::ranges::any_of(held, [&](const devices::HeldDevice& device) {
      return device.was && devices::same_nic(*device.was, link.link);
    });
    if (is_taken || !node.is_candidate(link)) {
      continue;
    }
    if (auto reason = node.withheld(link)) {
      now.emplace(link.link.name, *std::move(reason));
    }
  }
  auto problem = node.problem();
  const Lock lock(withheld_mutex_);
  const auto text_of = [](const std::optional<devices::Withheld>& one) { return one ? one->text : ""; };
  if (problem && text_of(problem) != text_of(problem_)) {
    log::warn("no NIC of this node is offered", {{"reason", problem->text}});
  }
  for (const auto& [name, reason] : now) {
    const auto before = withheld_.find(name);
    const bool is_told = reason.why == devices::Withheld::Why::kNodeUnknown ||
                         reason.why == devices::Withheld::Why::kUplinkMissing ||
                         reason.why == devices::Withheld::Why::kDriversUnknown;
    if (!is_told && (before == withheld_.end() || before->second.text != reason.text)) {
      log::info("a NIC is not offered", {{"nic", name}, {"reason", reason.text}});
    }
  }
  for (const auto& [name, reason] : withheld_) {
    const sys::InventoryLink* link = now.contains(name) ? nullptr : node.find(name);
    if (link != nullptr && node.is_offered(*link)) {
      log::info("a NIC is offered again", {{"nic", name}});
    }
  }
  withheld_ = std::move(now);
  problem_ = std::move(problem);
}

Result<> NetDriver::ready() const {
  const Lock lock(withheld_mutex_);
  if (problem_) {
    return Error(Code::kUnavailable, "no NIC of this node is offered: " + problem_->text);
  }
  return {};
}

std::string NetDriver::metrics_text() const {
  std::map<std::string_view, int> counts;
  {
    const Lock lock(withheld_mutex_);
    for (const auto& [name, reason] : withheld_) {
      ++counts[to_string(reason.why)];
    }
  }
  std::string text =
      "# HELP fairlead_nics_withheld NICs of the node that are not offered, by reason.\n"
      "# TYPE fairlead_nics_withheld gauge\n";
  for (const auto& [reason, count] : counts) {
    text += "fairlead_nics_withheld{driver=\"" + driver_name() + "\",reason=\"" + std::string(reason) +
            "\"} " + std::to_string(count) + "\n";
  }
  return counts.empty() ? "" : text;
}

void NetDriver::look_after_devices() {
  devices::CallScope scope;
  const devices::Side node{.is_callers = true, .scope = &scope};
  for (const devices::Kind* kind : registry_->kinds()) {
    if (const auto done = kind->node_changed(node, options_.node); !done) {
      log::warn("what waited for a change of the node's devices could not be done",
                {{"kind", to_string(kind->name())}, {"error", done.error().what()}});
    }
  }
}

Result<std::string> NetDriver::plan(const dra::Claim& claim) {
  FL_ASSIGN(netlink::Socket socket, netlink::Socket::open(), "read this node's links");
  FL_ASSIGN(const devices::NodeView node, look_at_node(socket, Look::kKnown, {}));
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
    FL_ASSIGN(
        DevicePlan planned,
        registry_->plan(
            {.device = &device, .node = &node, .claim = &claim, .others = &planned_claims, .ask = &ask}));
    own->devices.push_back(planned);
    plan.devices.push_back(std::move(planned));
  }
  FL_TRY(devices::netdev::assign_interface_names(plan.devices, names));
  {
    const Lock lock(undone_mutex_);
    undone_.erase(claim.uid);
  }
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
        now.planned = std::make_shared<const devices::PlannedClaim>(
            devices::PlannedClaim{.namespace_ = claim.namespace_,
                                  .name = claim.name,
                                  .uid = claim.uid,
                                  .devices = std::move(plan->devices),
                                  .reserved_for = claim.reserved_for,
                                  .variables = variables_of(claim)});
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
  for (const DevicePlan& device : plan->devices) {
    if (auto link = devices::netdev::link_use(device)) {
      uses.links.push_back(*std::move(link));
    }
    if (device.body != nullptr && !device.body->name_in_pod().empty()) {
      uses.interface_names.push_back(device.body->name_in_pod());
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
  FL_ASSIGN(const ClaimPlan plan, parse_claim_plan(plan_text, *registry_));
  dra::Prepared prepared;
  FL_ASSIGN(prepared.device_edits, attacher_.prepare(plan, claim.uid, environment_names(claim)));
  AttachState state;
  if (plan.mode == AttachMode::kNetdevices) {
    FL_ASSIGN(const auto names, attacher_.stage(plan, claim.uid));
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (!names[i].empty()) {
        prepared.device_edits[i].net_devices = {
            {.host_interface_name = names[i], .name = plan.devices[i].body->name_in_pod()}};
      }
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
    {
      const Lock lock(undone_mutex_);
      undone_.insert(record.claim.uid);
    }
    host_->republish();
  }
  return {};
}

bool NetDriver::shares_any(const ClaimPlan& plan) {
  return std::ranges::any_of(plan.devices, [](const DevicePlan& device) {
    return devices::netdev::shared_link(device).has_value();
  });
}

void NetDriver::restored(const std::vector<dra::ClaimRecord>& records) {
  repair_holders();
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

Result<NetDriver::InUse> NetDriver::in_use() {
  InUse used;
  const auto held_before = attacher_.held_now();
  FL_ASSIGN(const auto records, host_->records(), "find out which links claims have");
  attacher_.let_go_of_others(held_before, records);
  const Lock lock(undone_mutex_);
  std::erase_if(undone_, [&](const std::string& uid) {
    return std::ranges::none_of(records, [&](const auto& record) { return record.claim.uid == uid; });
  });
  for (const dra::ClaimRecord& record : records) {
    const auto plan = parse_claim_plan(record.plan, *registry_);
    if (!plan || plan->devices.size() != record.claim.devices.size()) {
      continue;  // nothing was taken yet
    }
    for (std::size_t i = 0; i < plan->devices.size(); ++i) {
      const DevicePlan& device = plan->devices[i];
      const std::string& name = record.claim.devices[i].device;
      if (!device.admin_access && name != devices::kVirtualDevice) {
        used.held.push_back({.name = name, .nic = device.key, .was = devices::netdev::taken_nic(device)});
      }
      if (auto link = devices::netdev::shared_link(device); link && !undone_.contains(record.claim.uid)) {
        used.shared.push_back(*std::move(link));
      }
    }
  }
  return used;
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
    } else {
      identities[i] = identity_of_old_name(options_.node, name);
    }
  }
  return identities;
}

}  // namespace fairlead::agent
