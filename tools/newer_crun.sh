#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tools/newer_crun.sh FOLDER: puts a crun that can move network devices (CDI 1.1.0 netDevices, crun >= 1.22) into FOLDER, from a newer
# Debian suite, with its own libraries and loader: nothing of it is installed on the machine. Prints the path of the program.
# Debian 12's own crun and runc are too old for that; the tests of attach mode `netdevices` use this one.
set -eu
[ $# = 1 ] || { echo "usage: newer_crun.sh FOLDER" >&2; exit 2; }
mkdir -p "$1"
folder=$(cd "$1" && pwd)
program=$folder/crun
works() { [ -x "$program" ] && "$program" features 2>/dev/null | grep -q netDevices; }
if works; then
  echo "$program"
  exit 0
fi
mirror=$(awk '/^URIs:/ { print $2; exit }' /etc/apt/sources.list.d/debian.sources 2>/dev/null || true)
[ -n "$mirror" ] || mirror=$(awk '/^deb / { for (i = 2; i <= NF; i++) if ($i ~ /^http/) { print $i; exit } }' /etc/apt/sources.list)
[ -n "$mirror" ] || { echo "newer_crun.sh: no Debian mirror in this machine's apt sources" >&2; exit 1; }

state=$folder/apt
rm -rf "$folder/root" "$state"
mkdir -p "$state/lists/partial" "$state/archives/partial" "$folder/root"
: >"$state/status"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror forky main" >"$state/sources.list"
apt=(-q -o "Dir::Etc::SourceList=$state/sources.list" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$state/lists"
  -o "Dir::Cache=$state" -o "Dir::Cache::archives=$state/archives" -o "Dir::State::status=$state/status"
  -o APT::Sandbox::User=root -o APT::Install-Recommends=0)
apt-get "${apt[@]}" update >&2
apt-get "${apt[@]}" install -y --download-only crun >&2
for package in "$state"/archives/*.deb; do dpkg-deb -x "$package" "$folder/root"; done
rm -rf "$state"
libraries=$folder/root/usr/lib/$(uname -m)-linux-gnu
loader=$(find "$folder/root" -name 'ld-linux*.so*' -print -quit)
cat >"$program" <<WRAPPER
#!/bin/sh
exec $loader --library-path $libraries $folder/root/usr/bin/crun "\$@"
WRAPPER
chmod +x "$program"
works || { echo "newer_crun.sh: the crun that was fetched has no netDevices" >&2; exit 1; }
echo "$program"
