// SPDX-License-Identifier: Apache-2.0
// Calls of rxe_verbs.c and rxe_net.c into the kernel that fairlead.c takes over. Included before all else in
// these two files, which stay as they are: the declarations of the kernel come first, then the names change.
#ifndef FAIRLEAD_RDMA_RXE_H
#define FAIRLEAD_RDMA_RXE_H

#include <linux/netdevice.h>
#include <rdma/ib_verbs.h>

void fairlead_set_device_ops(struct ib_device* device, const struct ib_device_ops* stock);
int fairlead_device_set_netdev(struct ib_device* device, struct net_device* netdev, unsigned int port);
int fairlead_get_eth_speed(struct ib_device* device, u32 port, u16* speed, u8* width);
void fairlead_unregister_device_queued(struct ib_device* device);

#ifndef FAIRLEAD_NO_REDIRECT
#define ib_set_device_ops fairlead_set_device_ops
#define ib_device_set_netdev fairlead_device_set_netdev
#define ib_get_eth_speed fairlead_get_eth_speed
#define ib_unregister_device_queued fairlead_unregister_device_queued
#endif

#endif  // FAIRLEAD_RDMA_RXE_H
