// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/attach/roll_back.h"

#include "fairlead/agent/attach/find_netns.h"
#include "fairlead/agent/attach/record.h"
#include "fairlead/core/fd.h"
#include "fairlead/core/log.h"

namespace fairlead::agent {
namespace {

Result<> mark_in(const devices::Side& side, const std::string& driver, const dra::ClaimRecord& record,
                 const ClaimPlan& plan, const devices::Registry& kinds) {
  for (std::size_t i = 0; i < plan.devices.size(); ++i) {
    const devices::DevicePlan& device = plan.devices[i];
    if (device.admin_access || !device.parts.empty()) {  // version 0.1 knows no parts
      continue;
    }
    FL_ASSIGN(const devices::Kind* kind, kinds.kind_of(device));
    FL_TRY(kind->mark_for_previous(side, {.driver = driver, .claim_uid = record.claim.uid, .index = i}));
  }
  return {};
}

Result<> mark_claim(const std::string& driver, const dra::ClaimRecord& record,
                    const devices::Registry& kinds) {
  FL_ASSIGN(const ClaimPlan plan, parse_claim_plan(record.plan, kinds));
  FL_ASSIGN(const AttachState state, parse_attach_state(record.prepared.state));
  devices::CallScope node_scope;
  FL_TRY(mark_in({.is_callers = true, .scope = &node_scope}, driver, record, plan, kinds));
  if (!state.is_in_a_pod()) {
    return {};
  }
  FL_ASSIGN(const auto found, find_netns(*state.netns, {}, state.seen_in));
  if (!found) {
    return {};  // the pod has ended
  }
  devices::CallScope scope;
  return mark_in({.netns = found->fd.get(), .scope = &scope}, driver, record, plan, kinds);
}

}  // namespace

std::size_t mark_for_previous(const std::string& driver, const std::vector<dra::ClaimRecord>& records,
                              const devices::Registry& kinds) {
  std::size_t marked = 0;
  for (const dra::ClaimRecord& record : records) {
    if (const auto done = mark_claim(driver, record, kinds); !done) {
      log::warn("cannot mark a claim's interfaces for version 0.1, which will not know them",
                {{"claim", record.claim.namespace_ + "/" + record.claim.name},
                 {"uid", record.claim.uid},
                 {"error", done.error().what()}});
      continue;
    }
    ++marked;
  }
  return marked;
}

}  // namespace fairlead::agent
