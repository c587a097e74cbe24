// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/netdev/dummy/dummy.h"

namespace fairlead::devices::netdev {

std::span<const fields::Field> DummyKind::fields() const { return kCommonFields; }

Result<> DummyKind::resolve(const PlanInput& input, const fields::Values& values,
                            const CommonValues& /*common*/, NetdevPlan& /*plan*/) const {
  return require_virtual_device(input, values, kind());
}

Result<netlink::NewLink> DummyKind::make(const NetdevPlan& /*plan*/, const Marker& /*marker*/,
                                         const Place& /*node*/, const NodeOptions& /*options*/) const {
  return netlink::NewLink{.kind = netlink::Dummy{}};
}

}  // namespace fairlead::devices::netdev
