#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# kubernetes.sh [--kubernetes VERSION] [--print-folder]
# Builds what a one-node cluster is made of from the published Go modules, at pinned versions, into a cache folder whose name says
# the versions; does nothing when that folder is there. Prints the folder as its last line.
# Needs a C compiler, pkg-config and libseccomp-dev (runc), Go >= 1.24; FAIRLEAD_CACHE moves the cache.
set -euo pipefail
kubernetes=${FAIRLEAD_KUBERNETES:-1.36.3} etcd=3.6.8 containerd=2.4.2 runc=1.5.2 cni=1.9.1 recipe=1 only_print=
while [ $# -gt 0 ]; do
  case $1 in
    --kubernetes) kubernetes=${2#v}; shift 2 ;;
    --print-folder) only_print=1; shift ;;
    *) echo "kubernetes.sh: unknown option $1; it takes --kubernetes VERSION and --print-folder" >&2; exit 2 ;;
  esac
done
[[ $kubernetes =~ ^1\.[0-9]+\.[0-9]+$ ]] || { echo "kubernetes.sh: --kubernetes must be a release such as 1.36.3, not $kubernetes" >&2; exit 2; }
cache=${FAIRLEAD_CACHE:-/var/cache/fairlead}/kubernetes
folder=$cache/k$kubernetes-etcd$etcd-containerd$containerd-runc$runc-cni$cni-r$recipe
if [ -n "$only_print" ] || [ -e "$folder/complete" ]; then echo "$folder"; exit 0; fi

mkdir -p "$cache"
exec 9>"$cache/lock" # two builds at once would only take each other's processor time
flock 9
if [ -e "$folder/complete" ]; then echo "$folder"; exit 0; fi

# The newest Go of this machine; GOTOOLCHAIN=auto lets it fetch the one that the modules ask for.
go_version() { # PROGRAM: 1.26.8
  "$1" env GOVERSION 2>/dev/null | sed -n 's/^go\([0-9.]*\).*/\1/p'
}
find_go() {
  local best='' best_version=1.23.99 version
  for candidate in $(type -ap go) /usr/local/go/bin/go /usr/lib/go-*/bin/go; do
    [ -x "$candidate" ] || continue
    version=$(cd / && GOTOOLCHAIN=local go_version "$candidate")
    if [ -n "$version" ] && [ "$(printf '%s\n%s\n' "$best_version" "$version" | sort -V | tail -n 1)" = "$version" ]; then
      best=$candidate best_version=$version
    fi
  done
  echo "$best"
}
go=$(find_go)
if [ -z "$go" ] && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
  codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends -t "$codename-backports" golang-go >&2 || true
  go=$(find_go)
fi
[ -n "$go" ] || {
  echo "kubernetes.sh: Kubernetes is built with Go 1.24 or newer, which is neither on PATH, in /usr/local/go nor in /usr/lib/go-*, and Debian's backports do not offer it here; install it from https://go.dev/dl" >&2
  exit 1
}
export GOTOOLCHAIN=auto GOWORK=off GOFLAGS="${GOFLAGS:-} -trimpath -modcacherw"
say() { printf '%(%T)T %s\n' -1 "$*" >&2; }
say "Go $(cd / && go_version "$go") at $go"

work=$(mktemp -d "$cache/building.XXXXXX")
trap 'rm -rf "$work"' EXIT
out=$work/out
mkdir -p "$out/cni"

# k8s.io/kubernetes asks for its staging modules by `replace => ./staging/...`: that counts only in a main module, and the module's
# zip does not carry them. So a small main module of our own names the published ones.
build_kubernetes() {
  local commands=(kube-apiserver kube-controller-manager kube-scheduler kubelet kubectl) source
  mkdir "$work/kubernetes" && cd "$work/kubernetes"
  source=$("$go" mod download -json "k8s.io/kubernetes@v$kubernetes" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
  [ -n "$source" ] || { echo "kubernetes.sh: the module proxy has no Kubernetes $kubernetes" >&2; return 1; }
  {
    echo "module example.test/kubernetes"
    grep -E '^(go|godebug) ' "$source/go.mod"
    echo "require k8s.io/kubernetes v$kubernetes"
    printf 'tool k8s.io/kubernetes/cmd/%s\n' "${commands[@]}"
    awk -v version="v0.${kubernetes#1.}" '/=> \.\/staging/ { print "replace " $1 " => " $1 " " version }' "$source/go.mod"
  } >go.mod
  "$go" mod tidy
  local v=k8s.io/component-base/version minor=${kubernetes#1.}
  CGO_ENABLED=0 "$go" build -o "$out/" -ldflags "-s -w -X $v.gitVersion=v$kubernetes -X $v.gitMajor=1 -X $v.gitMinor=${minor%.*} \
    -X $v.gitTreeState=clean -X $v.buildDate=2026-01-01T00:00:00Z -X k8s.io/client-go/pkg/version.gitVersion=v$kubernetes" \
    "${commands[@]/#/k8s.io/kubernetes/cmd/}"
}

build_etcd() { # its go.mod has replace lines too
  mkdir "$work/etcd" && cd "$work/etcd"
  printf 'module example.test/etcd\ngo 1.24.0\nrequire go.etcd.io/etcd/server/v3 v%s\ntool go.etcd.io/etcd/server/v3\n' "$etcd" >go.mod
  "$go" mod tidy
  CGO_ENABLED=0 "$go" build -ldflags "-s -w" -o "$out/etcd" go.etcd.io/etcd/server/v3
}

install() { # FOLDER CGO MODULE/COMMAND@VERSION [FLAG...]
  local to=$1 cgo=$2 what=$3
  shift 3
  (cd "$work" && CGO_ENABLED=$cgo GOBIN=$to "$go" install -ldflags "-s -w" "$@" "$what")
}

say "Kubernetes $kubernetes"; (build_kubernetes)
say "etcd $etcd"; (build_etcd)
say "containerd $containerd"
for command in containerd containerd-shim-runc-v2 ctr; do install "$out" 0 "github.com/containerd/containerd/v2/cmd/$command@v$containerd"; done
say "runc $runc"; install "$out" 1 "github.com/opencontainers/runc@v$runc" -tags seccomp
say "CNI plugins $cni"
for plugin in main/bridge main/loopback main/macvlan main/host-device ipam/host-local ipam/static meta/tuning; do
  install "$out/cni" 0 "github.com/containernetworking/plugins/plugins/$plugin@v$cni"
done
for program in kube-apiserver kube-controller-manager kube-scheduler kubelet kubectl etcd containerd containerd-shim-runc-v2 ctr runc cni/bridge cni/loopback cni/host-local; do
  [ -x "$out/$program" ] || { echo "kubernetes.sh: the build ended without $program" >&2; exit 1; }
done
touch "$out/complete"
chmod 755 "$out"
rm -rf "$folder"
mv "$out" "$folder"
say "done"
echo "$folder"
