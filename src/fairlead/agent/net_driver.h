// SPDX-License-Identifier: Apache-2.0
// The fairlead driver as the framework calls it.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fairlead/agent/attach/attach.h"
#include "fairlead/agent/attach/attach_service.h"
#include "fairlead/agent/claim_book.h"
#include "fairlead/agent/claim_names.h"
#include "fairlead/agent/nic_holders.h"
#include "fairlead/agent/node_offers.h"
#include "fairlead/agent/policy_watch.h"
#include "fairlead/agent/ways/attach_ways.h"
#include "fairlead/core/result.h"
#include "fairlead/devices/node.h"
#include "fairlead/devices/registry.h"
#include "fairlead/dra/base/driver.h"
#include "fairlead/dra/base/host.h"

namespace fairlead::agent {

struct NetDriverOptions {
  devices::NodeOptions node;
  /// The hook's program, absolute, as the container runtime sees it. Netdevices mode: empty if there is no
  /// guard (NodeOptions::has_guard).
  std::string guard_path;
  /// The socket where the hook reaches the agent.
  std::string guard_socket;
  /// The hook's timeout in the runtime; the agent responds earlier.
  std::chrono::seconds hook_timeout{30};
  /// The ways by which claims are attached; guard_socket above is the guard's. nullopt: none are opened, and
  /// only the caller attaches claims (tests).
  std::optional<AttachWaysOptions> ways = std::nullopt;
  AttachReportsOptions reports = {};
  /// Who may write which field of a claim.
  PolicyWatch::Options policy = {};
  /// Where the drivers of this node record which driver has a NIC, and where this one's records are. nullopt:
  /// there is no other driver.
  std::optional<NicHolders::Options> holders = std::nullopt;
  /// discover() is called when links change, and the Node object is read (NodeOptions::memory).
  bool watch_node = true;
};

class NetDriver final : public dra::Driver {
 public:
  /// Host and registry must outlive it. Errors: a way of attaching (NetDriverOptions::ways) cannot be opened.
  static Result<std::unique_ptr<NetDriver>> create(dra::Host& host, NetDriverOptions options,
                                                   const devices::Registry& registry);

  [[nodiscard]] const std::string& driver_name() const { return options_.node.driver_name; }

  Result<std::vector<dra::Pool>> discover() override { return offers_.discover(); }
  Result<std::string> plan(const dra::Claim& claim) override;
  [[nodiscard]] std::string plan_for_previous(const std::string& plan) const override;
  Result<std::unique_ptr<dra::Admission>> begin_admission(const dra::ClaimRecord& record,
                                                          const dra::RecordSource& records,
                                                          const dra::CallContext& context) override;
  Result<dra::Prepared> prepare(const dra::Claim& claim, const std::string& plan,
                                const dra::CallContext& context) override;
  Result<std::optional<std::vector<cdi::ContainerEdits>>> prepare_again(
      const dra::ClaimRecord& record, const dra::CallContext& context) override;
  Result<> unprepare(const dra::ClaimRecord& record, const dra::CallContext& context) override;
  [[nodiscard]] std::vector<dra::DeviceIdentity> identities(const dra::ClaimRecord& record) const override;
  void restored(const std::vector<dra::ClaimRecord>& records) override;
  void stopping() override;
  /// An error: the node's own links cannot be determined, so no NIC is offered; or the policy file is bad.
  [[nodiscard]] Result<> ready() const override;
  /// How many NICs are withheld, by reason, and what became of the policy file's contents.
  [[nodiscard]] std::string metrics_text() const override;
  dra::ClaimUse use_of(const dra::ClaimRecord& record) override { return attacher_.use_of(record); }

  [[nodiscard]] Attacher& attacher() { return attacher_; }
  [[nodiscard]] AttachService& attach_service() { return service_; }

 private:
  NetDriver(dra::Host& host, NetDriverOptions options, const devices::Registry& registry)
      : options_(std::move(options)),
        host_(&host),
        registry_(&registry),
        attacher_(registry, options_.node, host),
        book_(attacher_.plans()),
        service_(attacher_, host, options_.node.driver_name, options_.reports),
        holders_(options_.holders ? std::optional<NicHolders>(*options_.holders) : std::nullopt),
        offers_({.host = &host,
                 .registry = &registry,
                 .node = &options_.node,
                 .attacher = &attacher_,
                 .book = &book_,
                 .holders = holders_ ? &*holders_ : nullptr,
                 .watch_node = options_.watch_node}) {}
  /// What the device's parameters amount to, if the claim may have that.
  [[nodiscard]] Result<devices::Resolved> resolve(const policy::Policy& policy, const dra::Claim& claim,
                                                  const dra::AllocatedDevice& device,
                                                  const devices::Kind* kind_without_parameters) const;
  [[nodiscard]] static bool shares_any(const ClaimPlan& plan);
  [[nodiscard]] static NicClaim nic_claim(const dra::ClaimRecord& record, const ClaimPlan& plan);
  [[nodiscard]] cdi::Hook guard_hook(const std::string& claim_uid) const;

  const NetDriverOptions options_;
  dra::Host* host_;
  const devices::Registry* registry_;
  Attacher attacher_;
  ClaimBook book_;
  AttachService service_;
  std::unique_ptr<AttachWays> ways_;
  std::optional<NicHolders> holders_;
  std::unique_ptr<PolicyWatch> policy_;
  NodeOffers offers_;  // last: its threads use the host
};

}  // namespace fairlead::agent
