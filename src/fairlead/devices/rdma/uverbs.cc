// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/rdma/uverbs.h"

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "fairlead/core/text.h"
#include "fairlead/devices/node.h"
#include "fairlead/devices/other_claims.h"
#include "fairlead/devices/rdma/rdma_offers.h"
#include "fairlead/devices/rdma/uverbs_nodes.h"
#include "fairlead/formats/json_writer.h"

namespace fairlead::devices::rdma {
namespace {

constexpr std::array kFields = {
    fields::Field{
        .name = "device",
        .risk = fields::Risk::kOwn,
        .format = {.example = "mlx5_0"},
        .default_text = "the allocated RDMA device",
        .meaning = "Must name the RDMA device that was allocated, by its own name or the device's."},
    fields::Field{.name = "umad",
                  .type = fields::Type::kBool,
                  .default_text = "`false`",
                  .meaning =
                      "Gives the `umad` device node of each port, too: management datagrams to any node "
                      "of the fabric."},
    fields::Field{.name = "issm",
                  .type = fields::Type::kBool,
                  .default_text = "`false`",
                  .meaning = "Gives the `issm` device node of each port of InfiniBand, too: who opens it is "
                             "announced as the fabric's subnet manager."},
};

Result<const UverbsPlan*> body_of(const DevicePlan& plan) {
  if (const UverbsPlan* body = find_uverbs_plan(plan)) {
    return body;
  }
  return Error(Code::kInternal, "the plan is none of kind uverbs");
}

/// The device this request was allocated.
Result<Hca> allocated_hca(const PlanInput& input, const fields::Values& values) {
  const std::string& name = input.device->device;
  const std::string request = quoted(input.device->request);
  if (!name.starts_with("rdma-")) {
    return Error(Code::kInvalid, values.path_of("kind") + ": uverbs takes an RDMA device, but the request " +
                                     request + " was allocated " + name +
                                     "; ask for one with a selector such as " + "device.attributes[\"" +
                                     input.node->options().driver_name + "\"].type == \"rdma\"");
  }
  if (input.node->options().rdma_view != RdmaView::kRdma) {
    return Error(Code::kDenied,
                 "the device " + name + " that the request " + request +
                     " was allocated is not offered any more: this node offers network interfaces "
                     "instead of their RDMA devices (--rdma-view nic)");
  }
  if (input.facts != nullptr) {
    const auto all = hcas(*input.facts);
    const auto found = std::ranges::find(all, name, &Hca::name);
    if (found != all.end()) {
      return *found;
    }
  }
  return Error(Code::kNotFound,
               "the device " + name + " that the request " + request +
                   " was allocated is not on this node now; perhaps its driver is being loaded again");
}

/// Another claim has taken the interface of the same hardware from the node.
Result<> check_interface(const PlanInput& input, const Hca& hca) {
  if (input.others == nullptr) {
    return {};
  }
  const auto other = input.others->find_on(
      [&](const sys::InventoryLink& was) {
        const bool is_its_function = !hca.device->bdf.empty() && was.pci && was.pci->bdf == hca.device->bdf;
        return is_its_function || std::ranges::any_of(hca.links, [&](const sys::InventoryLink* link) {
                 return is_same_link(was, link->link);
               });
      },
      LinkShare::kWhole);
  if (!other) {
    return {};
  }
  return Error(Code::kBusy, "the RDMA device " + hca.device->name + " cannot be given: the claim " +
                                other->claim->namespace_ + "/" + other->claim->name +
                                " has its network interface");
}

/// {"identity": {...}, "rdma": {"device": "mlx5_0", "nodeGUID": ..., "nodes": [...]}}
std::string data_of(const UverbsPlan& plan, const UverbsNodes& found) {
  JsonWriter out;
  out.begin_object();
  out.key("identity").raw(to_json(plan.identity));
  out.key("rdma").begin_object();
  out.key("device").value(found.device.name);
  out.key("nodeGUID").value(netlink::guid_text(found.device.node_guid));
  out.key("nodes").begin_array();
  for (const DeviceNode& node : found.nodes) {
    out.value(node.path());
  }
  out.end_array();
  out.end_object();
  out.end_object();
  return std::move(out).take();
}

}  // namespace

std::span<const fields::Field> UverbsKind::fields() const { return kFields; }

Offers UverbsKind::offers(const OfferInput& input) const { return rdma_offers(input); }

Result<> UverbsKind::check_is_same(std::string_view reported, const Offer& now,
                                   const std::string& who) const {
  return rdma::check_is_same(reported, now.identity.data, who);
}

Result<DevicePlan> UverbsKind::plan(const PlanInput& input, const fields::Values& values) const {
  FL_ASSIGN(const Hca hca, allocated_hca(input, values));
  const auto named = values.string("device");
  if (named && named->value != hca.device->name && named->value != hca.name) {
    return Error(Code::kInvalid,
                 named->path + ": " + quoted(named->value) + " is not the RDMA device that the request " +
                     quoted(input.device->request) + " was allocated, which is " + hca.device->name);
  }
  if (const auto reason = why_withheld(*input.node, hca, {})) {
    return Error(Code::kDenied, "the RDMA device " + hca.device->name + " cannot be given: " + reason->text);
  }
  FL_TRY(check_interface(input, hca));
  FL_TRY(check_netns_mode(ask_));
  auto body = std::make_shared<UverbsPlan>();
  body->identity = identity_of(hca, *input.facts);
  body->device = hca.device->name;
  const auto is_set = [&](std::string_view field) {
    const auto value = values.boolean(field);
    return value && value->value;
  };
  body->umad = is_set("umad");
  body->issm = is_set("issm");
  return DevicePlan{.body = std::move(body)};
}

Result<PlanBodyPtr> UverbsKind::read(std::string_view json, std::string_view /*name_in_pod*/) const {
  return UverbsPlan::parse(json);
}

Result<cdi::ContainerEdits> UverbsKind::prepare(const PrepareInput& input) const {
  FL_ASSIGN(const UverbsPlan* plan, body_of(*input.plan));
  FL_ASSIGN(const UverbsNodes found, uverbs_nodes(*plan, ask_));
  cdi::ContainerEdits edits;
  if (!input.variable.empty()) {
    edits.env.push_back(input.variable + "=" + found.device.name);
  }
  for (const DeviceNode& node : found.nodes) {
    edits.device_nodes.push_back({.path = node.path(),
                                  .host_path = node.path(),
                                  .type = "c",
                                  .major = node.device.major,
                                  .minor = node.device.minor,
                                  .file_mode = node.mode,
                                  .permissions = "rw"});
  }
  return edits;
}

Result<dra::DeviceReport> UverbsKind::inspect(const InspectInput& input) const {
  FL_ASSIGN(const UverbsPlan* plan, body_of(*input.plan));
  const auto found = uverbs_nodes(*plan, ask_);
  if (!found) {
    const Code code = found.error().code();
    const bool is_gone = code == Code::kNotFound || code == Code::kInvalid;
    return dra::DeviceReport{.unknown = !is_gone,
                             .reason = is_gone ? "DeviceGone" : "DeviceNotUsable",
                             .message = found.error().what()};
  }
  return dra::DeviceReport{
      .ready = true,
      .reason = "Prepared",
      .message = found->is_dev_visible
                     ? ""
                     : "the numbers of the device nodes are the kernel's; the agent does not "
                       "see /dev/infiniband, so that its files were not compared",
      .data = data_of(*plan, *found)};
}

}  // namespace fairlead::devices::rdma
