#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# node.sh ROOT PROGRAMS INIT NODE_ADDRESS API_ADDRESS
# The first process of the test cluster's node, in new namespaces (mount, network, pid, uts, ipc, cgroup): makes ROOT the root folder,
# with this machine's programs read-only and everything that is written inside ROOT, makes the node's network, and becomes INIT.
set -euo pipefail
root=$1 programs=$2 init=$3 node_address=$4 api_address=$5

mount --make-rprivate /
mkdir -p "$root"/{usr,etc,dev,proc,sys,run,tmp,root,opt/kubernetes,opt/cni/bin,var/lib/kubelet,var/log,var/tmp,.old,mnt}
chmod 1777 "$root/tmp" "$root/var/tmp"
mount --bind "$root" "$root"
for name in usr bin sbin lib lib32 lib64 libx32; do
  if [ -L "/$name" ]; then
    [ -L "$root/$name" ] || ln -s "$(readlink "/$name")" "$root/$name"
  elif [ -d "/$name" ]; then
    mkdir -p "$root/$name"
    mount --bind "/$name" "$root/$name"
    mount -o remount,bind,ro "$root/$name"
  fi
done
[ -L "$root/var/run" ] || ln -s ../run "$root/var/run"
cp -a /etc/{passwd,group,nsswitch.conf,ld.so.cache,ld.so.conf,ld.so.conf.d,alternatives,protocols,services} "$root/etc/" 2>/dev/null || true
printf '127.0.0.1 localhost\n%s node1\n' "$node_address" >"$root/etc/hosts"
: >"$root/etc/resolv.conf"
mount --rbind /dev "$root/dev"
mount --make-rslave "$root/dev"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount --bind "$programs" "$root/opt/kubernetes"
mount -o remount,bind,ro "$root/opt/kubernetes"
mount --bind "$programs/cni" "$root/opt/cni/bin"
mount -o remount,bind,ro "$root/opt/cni/bin"
cp "$init" "$root/init"

# A new sysfs shows the links of this network namespace; the cgroup file systems begin at our own cgroup namespace's root.
mount -t sysfs sysfs "$root/sys"
if [ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ]; then
  mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
  mkdir -p "$root/sys/fs/cgroup/node"
  echo 0 >"$root/sys/fs/cgroup/node/cgroup.procs"
  for controller in $(<"$root/sys/fs/cgroup/cgroup.controllers"); do echo "+$controller" >"$root/sys/fs/cgroup/cgroup.subtree_control" || true; done
else
  mount -t tmpfs -o mode=755 tmpfs "$root/sys/fs/cgroup"
  awk '$(NF-2) ~ /^cgroup2?$/ { print $5, $(NF-2), $NF }' /proc/self/mountinfo | while read -r point type options; do
    mkdir -p "$root$point"
    if [ "$type" = cgroup2 ]; then
      mount -t cgroup2 cgroup2 "$root$point"
    else
      mount -t cgroup -o "$(tr , '\n' <<<"$options" | grep -vxE 'rw|ro|relatime|noatime|nosuid|nodev|noexec' | paste -sd,)" cgroup "$root$point"
    fi
  done
fi

cd "$root"
pivot_root . .old
umount -l /.old
rmdir /.old
mount --make-rshared / # driver pods see the network namespaces that are made later, as on any systemd host
mkdir -p /run/netns /run/cdi /run/lock /etc/cni/net.d /etc/cdi
mount --bind /run/netns /run/netns
mount --make-shared /run/netns

hostname node1
ip link set lo up
ip link add eth0 type veth peer name wan0 # the node's uplink: an address that is not loopback, and a link never to be given away
ip address add "$node_address/24" dev eth0
ip link set eth0 up
ip link set wan0 up
ip route add default dev eth0
ip address add "$api_address/32" dev lo # the Service `kubernetes` is local: pods reach it without kube-proxy
echo 1 >/proc/sys/net/ipv4/ip_forward
exec /init </dev/null >/dev/null 2>&1
