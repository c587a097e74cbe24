#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# package_test.sh BUILD_DIR: installs the build into a scratch folder, builds examples/file-driver against the installed package as an
# outsider would, and runs several pods on drydock with it: each must find its own name in the file, and the file must be empty again at the end.
set -eu
cd "$(dirname "$0")/.."
build=$(cd "$1" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cmake --install "$build" --prefix "$scratch/prefix" >"$scratch/install.log" || { cat "$scratch/install.log"; exit 1; }
grep -rhoP '#include "\Kfairlead/[^"]*' "$scratch/prefix/include" | sort -u | while read -r header; do
  [ -f "$scratch/prefix/include/$header" ] || { echo "an installed header includes $header, which is not installed"; exit 1; }
done
cmake -S examples/file-driver -B "$scratch/build" -G Ninja -DCMAKE_PREFIX_PATH="$scratch/prefix" >"$scratch/configure.log" || { cat "$scratch/configure.log"; exit 1; }
cmake --build "$scratch/build"
lines=$(wc -l <examples/file-driver/main.cc)
[ "$lines" -lt 150 ] || { echo "examples/file-driver/main.cc has $lines lines, 150 is the limit"; exit 1; }

# Its command line: --help lists the library's flags, a wrong flag is status 2.
"$scratch/build/file-driver" --help >"$scratch/help"
grep -q -- '--node-name' "$scratch/help" || { echo "file-driver --help does not list --node-name"; cat "$scratch/help"; exit 1; }
for wrong in --no-such-flag --log-level=loud; do
  status=0
  "$scratch/build/file-driver" "$wrong" 2>"$scratch/errors" || status=$?
  [ "$status" = 2 ] || { echo "file-driver $wrong: exit status $status instead of 2"; exit 1; }
  grep -q -- "${wrong%=*}" "$scratch/errors" || { echo "file-driver $wrong: the flag is not named"; cat "$scratch/errors"; exit 1; }
done

if [ "$(id -u)" != 0 ]; then
  echo "[  SKIPPED ] Skipped"
  echo "drydock needs root for its namespaces"
  exit 0
fi
# The file lives below {state}, which is drydock's own; the driver takes the path from DRA_FILE.
driver="DRA_FILE={state}/file1 $scratch/build/file-driver --cdi-dir {cdi} --registry-dir {registry} --plugin-dir {plugins}/file.dra.example.com \
--kubeconfig {kubeconfig} --node-name {node} --state-dir {state}"
"$scratch/prefix/bin/drydock" run --driver "$driver" -f examples/manifests/file-driver.yaml | tee "$scratch/out"
for pod in file-pod-0 file-pod-1 file-pod-2; do
  grep -q "found $pod" "$scratch/out" || { echo "pod $pod did not find its name in the file"; exit 1; }
done
