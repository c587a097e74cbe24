# SPDX-License-Identifier: Apache-2.0
# Shared by ./demo, ./check and .ci/run: progress lines, timing, and installing what tools/deps.txt lists. Sourced by bash, which writes
# nothing: what needs the folder of logs makes it.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
logs=$root/build/logs

if [ -t 1 ]; then bold=$'\e[1m' green=$'\e[32m' red=$'\e[31m' dim=$'\e[2m' plain=$'\e[0m'; else bold='' green='' red='' dim='' plain=''; fi

# ccache finds the same compilation in another clone of the project.
export CCACHE_BASEDIR=$root CCACHE_NOHASHDIR=1

seconds_since() { # START, as 12.3s
  local now=$EPOCHREALTIME
  awk -v a="$1" -v b="$now" 'BEGIN { printf "%.1fs", b - a }'
}

# step "what" command...: runs it with its output in a log; a tick and the time, or the end of the log and exit 1.
step() {
  local what=$1 started=$EPOCHREALTIME log
  shift
  mkdir -p "$logs"
  log=$logs/$(printf '%s' "$what" | tr -cs 'a-zA-Z0-9' '-' | sed 's/-*$//').log
  if [ -t 1 ]; then printf '  … %s' "$what"; fi
  if "$@" >"$log" 2>&1 </dev/null; then
    if [ -t 1 ]; then printf '\r\e[K'; fi
    printf '  %s✓%s %-58s %s%7s%s\n' "$green" "$plain" "$what" "$dim" "$(seconds_since "$started")" "$plain"
    return 0
  fi
  if [ -t 1 ]; then printf '\r\e[K'; fi
  printf '  %s✗ %s%s  (%s)\n' "$red" "$what" "$plain" "$(seconds_since "$started")"
  tail -n 40 "$log" | sed 's/^/      /'
  printf '    the whole log: %s\n' "$log"
  return 1
}

need_root() {
  if [ "$(id -u)" != 0 ]; then
    printf '%s must run as root: it installs Debian packages and makes network and mount namespaces of its own.\nTry: sudo %s\n' "$1" "$1" >&2
    exit 2
  fi
}

# deps SECTION...: names of the packages in these sections of tools/deps.txt
deps() {
  local wanted=" $* "
  awk -v wanted="$wanted" '/^#/ || !NF { next } /^\[/ { on = index(wanted, " " substr($0, 2, length($0) - 2) " "); next } on' "$root/tools/deps.txt"
}

install_packages() ( # SECTION...; one at a time: .ci/run begins with two things that install what they need
  mkdir -p "$root/build"
  exec {lock}>"$root/build/install.lock"
  flock "$lock"
  # shellcheck disable=SC2046
  missing=$(for p in $(deps "$@"); do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || echo "$p"
  done)
  if [ -z "$missing" ]; then return 0; fi
  command -v apt-get >/dev/null || { echo "needs Debian's apt-get to install: $missing" >&2; return 1; }
  export DEBIAN_FRONTEND=noninteractive
  # shellcheck disable=SC2086
  apt-get update -q && apt-get install -q -y --no-install-recommends $missing
)

# One at a time in each folder: tiers of CI that run side by side use the same one.
configure() { mkdir -p "$root/build" && flock "$root/build/$1.lock" cmake --preset "$1" -S "$root"; }             # PRESET
build() { local preset=$1; shift; flock "$root/build/$preset.lock" cmake --build "$root/build/$preset" "$@"; }    # PRESET [--target ...]
