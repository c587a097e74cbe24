#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# previous.sh [--print-folder]
# Builds fairlead and fairlead-guard of version 0.1 from the project's own history into a cache folder whose name says the commit;
# does nothing when that folder is there. Prints the folder as its last line: fairlead, fairlead-guard, fairlead.yaml (its manifest).
# Needs the packages of tools/deps.txt [build], and a clone whose history reaches back to the commit. FAIRLEAD_CACHE moves the cache.
set -euo pipefail
commit=3632212bbc5a892514697c587fa84cff333ba6c9 # the last one of version 0.1
root=$(cd "$(dirname "$0")/../.." && pwd)
cache=${FAIRLEAD_CACHE:-/var/cache/fairlead}/previous
folder=$cache/$commit
case ${1:-} in
  '') ;;
  --print-folder) echo "$folder"; exit 0 ;;
  *) echo "previous.sh: unknown option $1; it takes --print-folder" >&2; exit 2 ;;
esac
if [ -e "$folder/complete" ]; then echo "$folder"; exit 0; fi

git=(git -c "safe.directory=$root" -C "$root")
"${git[@]}" cat-file -e "$commit^{commit}" 2>/dev/null || {
  echo "previous.sh: the history of $root does not have version 0.1 (commit ${commit:0:12}): it is not a git clone, or a shallow one; git fetch --unshallow completes that" >&2
  exit 3
}
mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
if [ -e "$folder/complete" ]; then echo "$folder"; exit 0; fi
work=$(mktemp -d "$cache/building.XXXXXX")
trap 'rm -rf "$work"' EXIT
"${git[@]}" archive "$commit" | tar -x -C "$work"
(cd "$work" && export CCACHE_BASEDIR=$work CCACHE_NOHASHDIR=1 && cmake --preset release && cmake --build build/release --target fairlead fairlead-guard) >&2
mkdir "$work/out"
cp "$work/build/release/bin/fairlead" "$work/build/release/bin/fairlead-guard" "$work/deploy/kubernetes/fairlead.yaml" "$work/out"
touch "$work/out/complete"
rm -rf "$folder"
mv "$work/out" "$folder"
echo "$folder"
