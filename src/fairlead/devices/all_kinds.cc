// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/all_kinds.h"

#include <memory>

#include "fairlead/devices/netdev/dummy/dummy.h"
#include "fairlead/devices/netdev/host_device/host_device.h"
#include "fairlead/devices/netdev/ipvlan/ipvlan.h"
#include "fairlead/devices/netdev/macvlan/macvlan.h"
#include "fairlead/devices/netdev/veth/veth.h"
#include "fairlead/devices/netdev/vlan/vlan.h"
#include "fairlead/devices/rdma/uverbs.h"

namespace fairlead::devices {

Registry all_kinds() {
  Registry kinds;
  kinds.add(std::make_unique<netdev::DummyKind>());
  kinds.add(std::make_unique<netdev::HostDeviceKind>());
  kinds.add(std::make_unique<netdev::IpvlanKind>());
  kinds.add(std::make_unique<netdev::MacvlanKind>());
  kinds.add(std::make_unique<netdev::VethKind>());
  kinds.add(std::make_unique<netdev::VlanKind>());
  kinds.add(std::make_unique<rdma::UverbsKind>());
  return kinds;
}

}  // namespace fairlead::devices
