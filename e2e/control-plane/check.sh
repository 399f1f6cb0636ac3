#!/bin/bash
# Proves one control plane real: check.sh KUBECONFIG. Every line is a behaviour tests rely on, with the seconds it took.
# CP_BIN: the program (default: what ../build.sh built). KUBECTL: another kubectl than the one in it.
set -euo pipefail
export KUBECONFIG=${1:?check.sh KUBECONFIG}
k() { ${KUBECTL:-${CP_BIN:-${LIFEBOAT_CACHE:-$(dirname "$0")/../../.work}/bin/controlplane} kubectl} "$@"; }
d=$(mktemp -d); trap 'rm -rf "$d"' EXIT
now() { date +%s.%N; }
until_is() { # WANTED COMMAND...: waits up to 60 s until the command prints WANTED
  local want=$1 end=$((SECONDS + 60)) got; shift
  while got=$("$@" 2>&1); [ "$got" != "$want" ]; do [ $SECONDS -lt $end ] || { echo "wanted '$want', got '$got': $*" >&2; return 1; }; sleep 0.1; done
}
ok() { # WHAT COMMAND...: the command runs as a job, since within "cmd || ..." bash ignores -e
  local t; t=$(now); printf '%-62s ' "$1"; shift
  "$@" > "$d/out" 2>&1 &
  wait $! || { echo FAILED; cat "$d/out"; exit 1; }
  awk -v a="$t" -v b="$(now)" 'BEGIN {printf "ok %.1f s\n", b - a}'
}
refused() { ! "$@"; }
apply() { k apply --server-side --field-manager=check "$@"; }

namespace() { k create ns check; until_is Active k get ns check -o 'jsonpath={.status.phase}'; until_is default k -n check get sa default -o 'jsonpath={.metadata.name}'; until_is kube-root-ca.crt k -n check get cm kube-root-ca.crt -o 'jsonpath={.metadata.name}'; }
deployment() {
  k -n check create deployment web --image=x --replicas=2
  until_is 'Pending Pending' k -n check get pods -l app=web -o 'jsonpath={.items[*].status.phase}'
  until_is ReplicaSet k -n check get pods -l app=web -o 'jsonpath={.items[0].metadata.ownerReferences[0].kind}'
}
statefulset() {
  apply -f - <<'Y'
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: check}
spec:
  serviceName: db
  replicas: 1
  selector: {matchLabels: {app: db}}
  template: {metadata: {labels: {app: db}}, spec: {containers: [{name: c, image: x}]}}
  volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]
Y
  until_is Pending k -n check get pvc data-db-0 -o 'jsonpath={.status.phase}'
}
prebound() { # the binder can lose a race against itself and looks again only after 15 s: any change of the claim wakes it
  apply -f - <<'Y'
apiVersion: v1
kind: PersistentVolume
metadata: {name: check-pv}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: rbd
  csi: {driver: rbd.csi.ceph.com, volumeHandle: handle-1}
  claimRef: {namespace: check, name: check-pvc}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: check-pvc, namespace: check}
spec: {accessModes: [ReadWriteOnce], storageClassName: rbd, volumeName: check-pv, resources: {requests: {storage: 1Gi}}}
Y
  until_is Bound wake
  until_is Bound k get pv check-pv -o 'jsonpath={.status.phase}'
}
wake() { k -n check annotate --overwrite pvc check-pvc "check.dev/wake=$RANDOM" > /dev/null; k -n check get pvc check-pvc -o 'jsonpath={.status.phase}'; }
pvc_protection() { # a pod on a node that uses the claim keeps it (a pod without a node does not); then it goes, and the volume is Released
  until_is '["kubernetes.io/pvc-protection"]' k -n check get pvc check-pvc -o 'jsonpath={.metadata.finalizers}'
  k -n check run user --image=x --overrides='{"spec":{"nodeName":"n1","volumes":[{"name":"v","persistentVolumeClaim":{"claimName":"check-pvc"}}]}}'
  k -n check delete pvc check-pvc --wait=false; sleep 2; k -n check get pvc check-pvc
  k -n check delete pod user --grace-period=0 --force
  k -n check wait --for=delete pvc/check-pvc --timeout=60s
  until_is Released k get pv check-pv -o 'jsonpath={.status.phase}'
  k delete pv check-pv --timeout=60s
}
crd() {
  apply -f - <<'Y'
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: boats.check.dev}
spec:
  group: check.dev
  scope: Namespaced
  names: {kind: Boat, plural: boats, singular: boat}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties: {seats: {type: integer}, name: {type: string}}
            x-kubernetes-validations:
            - {rule: "self.seats > 0", message: "a boat has seats"}
            - {rule: "!has(oldSelf.name) || self.name == oldSelf.name", message: "name is immutable"}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
