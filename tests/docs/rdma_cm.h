// SPDX-License-Identifier: Apache-2.0
// The example of docs/kinds.md of a device that the node has: type "rdma", kind "cm", the connection manager's
// device node with the name of a PCI function's RDMA device.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "fairlead/devices/kind.h"
#include "fairlead/formats/strict_json.h"
#include "fairlead/sys/facts/node_facts.h"

namespace fairlead::devices {

class RdmaCmKind final : public Kind {
 public:
  [[nodiscard]] KindName name() const override { return {.type = "rdma", .kind = "cm"}; }
  [[nodiscard]] std::span<const fields::Field> fields() const override { return {}; }

  [[nodiscard]] Offers offers(const OfferInput& input) const override {
    Offers offers;
    for (const sys::NetFunction& function : input.facts->functions()) {
      if (function.rdma_devices.empty()) {
        continue;
      }
      Offer offer{.device = {.name = name_of(function)}, .called = function.rdma_devices.front()};
      offer.device.attributes["type"] = std::string("rdma");
      offer.device.attributes["resource.kubernetes.io/pciBusID"] = function.pci.bdf;
      offer.withheld = withheld(function);
      offers.devices.push_back(std::move(offer));
    }
    return offers;
  }

  Result<DevicePlan> plan(const PlanInput& input, const fields::Values& /*values*/) const override {
    for (const sys::NetFunction& function : input.facts->functions()) {
      if (name_of(function) != input.device->device || function.rdma_devices.empty()) {
        continue;
      }
      if (const auto reason = withheld(function)) {
        return Error(Code::kDenied,
                     "the RDMA device " + input.device->device + " cannot be given: " + reason->text);
      }
      return DevicePlan{.body = std::make_shared<const Body>(function.rdma_devices.front())};
    }
    return Error(Code::kNotFound, "the RDMA device " + input.device->device + " is not on this node now");
  }
  Result<PlanBodyPtr> read(std::string_view json, std::string_view /*name_in_pod*/) const override {
    FL_ASSIGN(const auto document, strict_json::Document::parse(json));
    auto body = std::make_shared<const Body>(document.root().required_string("device"));
    FL_TRY(document.finish());
    return body;
  }
  [[nodiscard]] Needs needs(const PlanBody& /*body*/) const override { return {}; }

  Result<cdi::ContainerEdits> prepare(const PrepareInput& input) const override {
    const auto& body = dynamic_cast<const Body&>(*input.plan->body);
    return cdi::ContainerEdits{.env = {input.variable + "=" + body.device},
                               .device_nodes = {{.path = "/dev/infiniband/rdma_cm"}}};
  }
  Result<> detach(const DetachInput& /*input*/) const override { return {}; }  // prepare() changes nothing

 private:
  struct Body final : PlanBody {
    explicit Body(std::string name) : device(std::move(name)) {}
    [[nodiscard]] std::string to_json() const override { return R"({"device":")" + device + R"("})"; }
    std::string device;
  };
  static std::optional<NotOffered> withheld(const sys::NetFunction& function) {
    if (function.pci.sriov_num_vfs == 0) {
      return std::nullopt;
    }
    return NotOffered{.reason = "vfs", .text = "it is a physical function with virtual functions"};
  }
  static std::string name_of(const sys::NetFunction& function) {
    std::string name = "rdma-" + function.pci.bdf;
    std::ranges::replace_if(name, [](char c) { return c == ':' || c == '.'; }, '-');
    return name;
  }
};

}  // namespace fairlead::devices
