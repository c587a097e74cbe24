// SPDX-License-Identifier: Apache-2.0
// What a plan of kind uverbs says, and the device nodes that it comes to now.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fairlead/core/result.h"
#include "fairlead/devices/kind.h"
#include "fairlead/devices/rdma/hca.h"
#include "fairlead/devices/rdma/rdma_questions.h"

namespace fairlead::devices::rdma {

struct UverbsPlan final : PlanBody {
  HcaIdentity identity;
  std::string device;  // its own name when it was planned: "mlx5_0"
  bool umad = false, issm = false;

  [[nodiscard]] std::string to_json() const override;
  static Result<PlanBodyPtr> parse(std::string_view json);
};
/// nullptr: the plan is of another kind, or could not be read.
const UverbsPlan* find_uverbs_plan(const DevicePlan& plan);

struct DeviceNode {
  netlink::RdmaCharDevice device;
  std::uint32_t mode = 0;  // of the file
  [[nodiscard]] std::string path() const { return "/dev/infiniband/" + device.name; }
};
struct UverbsNodes {
  netlink::RdmaDevice device;  // as it is called now
  std::vector<DeviceNode> nodes;
  bool is_dev_visible = true;  // the files could be compared with the kernel's numbers
};
/// Finds the device again by what it is, whatever its name is now, and asks the kernel for its nodes. kNotFound: it is
/// gone. kInvalid: another one is in its place. kUnavailable: a node is missing. kUnsupported: the netns mode is
/// exclusive.
Result<UverbsNodes> uverbs_nodes(const UverbsPlan& plan, const RdmaQuestions& ask);
/// kUnsupported unless RDMA devices are shared between network namespaces.
Result<> check_netns_mode(const RdmaQuestions& ask);

}  // namespace fairlead::devices::rdma
