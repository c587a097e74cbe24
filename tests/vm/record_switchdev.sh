#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# record_switchdev.sh OUT_FOLDER [NETDEVSIM_KO]: in a test guest, as root: a simulated card in switchdev mode with two ports and four VFs,
# recorded with tools/record_node.py. Debian builds no netdevsim; where the kernel has none, name the module's file. For a guest that is
# thrown away: it undoes nothing. From the host: tests/vm/on-guest tests/vm/record_switchdev.sh /out/netdevsim-switchdev
set -euo pipefail
out=${1:?usage: record_switchdev.sh OUT_FOLDER [NETDEVSIM_KO]}
here=$(cd "$(dirname "$0")/../.." && pwd)
device=/sys/bus/netdevsim/devices/netdevsim1
modprobe psample
if [ -n "${2:-}" ]; then
  insmod "$2"
else
  modprobe netdevsim
fi
echo "1 2 4" >/sys/bus/netdevsim/new_device
echo 4 >$device/sriov_numvfs
devlink dev eswitch set netdevsim/netdevsim1 mode switchdev
number=0
for one in $device/net/*; do
  name=$(basename "$one")
  ip link set "$name" address "52:54:00:aa:04:0$number"
  ip link set "$name" name "sim1$(cat "$one/phys_port_name")"
  number=$((number + 1))
done
exec python3 "$here/tools/record_node.py" "$out" --keep-addresses \
  --about "A QEMU guest with a netdevsim card in switchdev mode: two ports, four VFs and their representors; tests/vm/record_switchdev.sh made it."
