# SPDX-License-Identifier: Apache-2.0
# What record.sh and record_switchdev.sh look at before they change anything. Sourced by bash.

# refuse REASON: nothing was changed so far
refuse() {
  echo "$(basename "$0"): $*" >&2
  exit 2
}

# need_guest OUT_FOLDER MODULE... -- COMMAND...: this is a guest of tests/vm/up, with these modules and commands, where a recording can be written.
# The guest is known by its kernel's command line: no machine that is kept has that word there.
need_guest() {
  local out=$1 tools problem
  shift
  grep -qwF fairlead.guest=1 /proc/cmdline || refuse "this machine is no guest of tests/vm/up, and it would be changed for good:" \
    "start one and run tests/vm/on-guest tests/vm/$(basename "$0") $out"
  [ "$(id -u)" = 0 ] || refuse "must run as root: it loads modules and makes network devices"
  for (( ; $# > 0; )); do
    [ "$1" != -- ] || { shift; break; }
    modinfo "$1" >/dev/null 2>&1 || refuse "this kernel ($(uname -r)) has no module $1: start the guest with one that tests/vm/kernel.sh prepared"
    shift
  done
  for one in "$@" python3; do
    command -v "$one" >/dev/null || refuse "there is no program $one here: install what tools/deps.txt lists under vm"
  done
  tools=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../tools" && pwd)
  problem=$(python3 -B -c 'import sys; sys.path.insert(0, sys.argv[1]); import node_fixture; print(node_fixture.out_problem(sys.argv[2]) or "")' \
    "$tools" "$out") || refuse "tools/node_fixture.py failed"
  [ -z "$problem" ] || refuse "$problem"
}
