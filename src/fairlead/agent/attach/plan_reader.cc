// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/attach/plan_reader.h"

#include <algorithm>
#include <utility>

namespace fairlead::agent {

Result<PlanPtr> PlanReader::read(const std::string& text) const {
  {
    const Lock lock(mutex_);
    if (const auto found = known_.find(text); found != known_.end()) {
      found->second.used = ++uses_;
      return found->second.plan;
    }
  }
  FL_ASSIGN(ClaimPlan parsed, parse_claim_plan(text, *kinds_));
  auto plan = std::make_shared<const ClaimPlan>(std::move(parsed));
  keep(text, plan);
  return plan;
}

void PlanReader::keep(const std::string& text, PlanPtr plan) const {
  const Lock lock(mutex_);
  if (known_.size() >= kKept) {
    known_.erase(std::ranges::min_element(known_, {}, [](const auto& entry) { return entry.second.used; }));
  }
  known_.insert_or_assign(text, Known{.plan = std::move(plan), .used = ++uses_});
}

Result<Attachment> read_attachment(const dra::ClaimRecord& record, const PlanReader& plans) {
  FL_ASSIGN(PlanPtr plan, plans.read(record.plan));
  FL_ASSIGN(AttachState state, parse_attach_state(record.prepared.state));
  return Attachment{.plan = std::move(plan), .state = std::move(state)};
}

}  // namespace fairlead::agent
