# SPDX-License-Identifier: Apache-2.0
# Debian packages of other suites for the tests in a virtual machine. Sourced by bash.
#
# vm_apt SUITE get|cache ARGS...   apt-get or apt-cache of SUITE (bookworm, trixie, forky or sid; with -backports where there is one)
#
# The packages come from the archive that the machine's own apt sources name, and are checked with Debian's keyring. apt's state is a folder
# in the cache: the machine's package lists, sources and installed packages are neither changed nor looked at (no package counts as
# installed), and nothing can be installed: `get install PACKAGE...` only downloads PACKAGE and all that it needs, to
# $(vm_apt_state SUITE)/archives, and `get download PACKAGE[=VERSION]...` puts packages into the current folder.
# The lists are fetched at the first use of a suite and again when they are a day old. Two at once wait for each other.

vm_cache() { printf '%s\n' "${FAIRLEAD_CACHE:-/var/cache/fairlead}/vm"; }
vm_apt_state() { printf '%s\n' "$(vm_cache)/apt/$1"; } # SUITE

vm_apt_mirror() { # the archive's address: of a deb822 file of Debian's own name, or of sources.list
  local mirror=
  if [ -r /etc/apt/sources.list.d/debian.sources ]; then
    mirror=$(awk '$1 == "URIs:" { print $2; exit }' /etc/apt/sources.list.d/debian.sources)
  fi
  if [ -z "$mirror" ] && [ -r /etc/apt/sources.list ]; then
    mirror=$(awk '$1 == "deb" { for (i = 2; i <= NF; i++) if ($i ~ /^(https?|file|copy|mirror\+[a-z]+):/) { print $i; exit } }' /etc/apt/sources.list)
  fi
  if [ -z "$mirror" ]; then
    echo "vm_apt: neither /etc/apt/sources.list.d/debian.sources nor /etc/apt/sources.list names a Debian archive to fetch packages from" >&2
    return 1
  fi
  printf '%s\n' "$mirror"
}

vm_apt() { # SUITE get|cache ARGS...
  local suite=${1-} tool=${2-}
  case $suite in
    bookworm | trixie | forky | sid) ;;
    *) echo "vm_apt: no suite \"$suite\": bookworm, trixie, forky or sid" >&2; return 2 ;;
  esac
  case $tool in
    get | cache) ;;
    *) echo "vm_apt: no tool \"$tool\": get or cache" >&2; return 2 ;;
  esac
  shift 2
  local state
  state=$(vm_apt_state "$suite")
  mkdir -p "$state/lists/partial" "$state/archives/partial" || return 1
  (
    flock 9 || exit 1
    vm_apt_prepare "$suite" "$state" || exit 1
    exec "apt-$tool" -q -c "$state/apt.conf" "$@"
  ) 9>"$state/lock"
}

vm_apt_prepare() { # SUITE STATE-FOLDER: settings, sources, lists; the caller holds the lock
  local suite=$1 state=$2 mirror sources keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  [ -r "$keyring" ] || { echo "vm_apt: no $keyring (Debian's package debian-archive-keyring)" >&2; return 1; }
  mirror=$(vm_apt_mirror) || return 1
  sources="deb [signed-by=$keyring target=Packages] $mirror $suite main"
  case $suite in
    bookworm | trixie) sources+=$'\n'"deb [signed-by=$keyring target=Packages] $mirror $suite-backports main" ;;
  esac
  # Read after the machine's own settings, of which a proxy still counts, but not what it runs around an update.
  cat >"$state/apt.conf" <<CONF || return 1
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear APT::Architectures;
APT::Architecture "amd64";
APT::Architectures "amd64";
APT::Sandbox::User "root";
APT::Install-Recommends "false";
APT::Get::Download-Only "true";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::Retries "3";
Dir::Etc::SourceList "$state/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Dir::State::Lists "$state/lists";
Dir::State::status "$state/status";
Dir::State::extended_states "$state/extended_states";
Dir::Cache "$state";
Dir::Cache::archives "$state/archives";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "srcpkgcache.bin";
CONF
  : >"$state/status"
  if [ "$(cat "$state/sources.list" 2>/dev/null)" != "$sources" ]; then
    rm -f "$state/updated"
    printf '%s\n' "$sources" >"$state/sources.list"
  fi
  if [ -n "$(find "$state/updated" -mtime -1 2>/dev/null)" ]; then return 0; fi
  if apt-get -q -c "$state/apt.conf" update >"$state/update.log" 2>&1; then
    touch "$state/updated"
  elif [ -e "$state/updated" ]; then
    echo "vm_apt: cannot refresh the package lists of $suite, going on with those of $(date -r "$state/updated" +%F) ($state/update.log)" >&2
  else
    cat "$state/update.log" >&2
    echo "vm_apt: cannot fetch the package lists of $suite from $mirror" >&2
    return 1
  fi
}
