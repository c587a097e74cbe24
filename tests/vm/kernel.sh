#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# kernel.sh [--kernel 6.12|6.1|7.2] [--print-folder]
# Fetches a stock Debian kernel, unpacks it (nothing is installed) and makes the guest's initramfs of it and of tests/vm/init, in a cache
# folder; does nothing when that is there. Prints the folder as its last line: vmlinuz or vmlinux, lib/modules/<release>, initramfs.cpio,
# version (the Debian version), and for 6.12 extra/*.ko: what stock kernels lack, built by tests/vm/modules.sh.
# FAIRLEAD_CACHE moves the cache. Needs busybox-static, cpio, kmod, python3 and xz.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/apt.sh"
kernel=6.12 only_print=
while [ $# -gt 0 ]; do
  case $1 in
    --kernel) kernel=${2:?--kernel takes a version}; shift 2 ;;
    --print-folder) only_print=1; shift ;;
    *) echo "kernel.sh: unknown option $1; it takes --kernel VERSION and --print-folder" >&2; exit 2 ;;
  esac
done
case $kernel in # where Debian has it
  6.1) suite=bookworm release=bookworm ;;
  6.12) suite=bookworm release=bookworm-backports ;;
  7.2) suite=sid release=sid ;;
  *) echo "kernel.sh: no kernel $kernel: --kernel takes 6.1 (Debian 12), 6.12 (its backports) or 7.2 (sid)" >&2; exit 2 ;;
esac
recipe=1
folder=$(vm_cache)/kernel-$kernel-r$recipe
if [ -n "$only_print" ]; then echo "$folder"; exit 0; fi
say() { printf '%(%T)T %s\n' -1 "$*" >&2; }

fetch_kernel() {
  local meta packages package
  work=$(mktemp -d "$(vm_cache)/kernel.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  # The metapackage names the image (with its version in brackets); newer kernels are split (linux-binary, -modules of the same version).
  meta=$(vm_apt "$suite" cache show -t "$release" linux-image-amd64 |
    awk -v k="$kernel." '/^Version: / { fits = index($2, k) == 1 } fits && /^Depends: / { print; exit }' | grep -oE 'linux-image-[^ ,]+-amd64' | head -n 1)
  [ -n "$meta" ] || { echo "kernel.sh: Debian's $release has no linux-image-amd64 of version $kernel (any more)" >&2; return 1; }
  packages=$(vm_apt "$suite" cache depends -t "$release" --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances "$meta" |
    grep -E "^linux-(image|binary|modules|base)-${kernel//./\\.}[^ ]*-amd64$" | sort -u)
  say "fetching ${packages//$'\n'/, }"
  mkdir "$work/debs" "$work/files" "$work/out"
  # shellcheck disable=SC2046
  (cd "$work/debs" && vm_apt "$suite" get download $(for package in $packages; do echo "$package/$release"; done) >&2)
  for package in "$work"/debs/*.deb; do dpkg-deb -x "$package" "$work/files"; done
  dpkg-deb -f "$(ls "$work"/debs/linux-*.deb | head -n 1)" Version >"$work/out/version"
  local modules=$work/files/usr/lib/modules
  [ -d "$modules" ] || modules=$work/files/lib/modules
  mkdir -p "$work/out/lib"
  mv "$modules" "$work/out/lib/modules"
  local image
  image=$(find "$work/files" "$work/out/lib/modules" -name 'vmlinuz*' -type f | head -n 1)
  [ -n "$image" ] || { echo "kernel.sh: no vmlinuz in $packages" >&2; return 1; }
  cp "$image" "$work/out/vmlinuz"
  say "unpacking $(<"$work/out/version")"
  # Without its own decompression the guest starts a second earlier.
  python3 "$here/vmlinux.py" "$work/out/vmlinuz" "$work/out/vmlinux" || rm -f "$work/out/vmlinux"
  depmod -b "$work/out" "$(ls "$work/out/lib/modules")"
  chmod 755 "$work/out"
  touch "$work/out/complete"
  rm -rf "$folder"
  mv "$work/out" "$folder"
  rm -rf "$work"
  trap - EXIT
}

make_initramfs() {
  local release modules
  release=$(ls "$folder/lib/modules")
  tree=$(mktemp -d "$(vm_cache)/initramfs.XXXXXX")
  trap 'rm -rf "$tree"' EXIT
  modules=$tree/lib/modules/$release
  mkdir -p "$tree"/{bin,proc,sys,dev,run,tmp,var/tmp,lower,upper,newroot} "$modules/kernel"
  ln -s bin "$tree/sbin"
  cp /bin/busybox "$tree/bin/busybox"
  # The kernel loads modules by this modprobe; they are to make no links by themselves.
  mkdir -p "$tree/etc/modprobe.d"
  printf 'options %s\n' 'dummy numdummies=0' 'ifb numifbs=0' 'bonding max_bonds=0' >"$tree/etc/modprobe.d/links.conf"
  local name
  for name in $(/bin/busybox --list | grep -v '^busybox$'); do ln -s busybox "$tree/bin/$name"; done
  install -m 755 "$here/init" "$tree/init"
  grep -vE '^(#|$)' "$here/modules.list" | while read -r name; do
    modprobe -d "$folder" -S "$release" --show-depends "$name" 2>/dev/null || say "this kernel has no module $name"
  done | awk '$1 == "insmod" { print $2 }' | sort -u | while read -r path; do
    name=${path##*/}
    case $path in
      *.xz) xz -dc "$path" >"$modules/kernel/${name%.xz}" ;;
      *.zst) zstd -qdc "$path" >"$modules/kernel/${name%.zst}" ;;
      *) cp "$path" "$modules/kernel/$name" ;;
    esac
  done
  if [ -e "$folder/extra/complete" ]; then cp "$folder"/extra/*.ko "$modules/kernel/"; fi
  cp "$folder/lib/modules/$release"/modules.{builtin,order} "$modules/"
  cp "$folder/lib/modules/$release/modules.builtin.modinfo" "$modules/" 2>/dev/null || true
  depmod -b "$tree" "$release"
  (cd "$tree" && find . | sort | cpio -o -H newc --quiet -R 0:0) >"$folder/initramfs.partial"
  mv "$folder/initramfs.partial" "$folder/initramfs.cpio"
  printf '%s\n' "$made_of" >"$folder/initramfs.made-of"
  rm -rf "$tree"
  trap - EXIT
}

mkdir -p "$(vm_cache)"
exec 8>"$(vm_cache)/lock"
flock 8
rm -rf "$(vm_cache)"/{kernel,initramfs}.?????? # of runs that were killed: nobody else holds the lock
[ -e "$folder/complete" ] || fetch_kernel
if [ "$kernel" = 6.12 ] && ! "$here/modules.sh" "$folder" "$folder/extra" >/dev/null; then
  say "the modules cannot be built for the kernel that is here ($(<"$folder/version")): fetching the one that Debian has now"
  rm -rf "$folder"
  fetch_kernel
  "$here/modules.sh" "$folder" "$folder/extra" >/dev/null
fi
made_of=$({ cat "$here/init" "$here/modules.list" "$here/kernel.sh"; cat "$folder"/extra/*.ko 2>/dev/null || true; } | sha256sum)
if [ "$made_of" != "$(cat "$folder/initramfs.made-of" 2>/dev/null)" ]; then
  say "making the initramfs"
  make_initramfs
fi
echo "$folder"
