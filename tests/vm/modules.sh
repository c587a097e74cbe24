#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tests/vm/modules.sh KERNEL_FOLDER OUT_FOLDER: builds the kernel modules that Debian's kernels lack, for a virtual machine of the tests:
#   netdevsim.ko   as it is: SR-IOV with all its settings, devlink, switchdev with representors
#   rdma_rxe.ko    with tests/vm/rdma_rxe: a soft-RoCE device that is below its PCI function, moves between network namespaces, and can be
#                  an InfiniBand one
# KERNEL_FOLDER holds lib/modules/<one version> and a file `version`, the Debian version of that kernel (such as 6.12.95-1~bpo12+1;
# KERNEL_VERSION in the environment goes before it). OUT_FOLDER also gets a file `complete`, which says what the modules were made of: if
# that has not changed there is nothing to do. Progress goes to stderr; the last line on stdout is OUT_FOLDER.
#
# The modules are built on the machine that uses them, from Debian's package of the kernel's source, and are never shipped: netdevsim is
# GPL-2.0, rdma_rxe GPL-2.0 or Linux-OpenIB. This repository holds nothing of that source. What tests/vm/rdma_rxe adds is Apache-2.0 like
# the rest; it leaves the kernel's files as they are and takes over some of their calls by the preprocessor.
# Needs [build] and [vm] of tools/deps.txt, 170 MB of downloads, and 270 MB in the cache folder while it works.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/vm/apt.sh
. "$here/apt.sh"

die() { echo "modules.sh: $*" >&2; exit 1; }
[ $# = 2 ] || { echo "usage: modules.sh KERNEL_FOLDER OUT_FOLDER" >&2; exit 2; }
[ -d "$1/lib/modules" ] || die "no $1/lib/modules: KERNEL_FOLDER must be an unpacked linux-image package"
kernel=$(cd "$1" && pwd)
out=$(realpath -m -- "$2")
release=$(ls "$kernel/lib/modules")
[ "$(wc -w <<<"$release")" = 1 ] || die "$kernel/lib/modules must hold one kernel version, and has: ${release:-none}"
version=${KERNEL_VERSION:-}
if [ -z "$version" ]; then
  [ -r "$kernel/version" ] || die "no $kernel/version: it must say the Debian version of linux-image-$release, or KERNEL_VERSION must"
  version=$(cat "$kernel/version")
fi
case $release:$version in
  6.12.*-amd64:6.12.*~bpo12+*) ;;
  *) die "cannot build modules for $release ($version): only for 6.12 of bookworm-backports, amd64" ;;
esac
[ -r "$here/rdma_rxe/fairlead.c" ] || die "no $here/rdma_rxe/fairlead.c"
made_of="$release $version $(cat "$here/modules.sh" "$here"/rdma_rxe/* | sha256sum | cut -d' ' -f1)"
complete() { [ "$(cat "$out/complete" 2>/dev/null)" = "$made_of" ]; }
if complete; then
  echo "$out"
  exit 0
fi
for program in make x86_64-linux-gnu-gcc-12 xz dpkg-deb strip flock; do
  command -v "$program" >/dev/null || die "no $program: install [build] and [vm] of tools/deps.txt"
