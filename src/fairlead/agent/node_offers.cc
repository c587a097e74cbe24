// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/node_offers.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "fairlead/core/log.h"
#include "fairlead/devices/offers.h"
#include "fairlead/devices/rdma/rdma_offers.h"

namespace fairlead::agent {

namespace {

/// Claims change while the node is being read.
constexpr int kDiscoverTries = 4;

}  // namespace

/// Runs before the node's links are first read, so that no change is missed. Waits for the first read of the
/// Node object, so that a node's NICs do not vanish from its slices briefly at each start.
void NodeOffers::watch_node() {
  constexpr std::chrono::seconds kFirstAnswer{2};
  auto watch = sys::FactsWatcher::start({.sysfs_root = parts_.node->sysfs_root},
                                        [host = parts_.host] { host->republish(); });
  if (watch) {
    facts_ = *std::move(watch);
    known_facts_ = facts_.get();
  } else {
    log::error("changes of links are seen at the next resync only", {{"error", watch.error().what()}});
  }
  if (parts_.holders != nullptr) {
    auto holders = HoldersWatch::start(parts_.holders->dir(), driver_name(),
                                       [host = parts_.host] { host->republish(); });
    if (holders) {
      holders_watch_ = *std::move(holders);
    } else {
      log::warn("which NICs other drivers take and give back is seen at the next resync only",
                {{"error", holders.error().what()}});
    }
  }
  if (parts_.node->memory) {
    node_reader_ = std::make_unique<NodeReader>(NodeReaderOptions{
        .read = [host = parts_.host](std::stop_token stop) { return host->node_addresses(std::move(stop)); },
        .memory = parts_.node->memory,
        .changed = [host = parts_.host] { host->republish(); }});
    node_reader_->wait_first(kFirstAnswer);
  }
}

Result<std::vector<dra::Pool>> NodeOffers::discover() {
  if (parts_.watch_node) {
    std::call_once(discovered_, [this] { watch_node(); });
  }
  look_after_devices();
  repair_holders();
  // A NIC that moves between the two reads must not be missed in both: the records are the same before and
  // after the links were read, or both are used.
  FL_ASSIGN(auto used, in_use());
  for (int tries = 1;; ++tries) {
    FL_ASSIGN(const auto facts, read_facts(Look::kAgain), "read this node's links");
    remember_uplinks(*facts);
    const devices::NodeView links(facts->inventory(), *parts_.node, used.shared, other_drivers(),
                                  devices::rdma::rdma_links(*facts, parts_.node->rdma_view, used.held));
    FL_ASSIGN(auto after, in_use());
    const bool same =
        std::ranges::equal(used.held, after.held, {}, &devices::HeldDevice::name, &devices::HeldDevice::name);
    if (same || tries == kDiscoverTries) {
      if (!same) {
        used.held.insert(used.held.end(), after.held.begin(), after.held.end());
      }
      devices::Offers offers =
          parts_.registry->offers({.node = &links, .facts = facts.get(), .held = used.held});
      note_withheld(offers);
      return std::vector<dra::Pool>{{.devices = devices::published_devices(std::move(offers), used.held)}};
    }
    used = std::move(after);
  }
}

/// The watcher's facts are as new as the kernel's last event; what sysfs alone says (a PF's number of VFs) may be newer,
/// so discover() reads everything, and what a plan is about is read again just before the effect.
Result<std::shared_ptr<const sys::NodeFacts>> NodeOffers::read_facts(Look look) const {
  if (sys::FactsWatcher* watcher = known_facts_; watcher != nullptr) {
    return look == Look::kAgain ? watcher->read_again() : watcher->facts();
  }
  FL_ASSIGN(netlink::Socket socket, netlink::Socket::open());
  FL_ASSIGN(sys::NodeFacts facts, sys::read_node_facts(socket, {.sysfs_root = parts_.node->sysfs_root}));
  return std::make_shared<const sys::NodeFacts>(std::move(facts));
}

Result<std::shared_ptr<const NodeOffers::Node>> NodeOffers::known_node() const {
  FL_ASSIGN(auto facts, read_facts(Look::kKnown), "read this node's links");
  devices::OtherDrivers others = other_drivers();
  const Lock lock(known_mutex_);
  const bool same_facts = known_.node != nullptr && known_.node->facts == facts;
  if (!same_facts) {
    remember_uplinks(*facts);
  }
  // Before the view is made, so that what changes meanwhile is seen the next time.
  const std::uint64_t memory = parts_.node->memory ? parts_.node->memory->version() : 0;
  if (!same_facts || known_.memory != memory || known_.others != others) {
    devices::NodeView links(facts->inventory(), *parts_.node, {}, others,
                            devices::rdma::rdma_links(*facts, parts_.node->rdma_view, {}));
    known_ = {
        .node = std::make_shared<const Node>(Node{.facts = std::move(facts), .links = std::move(links)}),
        .memory = memory,
        .others = std::move(others)};
  }
  return known_.node;
}

void NodeOffers::remember_uplinks(const sys::NodeFacts& facts) const {
  if (parts_.node->memory) {
    parts_.node->memory->remember_uplinks(facts.inventory());
  }
}

devices::OtherDrivers NodeOffers::other_drivers() const {
  devices::OtherDrivers others;
  if (parts_.holders == nullptr) {
    return others;
  }
  const auto opened = parts_.holders->open();
  const auto holders = opened ? parts_.holders->of_others() : opened.error();
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

Result<std::vector<NicClaim>> NodeOffers::nic_claims() {
  FL_TRY(parts_.book->refresh(*parts_.host));
  return parts_.book->nic_claims([&]() -> Result<sys::Inventory> {
    FL_ASSIGN(netlink::Socket socket, netlink::Socket::open());
    return sys::read_inventory(socket, {.sysfs_root = parts_.node->sysfs_root});
  });
}

void NodeOffers::repair_holders() {
  if (parts_.holders == nullptr) {
    return;
  }
  const auto repaired = [&]() -> Result<> {
    FL_TRY(parts_.holders->open());
    FL_ASSIGN(const auto claims, nic_claims());
    FL_ASSIGN(const bool needed, parts_.holders->needs_repair(claims));
    return needed ? parts_.holders->repair([this] { return nic_claims(); }) : Result<>();
  }();
  if (!repaired) {
    log::warn("cannot record which NICs this driver has for the other drivers of this node",
              {{"error", repaired.error().what()}});
  }
}

void NodeOffers::note_withheld(const devices::Offers& offers) {
  std::map<std::string, devices::NotOffered> now;
  std::set<std::string> offered;
  for (const devices::Offer& offer : offers.devices) {
    const std::string& name = offer.called.empty() ? offer.device.name : offer.called;
    if (offer.withheld) {
      now.emplace(name, *offer.withheld);
    } else {
      offered.insert(name);
    }
  }
  const Lock lock(withheld_mutex_);
  const auto text_of = [](const std::optional<devices::NotOffered>& one) { return one ? one->text : ""; };
  if (offers.problem && text_of(offers.problem) != text_of(problem_)) {
    log::warn("devices of this node are not offered", {{"reason", offers.problem->text}});
  }
  for (const auto& [name, reason] : now) {
    const auto before = withheld_.find(name);
    if (!reason.is_general && (before == withheld_.end() || before->second.text != reason.text)) {
      log::info("a device is not offered", {{"device", name}, {"reason", reason.text}});
    }
  }
  for (const auto& [name, reason] : withheld_) {
    if (!now.contains(name) && offered.contains(name)) {
      log::info("a device is offered again", {{"device", name}});
    }
  }
  withheld_ = std::move(now);
  problem_ = offers.problem;
}

Result<> NodeOffers::ready() const {
  const Lock lock(withheld_mutex_);
  if (problem_) {
    return Error(Code::kUnavailable, problem_->text);
  }
  return {};
}

std::string NodeOffers::metrics_text() const {
  std::map<std::string, int> counts;
  {
    const Lock lock(withheld_mutex_);
    for (const auto& [name, reason] : withheld_) {
      ++counts[reason.reason];
    }
  }
  std::string text =
      "# HELP fairlead_nics_withheld NICs and other devices of the node that are not offered, by reason.\n"
      "# TYPE fairlead_nics_withheld gauge\n";
  for (const auto& [reason, count] : counts) {
    text += "fairlead_nics_withheld{driver=\"" + driver_name() + "\",reason=\"" + reason + "\"} " +
            std::to_string(count) + "\n";
  }
  return counts.empty() ? "" : text;
}

void NodeOffers::look_after_devices() {
  devices::CallScope scope;
  const devices::Side node{.is_callers = true, .scope = &scope};
  for (const devices::Kind* kind : parts_.registry->kinds()) {
    if (const auto done = kind->node_changed(node, *parts_.node); !done) {
      log::warn("what waited for a change of the node's devices could not be done",
                {{"kind", to_string(kind->name())}, {"error", done.error().what()}});
    }
  }
}

void NodeOffers::undone(const std::string& claim_uid) {
  const Lock lock(undone_mutex_);
  undone_.insert(claim_uid);
}

void NodeOffers::planned(const std::string& claim_uid) {
  const Lock lock(undone_mutex_);
  undone_.erase(claim_uid);
}

Result<NodeOffers::InUse> NodeOffers::in_use() {
  const auto held_before = parts_.attacher->held().now();
  FL_TRY(parts_.book->refresh(*parts_.host));
  if (!held_before.empty()) {
    FL_ASSIGN(const auto records, parts_.host->shared_records(), "find out which links claims have");
    parts_.attacher->held().let_go_of_others(held_before, records);
  }
  const Lock lock(undone_mutex_);
  std::erase_if(undone_, [&](const std::string& uid) { return !parts_.book->has(uid); });
  return InUse{.held = parts_.book->held(), .shared = parts_.book->shared_links(undone_)};
}

}  // namespace fairlead::agent
