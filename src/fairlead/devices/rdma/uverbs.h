// SPDX-License-Identifier: Apache-2.0
// rdma.kind "uverbs": one RDMA device (an HCA) by its device nodes. It is no network interface, and moves nowhere: a
// pod needs no network namespace of its own for it.
#pragma once

#include "fairlead/devices/kind.h"
#include "fairlead/devices/rdma/rdma_questions.h"

namespace fairlead::devices::rdma {

class UverbsKind final : public Kind {
 public:
  explicit UverbsKind(RdmaQuestions ask = rdma_questions_to_kernel()) : ask_(std::move(ask)) {}

  [[nodiscard]] KindName name() const override { return {.type = "rdma", .kind = "uverbs"}; }
  [[nodiscard]] std::span<const fields::Field> fields() const override;
  [[nodiscard]] fields::Risk risk() const override { return fields::Risk::kOwn; }
  [[nodiscard]] Offers offers(const OfferInput& input) const override;
  Result<> check_is_same(std::string_view reported, const Offer& now, const std::string& who) const override;
  Result<DevicePlan> plan(const PlanInput& input, const fields::Values& values) const override;
  Result<PlanBodyPtr> read(std::string_view json, std::string_view name_in_pod) const override;
  [[nodiscard]] Needs needs(const PlanBody& /*body*/) const override { return {}; }
  Result<cdi::ContainerEdits> prepare(const PrepareInput& input) const override;
  [[nodiscard]] bool may_change_when_prepared() const override { return true; }
  Result<> detach(const DetachInput& /*input*/) const override { return {}; }  // prepare() changes nothing
  Result<dra::DeviceReport> inspect(const InspectInput& input) const override;

 private:
  RdmaQuestions ask_;
};

}  // namespace fairlead::devices::rdma