done
cache=$(vm_cache)
case $cache in *[[:space:]:\#\$]*) die "the kernel's build cannot work in $cache: no spaces, colons, # or \$ in FAIRLEAD_CACHE" ;; esac
mkdir -p "$cache"

exec 8>"$cache/modules.lock"
flock -n 8 || { echo "modules.sh: waiting for another build of the modules" >&2; flock 8; }
if complete; then
  echo "$out"
  exit 0
fi
rm -rf "$cache"/modules.tmp.* # of one that was killed: nobody else holds the lock
work=$(mktemp -d "$cache/modules.tmp.XXXXXX")
log=$work/log
job= # the process group of the step that runs
clean_up() {
  local signal
  for signal in TERM KILL; do # a second later what has not ended ends by force
    [ -n "$job" ] && kill -$signal -- "-$job" 2>/dev/null || break
    for _ in {1..10}; do
      kill -0 -- "-$job" 2>/dev/null || break
      sleep 0.1
    done
  done
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# step "what" command...: a line with the time it took, or the end of the command's output and exit 1
step() {
  local what=$1 started=$EPOCHREALTIME failed=0
  shift
  set -m
  ("$@") >"$log" 2>&1 </dev/null &
  job=$!
  set +m
  wait "$job" || failed=1
  job=
  if [ $failed = 1 ]; then
    tail -n 30 "$log" >&2
    die "$what failed for Linux $version"
  fi
  awk -v what="$what" -v a="$started" -v b="$EPOCHREALTIME" 'BEGIN { printf "modules.sh: %s: %.1f s\n", what, b - a }' >&2
}

base=${release%-amd64}
source=linux-source-6.12
download() {
  mkdir "$work/debs" && cd "$work/debs" || return 1
  vm_apt bookworm get download "$source=$version" "linux-headers-$release=$version" "linux-headers-$base-common=$version" \
    "linux-kbuild-$base=$version" && return 0
  echo "The archive has only the newest version in bookworm-backports: if it has moved on, $kernel must be made anew from that."
  return 1
}
unpack() {
  local package modules=$work/modules drivers=$source/drivers
  mkdir -p "$work/root" "$work/tree" "$modules"
  for package in "$work"/debs/linux-headers-*.deb "$work"/debs/linux-kbuild-*.deb; do
    dpkg-deb -x "$package" "$work/root" || return 1
  done
  dpkg-deb --fsys-tarfile "$work/debs/${source}"_*.deb | tar -xO "./usr/src/$source.tar.xz" | xz -dc -T0 |
    tar -x -C "$work/tree" --no-same-owner --wildcards "$drivers/net/netdevsim/*" "$drivers/infiniband/sw/rxe/*" || return 1
  rm -r "$work/debs"
  mv "$work/tree/$drivers/net/netdevsim" "$modules/netdevsim" && mv "$work/tree/$drivers/infiniband/sw/rxe" "$modules/rdma_rxe" || return 1
  cp "$here"/rdma_rxe/* "$modules/rdma_rxe/" || return 1
  echo 'obj-m := netdevsim/ rdma_rxe/' >"$modules/Kbuild"
  # The headers' makefile includes the common one by its path when installed.
  sed -i "s#include /usr/src/#include $work/root/usr/src/#" "$work/root/usr/src/linux-headers-$release/Makefile"
}
# Each call that fairlead.h takes over must stand once in the file that it is meant for; otherwise the kernel has changed.
check_calls() {
  local file call count bad=0
  while read -r file call; do
    count=$(grep -cE "(^|[^_[:alnum:]])$call\(" "$work/modules/rdma_rxe/$file" || true)
    if [ "$count" != 1 ]; then
      echo "$file of Linux $version calls $call ${count:-0} times, not once: tests/vm/rdma_rxe/fairlead.h does not fit this kernel"
      bad=1
    fi
  done <<'CALLS'
rxe_verbs.c ib_set_device_ops
rxe_verbs.c ib_device_set_netdev
rxe_verbs.c ib_get_eth_speed
rxe_net.c ib_unregister_device_queued
CALLS
  return $bad
}
build() { # without BTF, which would need the kernel's own debug information
  make -s -j"$(nproc)" -C "$work/root/usr/src/linux-headers-$release" M="$work/modules" CONFIG_NETDEVSIM=m CONFIG_RDMA_RXE=m \
    CONFIG_DEBUG_INFO_BTF_MODULES= KCFLAGS=-g0 modules
}
check_modules() {
  local module
  for module in netdevsim rdma_rxe; do
    strip --strip-debug -o "$work/$module.ko" "$work/modules/$module/$module.ko" || return 1
    grep -aq "vermagic=$release " "$work/$module.ko" || { echo "$module.ko was not built for $release"; return 1; }
  done
  grep -aq 'parmtype=ib:bool' "$work/rdma_rxe.ko" || { echo "rdma_rxe.ko was built without tests/vm/rdma_rxe"; return 1; }
}
publish() {
  mkdir -p "$out" && rm -f "$out/complete" && mv "$work/netdevsim.ko" "$work/rdma_rxe.ko" "$out/" && printf '%s\n' "$made_of" >"$work/complete" &&
    mv "$work/complete" "$out/complete"
}
step "download source and headers of $version (169 MB)" download
step "unpack" unpack
step "check the calls that rdma_rxe/fairlead.h takes over" check_calls
step "build netdevsim and rdma_rxe" build
step "check the modules" check_modules
step "put them into $out" publish
echo "$out"
