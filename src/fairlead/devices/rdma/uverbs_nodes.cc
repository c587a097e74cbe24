// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/rdma/uverbs_nodes.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "fairlead/formats/json_writer.h"
#include "fairlead/formats/strict_json.h"

namespace fairlead::devices::rdma {
namespace {

constexpr std::uint32_t kForAll = 0666;   // as the kernel makes uverbs and rdma_cm
constexpr std::uint32_t kForRoot = 0600;  // and umad and issm

/// "the RDMA device mlx5_0 (PCI address 0000:03:00.0, node GUID ...)"
std::string describe(const UverbsPlan& plan) {
  std::string facts;
  const auto add = [&](std::string_view what, const std::string& value) {
    if (!value.empty()) {
      facts += (facts.empty() ? "" : ", ") + std::string(what) + " " + value;
    }
  };
  add("PCI address", plan.identity.pci_bus_id);
  add("node GUID", plan.identity.node_guid);
  return "the RDMA device " + plan.device + (facts.empty() ? "" : " (" + facts + ")");
}

Error is_gone(const UverbsPlan& plan) {
  return {Code::kNotFound,
          describe(plan) + " is not on this node now; perhaps its driver is being loaded again"};
}

bool has_guid(const netlink::RdmaDevice& device, const std::string& guid) {
  return netlink::guid_text(device.node_guid) == guid;
}

Result<netlink::RdmaDevice> find_again(const UverbsPlan& plan, const RdmaQuestions& ask) {
  FL_ASSIGN(auto devices, ask.devices());
  const HcaIdentity& identity = plan.identity;
  if (!identity.pci_bus_id.empty()) {
    FL_ASSIGN(const auto names, ask.devices_of(identity.pci_bus_id));
    std::erase_if(devices,
                  [&](const auto& device) { return std::ranges::find(names, device.name) == names.end(); });
  }
  if (devices.empty()) {
    return is_gone(plan);
  }
  const auto keep = [&](auto&& is_wanted) {
    std::erase_if(devices, [&](const auto& one) { return !is_wanted(one); });
  };
  if (!identity.node_guid.empty()) {
    const netlink::RdmaDevice in_its_place = devices.front();
    keep([&](const auto& device) { return has_guid(device, identity.node_guid); });
    if (devices.empty() && !identity.pci_bus_id.empty()) {
      return Error(Code::kInvalid, describe(plan) + " was replaced: at its PCI address is " +
                                       in_its_place.name + " with the node GUID " +
                                       netlink::guid_text(in_its_place.node_guid) +
                                       " now; delete the claim, so that a device is allocated anew");
    }
  }
  const bool is_known_by_name = identity.node_guid.empty() && identity.pci_bus_id.empty();
  if (devices.size() > 1 || is_known_by_name) {
    keep([&](const auto& device) { return device.name == plan.device; });
  }
  if (devices.size() != 1) {
    return is_gone(plan);
  }
  return devices.front();
}

/// What the agent sees in /dev must be what the kernel says.
Result<> check_file(const DeviceNode& node, const RdmaQuestions& ask, bool& is_dev_visible) {
  using State = DeviceFile::State;
  FL_ASSIGN(const DeviceFile file, ask.file(node.device.name));
  const auto number = [](std::uint32_t major, std::uint32_t minor) {
    return std::to_string(major) + ":" + std::to_string(minor);
  };
  const std::string wanted = number(node.device.major, node.device.minor);
  switch (file.state) {
    case State::kNoFolder:
      is_dev_visible = false;  // the runtime makes the container's file by the number
      return {};
    case State::kMissing:
      return Error(Code::kUnavailable,
                   node.path() + " is missing in this node's /dev, though the kernel has the device " +
                       wanted + ": mount the kernel's devtmpfs on /dev, or let udev make the file");
    case State::kOther:
      return Error(Code::kUnavailable, node.path() + " of this node is no character device");
    case State::kThere:
      break;
  }
  if (file.major != node.device.major || file.minor != node.device.minor) {
    return Error(Code::kUnavailable, node.path() + " of this node is the device " +
                                         number(file.major, file.minor) + ", and the kernel has " + wanted +
                                         " by that name: make the file anew");
  }
  return {};
}

}  // namespace

std::string UverbsPlan::to_json() const {
  JsonWriter out;
  out.begin_object();
  out.key("device").value(device);
  out.key("identity").raw(rdma::to_json(identity));
  out.key("issm").value(issm);
  out.key("umad").value(umad);
  out.end_object();
  return std::move(out).take();
}

Result<PlanBodyPtr> UverbsPlan::parse(std::string_view json) {
  FL_ASSIGN(const auto document, strict_json::Document::parse(json));
  const strict_json::Object root = document.root();
  auto plan = std::make_shared<UverbsPlan>();
  plan->device = root.required_string("device");
  plan->issm = root.optional_bool("issm").value_or(false);
  plan->umad = root.optional_bool("umad").value_or(false);
  const strict_json::Object identity = root.required_object("identity");
  plan->identity = {.name = identity.required_string("name"),
                    .pci_bus_id = identity.optional_string("pciBusID").value_or(""),
                    .node_guid = identity.optional_string("nodeGUID").value_or(""),
                    .pf_node_guid = identity.optional_string("pfNodeGUID").value_or("")};
  FL_TRY(document.finish());
  return plan;
}

const UverbsPlan* find_uverbs_plan(const DevicePlan& plan) {
  return dynamic_cast<const UverbsPlan*>(plan.body.get());
}

Result<> check_netns_mode(const RdmaQuestions& ask) {
  FL_ASSIGN(const auto mode, ask.netns_mode());
  if (mode == netlink::RdmaNetnsMode::kShared) {
    return {};
  }
  return Error(
      Code::kUnsupported,
      "this node's RDMA devices belong to one network namespace each (`rdma system` says exclusive), so that "
      "a pod could not use one by its device nodes; this version gives RDMA devices in shared mode only: "
      "load ib_core with netns_mode=1 and restart the node");
}

Result<UverbsNodes> uverbs_nodes(const UverbsPlan& plan, const RdmaQuestions& ask) {
  FL_TRY(check_netns_mode(ask));
  UverbsNodes found;
  FL_ASSIGN(found.device, find_again(plan, ask));
  const auto add = [&](const netlink::RdmaCharDeviceQuery& query, std::uint32_t mode) -> Result<bool> {
    FL_ASSIGN(auto device, ask.char_device(query));
    if (device) {
      found.nodes.push_back({.device = *std::move(device), .mode = mode});
    }
    return device.has_value();
  };
  FL_ASSIGN(const bool has_uverbs, add({.type = "uverbs", .device = found.device.index}, kForAll));
  if (!has_uverbs) {
    return Error(
        Code::kUnavailable,
        describe(plan) + " has no uverbs device node: load the kernel's module ib_uverbs on this node");
  }
  FL_ASSIGN(const bool has_cm, add({.type = "rdma_cm"}, kForAll));
  if (!has_cm) {
    return Error(
        Code::kUnavailable,
        "this node has no /dev/infiniband/rdma_cm, by which RDMA programs connect: load the kernel's module "
        "rdma_ucm on this node");
  }
  const auto add_of_ports = [&](std::string_view type) -> Result<bool> {
    bool has_any = false;
    for (std::uint32_t port = 1; port <= found.device.ports; ++port) {
      FL_ASSIGN(const bool has_it, add({.type = type, .device = found.device.index, .port = port}, kForRoot));
      has_any = has_any || has_it;
    }
    return has_any;
  };
  if (plan.umad) {
    FL_ASSIGN(const bool has_umad, add_of_ports("umad"));
    if (!has_umad) {
      return Error(Code::kUnavailable,
                   "rdma.umad: " + describe(plan) +
                       " has no umad device node: load the kernel's module ib_umad on this "
                       "node, or leave the field out");
    }
  }
  if (plan.issm) {
    FL_ASSIGN(const bool has_issm, add_of_ports("issm"));
    if (!has_issm) {
      return Error(Code::kUnavailable,
                   "rdma.issm: " + describe(plan) +
                       " has no issm device node (only ports of InfiniBand have one, with the "
                       "kernel's module ib_umad): leave the field out");
    }
  }
  for (const DeviceNode& node : found.nodes) {
    FL_TRY(check_file(node, ask, found.is_dev_visible));
  }
  return found;
}

}  // namespace fairlead::devices::rdma