Y
  k wait --for=condition=Established crd/boats.check.dev --timeout=60s
}
boat() { printf '{"apiVersion":"check.dev/v1","kind":"Boat","metadata":{"name":"b","namespace":"check"},"spec":{"seats":%s,"name":"%s"}}' "$1" "$2" | apply -f -; }
cel() { boat 2 anna; refused boat 0 anna > "$d/e" 2>&1; grep -q 'a boat has seats' "$d/e"; refused boat 2 bella > "$d/e" 2>&1; grep -q 'name is immutable' "$d/e"; }
conflict() { # server-side apply: another manager is refused until it forces
  local o='{"apiVersion":"check.dev/v1","kind":"Boat","metadata":{"name":"b","namespace":"check"},"spec":{"seats":5}}'
  refused k apply --server-side --field-manager=other -f - <<<"$o" > "$d/e" 2>&1; grep -q 'conflict with "check"' "$d/e"
  k apply --server-side --field-manager=other --force-conflicts -f - <<<"$o"; until_is 5 k -n check get boat b -o 'jsonpath={.spec.seats}'
}
token() { # a service account's token is known to TokenReview, and RBAC decides what it may do
  k -n check create sa robot; k -n check create role r --verb=get,list --resource=pods; k -n check create rolebinding r --role=r --serviceaccount=check:robot
  local t; t=$(k -n check create token robot)
  printf '{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"%s"}}' "$t" | k create -o 'jsonpath={.status.authenticated} {.status.user.username}' -f - > "$d/tr"
  [ "$(cat "$d/tr")" = 'true system:serviceaccount:check:robot' ]
  for v in get:true delete:; do
    printf '{"apiVersion":"authorization.k8s.io/v1","kind":"SubjectAccessReview","spec":{"user":"system:serviceaccount:check:robot","resourceAttributes":{"namespace":"check","verb":"%s","resource":"pods"}}}' "${v%:*}" | k create -o 'jsonpath={.status.allowed}' -f - > "$d/sar"
    case "${v#*:}" in true) grep -qx true "$d/sar" ;; *) refused grep -q true "$d/sar" ;; esac
  done
  until_is yes k auth can-i list pods -n check --as=system:serviceaccount:check:robot
  # the token itself, without the admin's certificate
  k config view --raw -o 'jsonpath={.clusters[0].cluster.certificate-authority-data}' | base64 -d > "$d/ca"
  local u; u=$(k config view -o 'jsonpath={.clusters[0].cluster.server}')
  k --kubeconfig=/dev/null --server="$u" --certificate-authority="$d/ca" --token="$t" -n check get pods
  refused k --kubeconfig=/dev/null --server="$u" --certificate-authority="$d/ca" --token="$t" get secrets -A
}
garbage() { # owner gone, dependents gone
  k -n check delete deployment web; until_is '' k -n check get rs,pods -l app=web -o name
}
ns_gone() { k delete ns check --wait=false; until_is Terminating k get ns check -o 'jsonpath={.status.phase}' || true; k wait --for=delete ns/check --timeout=60s; k delete crd boats.check.dev; }

ok "namespace active, default service account, root CA published" namespace
ok "deployment -> replica set -> 2 pods, pending" deployment
ok "stateful set makes its claim" statefulset
ok "pre-bound PV and PVC become Bound" prebound
ok "pvc-protection holds while a pod uses it, then lets go" pvc_protection
ok "CRD with CEL established" crd
ok "CEL refuses a bad object and a change of an immutable field" cel
ok "server-side apply: conflict, then forced" conflict
ok "service account token: TokenReview, SubjectAccessReview, RBAC" token
ok "garbage collector removes a deployment's dependents" garbage
ok "namespace with contents is deleted" ns_gone
