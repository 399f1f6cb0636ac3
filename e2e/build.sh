#!/bin/bash
# build.sh control-plane|kubectl: builds a Go program the tests need, unless it is there, and prints where it is.
# It is kept in .work/bin (LIFEBOAT_CACHE: another directory), and once per user in ~/.cache/lifeboat, so that a fresh
# clone on a machine that built it before needs no build. Its name there carries a hash of all that goes into it.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
die() { echo "build.sh: $*" >&2; exit 1; }

case ${1:-} in
control-plane) name=controlplane versioned=k8s.io/kubernetes ;;
kubectl) name=kubectl versioned=k8s.io/kubectl ;;
*) die "usage: build.sh control-plane|kubectl" ;;
esac
cd "$here/$1"

key=$(cat "$here/build.sh" go.mod go.sum ./*.go | sha256sum | cut -c1-16)
work=$(realpath -m "${LIFEBOAT_CACHE:-$here/../.work}")/bin
mkdir -p "$work"
out=$work/$name
fresh() { [ -x "$out" ] && [ "$(cat "$out.key" 2>/dev/null)" = "$key" ]; }
if fresh; then echo "$out"; exit; fi

exec 9> "$out.lock" # two tests, or a test and a developer, want it at once: one builds, the other waits
flock 9
if fresh; then echo "$out"; exit; fi

user=${XDG_CACHE_HOME:-${HOME:+$HOME/.cache}}
kept=${user:+$user/lifeboat/$name-$key}
mkdir -p "${kept:+$(dirname "$kept")}" 2>/dev/null || kept=
if [ -z "$kept" ] || [ ! -x "$kept" ]; then
  go=$(command -v go || echo /usr/local/go/bin/go)
  [ -x "$go" ] || die "Go is needed to build $name, 1.24 or newer: see https://go.dev/dl"
  # An older Go may fetch the one that go.mod asks for, through the module proxy.
  "$go" list -m > /dev/null 2>&1 || export GOTOOLCHAIN=auto
  v=$("$go" list -m -f '{{.Version}}' "$versioned")
  v=v1.${v#v*.} # k8s.io/kubectl v0.X.Y is Kubernetes v1.X.Y
  minor=${v#v1.}
  minor=${minor%%.*}
  p=k8s.io/component-base/version
  # CGO_ENABLED=0: a static file, no C compiler needed. -dwarf=false, -s, -w: nobody debugs it; less to compile and to keep.
  # Another CGO_ENABLED, or no -trimpath, compiles nearly everything anew.
  CGO_ENABLED=0 "$go" build -buildvcs=false -trimpath -gcflags=all=-dwarf=false \
    -ldflags "-s -w -X $p.gitVersion=$v -X $p.gitMajor=1 -X $p.gitMinor=$minor -X $p.gitCommit=unknown -X $p.gitTreeState=clean -X k8s.io/client-go/pkg/version.gitVersion=$v" \
    -o "$out.new" . 9>&- >&2
  if [ -n "$kept" ]; then
    find "$(dirname "$kept")" -name "$name-*" -mtime +30 -delete
    cp "$out.new" "$kept.$$" && mv "$kept.$$" "$kept"
  fi
else
  ln -f "$kept" "$out.new" 2>/dev/null || cp "$kept" "$out.new"
fi
mv -f "$out.new" "$out" # in one step: the old one may be running
echo "$key" > "$out.key"
echo "$out"
