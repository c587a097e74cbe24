#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# qemu.sh: installs QEMU for x86 guests from Debian's backports unless one is there that emulates an SR-IOV NIC (igb, since QEMU 8.0).
# Debian 12's own is older. The machine's apt sources stay as they are: the backports are named only for this one command.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/apt.sh"
has_igb() { command -v qemu-system-x86_64 >/dev/null && qemu-system-x86_64 -device help 2>/dev/null | grep -q '^name "igb"'; }
if has_igb; then exit 0; fi
command -v apt-get >/dev/null || { echo "qemu.sh: needs qemu-system-x86_64 8.0 or newer (with the NIC igb), and there is no apt-get to install it" >&2; exit 1; }
state=$(vm_cache)/apt/machine
mkdir -p "$state/lists/partial" "$state/archives/partial"
mirror=$(vm_apt_mirror)
for suite in bookworm bookworm-updates bookworm-backports; do
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
done >"$state/sources.list"
options=(-q -o Dir::Etc::SourceList="$state/sources.list" -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists="$state/lists" -o Dir::Cache="$state"
  -o APT::Sandbox::User=root -o DPkg::Lock::Timeout=300)
apt-get "${options[@]}" update
DEBIAN_FRONTEND=noninteractive apt-get "${options[@]}" install -y --no-install-recommends -t bookworm-backports qemu-system-x86
has_igb || { echo "qemu.sh: the QEMU of Debian's backports does not emulate the NIC igb: $(qemu-system-x86_64 --version | head -n 1)" >&2; exit 1; }
