#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# record_switchdev.sh OUT_FOLDER [NETDEVSIM_KO]: in a test guest, as root: a simulated card in switchdev mode with two ports and four VFs,
# recorded with tools/record_node.py. Debian builds no netdevsim (tests/vm/modules.sh does); where the kernel has none, name the module's
# file. For a guest that is thrown away: it undoes nothing, and anywhere else it refuses before it loads or changes anything.
# From the host: tests/vm/on-guest tests/vm/record_switchdev.sh /out/netdevsim-switchdev
set -euo pipefail
. "$(dirname "$0")/recording.sh"
[ $# = 1 ] || [ $# = 2 ] || refuse "usage: record_switchdev.sh OUT_FOLDER [NETDEVSIM_KO]"
out=$1
here=$(cd "$(dirname "$0")/../.." && pwd)
device=/sys/bus/netdevsim/devices/netdevsim1
if [ $# = 1 ]; then
  need_guest "$out" psample netdevsim -- ip devlink modprobe
else
  need_guest "$out" psample -- ip devlink modprobe insmod
  [ -f "$2" ] && [ -r "$2" ] || refuse "$2 is no file that can be read: name the netdevsim.ko of this kernel ($(uname -r))"
fi
[ ! -e $device ] || refuse "netdevsim1 is there already: start another guest"

modprobe psample
if [ $# = 2 ]; then
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
