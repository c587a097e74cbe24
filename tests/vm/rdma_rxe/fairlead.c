// SPDX-License-Identifier: Apache-2.0
// Makes a soft-RoCE device look and behave as one of an RDMA NIC does towards the administrator, for tests:
//  - it is below the network device's own parent in sysfs, so below a PCI function;
//  - `rdma dev set ... netns` moves it, and it comes back when the namespace ends;
//  - it stays when its network device moves to another namespace;
//  - made while the parameter `ib` is set, it reports an InfiniBand link layer, so that ib_ipoib makes an
//    interface of it. Such a device has no MADs and no subnet manager: the interface's carrier stays off.
// Data still flows in the first network namespace only, as with the kernel's own rdma_rxe.
#define FAIRLEAD_NO_REDIRECT
#include "fairlead.h"

#include <linux/module.h>

#include "rxe.h"

static bool ib;
module_param(ib, bool, 0644);
MODULE_PARM_DESC(ib, "new devices have an InfiniBand link layer (default: Ethernet)");

static const struct ib_device_ops* stock_ops;

// The core moves only devices of which a driver says that it can take user processes off them. Processes of a
// soft device hold pages of memory, no registers of a device: there is nothing to take away.
static void disassociate_ucontext(struct ib_ucontext* context) {}

// A move ends all use of the device and enables it again. rxe does not forget the queue pair 1 of before, and
// would refuse the new one, so that a device that moved had no MADs.
static int enable_driver(struct ib_device* device) {
  to_rdev(device)->port.qp_gsi_index = 0;
  return stock_ops->enable_driver(device);
}

static const struct ib_device_ops movable_ops = {
    .disassociate_ucontext = disassociate_ucontext,
    .enable_driver = enable_driver,
};

static enum rdma_link_layer infiniband_link_layer(struct ib_device* device, u32 port) {
  return IB_LINK_LAYER_INFINIBAND;
}

static bool is_infiniband(const struct ib_device* device) {
  return device->ops.get_link_layer == infiniband_link_layer;
}

// One GID, of the port's GUID, and a LID: what ib_ipoib needs for a hardware address.
static int infiniband_query_port(struct ib_device* device, u32 port, struct ib_port_attr* attributes) {
  int error = stock_ops->query_port(device, port, attributes);

  if (error) {
    return error;
  }
  attributes->gid_tbl_len = 1;
  attributes->lid = 1;
  return 0;
}

static int infiniband_query_gid(struct ib_device* device, u32 port, int index, union ib_gid* gid) {
  if (index != 0) {
    return -EINVAL;
  }
  gid->global.subnet_prefix = cpu_to_be64(0xfe80000000000000ULL);
  gid->global.interface_id = device->node_guid;
  return 0;
}

static int infiniband_port_immutable(struct ib_device* device, u32 port,
                                     struct ib_port_immutable* immutable) {
  struct ib_port_attr attributes = {};
  int error = ib_query_port(device, port, &attributes);

  if (error) {
    return error;
  }
  immutable->core_cap_flags = RDMA_CORE_CAP_PROT_IB | RDMA_CORE_CAP_AF_IB;  // no MADs, so no SMI, CM or SA
  immutable->pkey_tbl_len = attributes.pkey_tbl_len;
  immutable->gid_tbl_len = attributes.gid_tbl_len;
  immutable->max_mad_size = 0;
  return 0;
}

static const struct ib_device_ops infiniband_ops = {
    .get_link_layer = infiniband_link_layer,
    .get_port_immutable = infiniband_port_immutable,
    .query_gid = infiniband_query_gid,
    .query_port = infiniband_query_port,
};

// An operation that is set stays: ib_set_device_ops fills in only what is missing, so the first one wins.
void fairlead_set_device_ops(struct ib_device* device, const struct ib_device_ops* stock) {
  stock_ops = stock;
  ib_set_device_ops(device, &movable_ops);
  if (READ_ONCE(ib)) {
    ib_set_device_ops(device, &infiniband_ops);
  }
  ib_set_device_ops(device, stock);
}

// The RDMA device holds the network device until it is itself all but gone, and the network device's driver
// waits for that when it lets go of the parent: nothing else is needed to take one away before the other.
int fairlead_device_set_netdev(struct ib_device* device, struct net_device* netdev, unsigned int port) {
  device->dev.parent = netdev->dev.parent;
  return ib_device_set_netdev(device, netdev, port);
}

int fairlead_get_eth_speed(struct ib_device* device, u32 port, u16* speed, u8* width) {
  if (!is_infiniband(device)) {
    return ib_get_eth_speed(device, port, speed, width);
  }
  *speed = IB_SPEED_EDR;
  *width = IB_WIDTH_4X;
  return 0;
}

// Called for NETDEV_UNREGISTER, which a network device sends also when it only changes its namespace: it is
// still registered then.
void fairlead_unregister_device_queued(struct ib_device* device) {
  struct net_device* netdev = ib_device_get_netdev(device, 1);
  bool moves = netdev && netdev->reg_state == NETREG_REGISTERED;

  dev_put(netdev);
  if (!moves) {
    ib_unregister_device_queued(device);
  }
}
