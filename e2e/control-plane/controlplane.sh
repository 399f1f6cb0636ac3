#!/bin/bash
# Real Kubernetes control planes on 127.0.0.1: etcd + kube-apiserver + kube-controller-manager, as plain processes.
#   controlplane.sh start   NAME [PORT] make certificates if there are none, start what does not run, wait until it works; the next time on
#                                       the same data and port. Without PORT, or 0: a free one. Then use CP_ROOT/NAME/admin.kubeconfig
#   controlplane.sh stop    NAME        orderly end, data kept          controlplane.sh destroy NAME   end it and delete its data
#   controlplane.sh kill    NAME [PART] SIGKILL                         controlplane.sh ps      [NAME] pid, state, memory, CPU seconds
#   controlplane.sh freeze  NAME [PART] SIGSTOP: a lost site            controlplane.sh thaw    NAME [PART]
#   controlplane.sh user    NAME FILE USER [GROUP...]  another identity: makes CP_ROOT/NAME/FILE.kubeconfig and says where
# PART: etcd | kube-apiserver | kube-controller-manager; without it all three.
# CP_ROOT: where the control planes live, one directory each (required).  CP_BIN: the program (default: what ../build.sh built).
# CP_OWNER: a pid, for start: when that process ends, however it ends, the control plane is destroyed.
# CP_API_ARGS, CP_KCM_ARGS: more flags for kube-apiserver and kube-controller-manager; the last one given counts.
set -euo pipefail
: "${CP_ROOT:?set CP_ROOT to a directory, e.g. \$(mktemp -d)}"
here=$(cd "$(dirname "$0")" && pwd)
bin=${CP_BIN:-${LIFEBOAT_CACHE:-$here/../../.work}/bin/controlplane}
parts="kube-controller-manager kube-apiserver etcd" # in the order they stop
die() { echo "controlplane: $*" >&2; exit 1; }

verb=${1:?start|stop|kill|freeze|thaw|ps|user|destroy}; name=${2:-}; CP_ROOT=$(realpath -m "$CP_ROOT"); dir=$CP_ROOT/$name
[ "$verb" = ps ] && [ -z "$name" ] || [[ $name =~ ^[a-z0-9][a-z0-9-]*$ ]] || die "$verb needs a NAME of a-z, 0-9 and -"

# The pid of a part if it is ours and lives: its command line must name our directory, and a zombie has none.
pid_of() {
  local pid; pid=$(cat "$dir/$1.pid" 2>/dev/null) || return 1
  grep -qaF "$dir/" "/proc/$pid/cmdline" 2>/dev/null || return 1
  echo "$pid"
}
signal() {
  local p pid
  case " $parts " in *" ${2:-etcd} "*) ;; *) die "no part $2: $parts" ;; esac
  for p in ${2:-$parts}; do if pid=$(pid_of "$p"); then kill "-$1" "$pid"; fi; done
}
gone() { local p; for p in ${1:-$parts}; do ! pid_of "$p" >/dev/null || return 1; done; }
wait_until() { # SECONDS WHAT COMMAND...
  local end=$((SECONDS + $1)) what=$2; shift 2
  until "$@"; do [ $SECONDS -lt $end ] || { echo "controlplane: $name: not in time: $what" >&2; return 1; }; sleep 0.05; done
}
launch() { # PART FLAGS...
  local part=$1; shift
  ! pid_of "$part" >/dev/null || return 0
  setsid "$bin" "$part" "$@" >> "$dir/$part.log" 2>&1 < /dev/null &
  echo $! > "$dir/$part.pid"
  wait_until 2 "$part" pid_of "$part" > /dev/null || true # between fork and exec it does not look like ours yet
}
start() {
  local p port=${1:-}
  [ -x "$bin" ] || die "no program at $bin: build it first, with cargo xtask control-plane build"
  [ ${#dir} -lt 95 ] || die "$dir is too long for the path of a socket"
  mkdir -p "$dir"
  [ -s "$dir/kcm.kubeconfig" ] || "$bin" pki "$dir" "${port:-0}" "$name"
  port=$(sed 's/.*://' "$dir/url")
  for p in $parts; do pid_of "$p" > /dev/null || rm -f "$dir/$p.pid"; done
  [ -e "$dir/etcd.pid" ] || rm -f "$dir"/*.sock # of one that was killed
  # First, so that nothing outlives an owner that is killed during the start.
  if [ -n "${CP_OWNER:-}" ]; then
    export CP_ROOT CP_BIN=$bin
    setsid bash -c 'tail -f /dev/null --pid "$1"; "$0" destroy "$2"; rmdir "$CP_ROOT" 2>/dev/null' "$here/$(basename "$0")" "$CP_OWNER" "$name" >/dev/null 2>&1 </dev/null &
  fi
  launch etcd --name "$name" --data-dir "$dir/etcd" --unsafe-no-fsync --log-level warn \
    --listen-client-urls "unix://$dir/etcd.sock" --advertise-client-urls http://localhost:0 \
    --listen-peer-urls "unix://$dir/peer.sock" --initial-advertise-peer-urls http://localhost:0 \
    --initial-cluster "$name=http://localhost:0"
  wait_until 20 etcd test -S "$dir/etcd.sock"
  launch kube-apiserver --etcd-servers "unix://$dir/etcd.sock" --secure-port "$port" \
    --bind-address 127.0.0.1 --advertise-address 127.0.0.1 --endpoint-reconciler-type none \
    --tls-cert-file "$dir/server.crt" --tls-private-key-file "$dir/server.key" --client-ca-file "$dir/ca.crt" \
    --authorization-mode RBAC --allow-privileged \
    --service-cluster-ip-range 10.96.0.0/16 \
    --service-account-issuer https://kubernetes.default.svc \
    --service-account-key-file "$dir/sa.pub" --service-account-signing-key-file "$dir/sa.key" ${CP_API_ARGS:-}
  "$bin" ready "$dir" 120 /readyz
  launch kube-controller-manager --kubeconfig "$dir/kcm.kubeconfig" --leader-elect=false --secure-port 0 \
    --use-service-account-credentials --service-account-private-key-file "$dir/sa.key" --root-ca-file "$dir/ca.crt" \
    --flex-volume-plugin-dir "$dir/flex" --kube-api-qps 500 --kube-api-burst 1000 ${CP_KCM_ARGS:-}
  # Pods are refused until the default service account is there: answering /readyz is not being usable.
  "$bin" ready "$dir" 60 /api/v1/namespaces/default/serviceaccounts/default
}

case $verb in
start) start "${3:-}" ;;
stop) signal TERM; signal CONT; wait_until 20 "orderly end" gone || { signal KILL; wait_until 5 end gone; } ;;
kill) signal KILL "${3:-}"; wait_until 5 end gone "${3:-}" ;;
freeze) signal STOP "${3:-}" ;;
thaw) signal CONT "${3:-}" ;;
user) shift 2; "$bin" user "$dir" "$name" "$@"; echo "$dir/$1.kubeconfig" ;;
destroy) signal KILL; wait_until 5 end gone; rm -rf "$dir" ;;
ps)
  for dir in ${name:+"$dir"} $([ -n "$name" ] || ls -d "$CP_ROOT"/*/ 2>/dev/null); do
    dir=${dir%/}
    for p in $parts; do if pid=$(pid_of "$p"); then
      printf '%-8s %-24s ' "$(basename "$dir")" "$p"; ps -o pid=,stat=,rss=,cputimes= -p "$pid"
    fi; done
  done ;;
*) die "unknown verb $verb" ;;
esac
