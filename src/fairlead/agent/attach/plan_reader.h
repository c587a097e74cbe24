// SPDX-License-Identifier: Apache-2.0
// Reads the plans of claims (record.h). A claim that is prepared and attached has its plan read several times within
// milliseconds, which costs more than the rest of our own work: those that were read last are kept.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "fairlead/agent/attach/record.h"
#include "fairlead/core/mutex.h"
#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"
#include "fairlead/devices/registry.h"
#include "fairlead/dra/base/driver.h"

namespace fairlead::agent {

using PlanPtr = std::shared_ptr<const ClaimPlan>;

/// Any thread.
class PlanReader : private Pinned {
 public:
  /// The registry must outlive it.
  explicit PlanReader(const devices::Registry& kinds) : kinds_(&kinds) {}

  [[nodiscard]] const devices::Registry& kinds() const { return *kinds_; }

  /// parse_claim_plan(), with one object for one text as long as it is kept.
  [[nodiscard]] Result<PlanPtr> read(const std::string& text) const;
  /// Keeps what read() of the text is to return: a plan that was just made is read at once.
  void keep(const std::string& text, PlanPtr plan) const;

  /// How many texts are kept.
  static constexpr std::size_t kKept = 64;

 private:
  struct Known {
    PlanPtr plan;
    std::uint64_t used = 0;
  };
  const devices::Registry* kinds_;
  mutable Mutex mutex_;
  mutable std::unordered_map<std::string, Known> known_ FL_GUARDED_BY(mutex_);
  mutable std::uint64_t uses_ FL_GUARDED_BY(mutex_) = 0;
};

/// Both texts of a record.
struct Attachment {
  PlanPtr plan;
  AttachState state;
};
Result<Attachment> read_attachment(const dra::ClaimRecord& record, const PlanReader& plans);

}  // namespace fairlead::agent
