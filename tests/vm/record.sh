#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# record.sh OUT_FOLDER [ABOUT]: in a test guest with two igb functions (7 VFs each at most), as root: makes VFs and links in every state that
# matters to an inventory, then records the machine with tools/record_node.py. Meant for a guest that is thrown away: it undoes nothing, and
# anywhere else it refuses before it loads or changes anything. From the host: tests/vm/on-guest tests/vm/record.sh /out/igb-2pf
set -euo pipefail
. "$(dirname "$0")/recording.sh"
[ $# = 1 ] || [ $# = 2 ] || refuse "usage: record.sh OUT_FOLDER [ABOUT]"
out=$1
about=${2:-A test guest with two igb functions.}
here=$(cd "$(dirname "$0")/../.." && pwd)
pci=/sys/bus/pci/devices
fail() { echo "record.sh: $*" >&2; exit 1; }
# within SECONDS WHAT COMMAND...
within() {
  local left=$(($1 * 10)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    left=$((left - 1))
    [ $left -gt 0 ] || fail "$what did not happen"
    sleep 0.1
  done
}
# rename BDF NAME: its link gets the name once it is there; kernel names depend on who was probed first
rename() {
  local old
  within 30 "a link on $1" compgen -G "$pci/$1/net/*"
  old=$(basename "$pci/$1"/net/*)
  ip link set "$old" down
  [ "$old" = "$2" ] || ip link set "$old" name "$2"
}

modules=(igb igbvf vfio-pci rdma_rxe ib_uverbs ib_umad rdma_ucm bridge 8021q macvlan)
need_guest "$out" "${modules[@]}" -- ip rdma modprobe
pfs=()
for one in "$pci"/*; do # an 82576, which is what QEMU's igb is, whether it has its driver yet or not
  [ "$(cat "$one/vendor" "$one/device" 2>/dev/null)" = $'0x8086\n0x10c9' ] && [ "$(cat "$one/sriov_totalvfs" 2>/dev/null || echo 0)" -ge 7 ] || continue
  [ "$(cat "$one/sriov_numvfs")" = 0 ] || refuse "$(basename "$one") has VFs already: start another guest"
  pfs+=("$(basename "$one")")
done
[ ${#pfs[@]} = 2 ] || refuse "needs a guest with two igb functions that can have 7 VFs each, found ${#pfs[@]}"

modprobe -a "${modules[@]}"
# Routers of the guest's network must not add to what is recorded.
for one in /proc/sys/net/ipv6/conf/*/accept_ra; do
  echo 0 >"$one"
done
for one in "${pfs[@]}"; do
  within 30 "igb taking $one" test -e "$pci/$one/driver"
  [ "$(basename "$(readlink -f "$pci/$one/driver")")" = igb ] || fail "$one is not on igb"
done

# ---- VFs: 4 on the first, 7 on the second; their MACs are set before a driver sees them, but for the last one
make_vfs() { # NUMBER COUNT
  local number=$1 count=$2 bdf=${pfs[$1 - 1]} i vf
  rename "$bdf" "ens$number"
  ip link set "ens$number" up
  echo 0 >"$pci/$bdf/sriov_drivers_autoprobe"
  echo "$count" >"$pci/$bdf/sriov_numvfs"
  for ((i = 0; i < count; i++)); do
    [ "$number$i" = 26 ] || ip link set "ens$number" vf $i mac "52:54:00:aa:0$number:0$i"
  done
  echo 1 >"$pci/$bdf/sriov_drivers_autoprobe"
  for ((i = 0; i < count; i++)); do
    vf=$(basename "$(readlink -f "$pci/$bdf/virtfn$i")")
    [ "$number$i" = 13 ] && continue
    echo "$vf" >/sys/bus/pci/drivers_probe
    rename "$vf" "ens${number}v$i"
  done
}
make_vfs 1 4
make_vfs 2 7
vfio=$(basename "$(readlink -f "$pci/${pfs[0]}/virtfn3")")
echo vfio-pci >"$pci/$vfio/driver_override"
echo "$vfio" >/sys/bus/pci/drivers_probe
[ "$(basename "$(readlink -f "$pci/$vfio/driver")")" = vfio-pci ] || fail "$vfio is not on vfio-pci"
ip link set ens1 vf 1 vlan 100 qos 3
ip link set ens1 vf 1 spoofchk off
ip link set ens1 vf 2 trust on
ip link set ens2 vf 3 max_tx_rate 100

# ---- links: an uplink, a bridge with a VF as its port, a VLAN on a function, a macvlan with an alias, an altname, RDMA on a VF
ip link property add dev ens1 altname enp1s0-a-long-alternative-name
ip link add br0 address 52:54:00:aa:03:00 type bridge
ip link set ens2v1 master br0
ip link add link ens2 name ens2.100 type vlan id 100
ip link add link ens2v2 name data0 address 52:54:00:aa:03:01 type macvlan mode bridge
ip link set data0 alias "a macvlan on a VF"
for one in ens2 ens2v0 ens2v1 ens2v2 br0 ens2.100 data0; do
  ip link set "$one" up
done
rdma link add rxe0 type rxe netdev ens2v0
within 30 "carrier of ens1" grep -q 1 /sys/class/net/ens1/carrier
within 30 "carrier of ens2" grep -q 1 /sys/class/net/ens2/carrier
ip address add 192.0.2.10/24 dev ens1
ip address add 2001:db8::10/64 dev ens1 nodad
ip address add 198.51.100.1/24 dev ens2.100
ip address add 203.0.113.1/24 dev ens2v0
ip route replace default via 192.0.2.1 dev ens1 # the guest may have one
ip route add default via 2001:db8::1 dev ens1
ip nexthop add id 10 via 192.0.2.2 dev ens1
ip route add 192.88.99.0/24 nhid 10
ip route add 198.18.0.0/16 nexthop via 192.0.2.3 dev ens1 nexthop via 198.51.100.2 dev ens2.100
ip route add 198.19.0.0/16 via 192.0.2.4 dev ens1 table 1000
ip route add blackhole 240.0.0.0/4
within 30 "addresses without duplicate address detection" bash -c '[ -z "$(ip -6 address show tentative)" ]'
exec python3 "$here/tools/record_node.py" "$out" --keep-addresses --about "$about"
