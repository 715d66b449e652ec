#!/usr/bin/env bash
# The chart in a real Kubernetes: its API server takes all that is rendered, its controllers make the pods,
# and each pod runs the bridge for real, though in no container. Upgrades that are wrong must leave what runs
# alone.
. "$(dirname "$0")/lib.sh"
. "$root/tests/deploy/kubernetes/clients.sh"

server=$root/tests/servers/kubernetes.sh
TEST_SERVERS_DIR=$scratch/servers
export TEST_SERVERS_DIR
mkdir "$scratch/servers" "$scratch/node"
# The bridge's user has to reach its volumes.
chmod 755 "$scratch"
clean_up_more() { "$server" stop; }
KUBECONFIG=$("$server" start) || exit 69
export KUBECONFIG

restricted() { # NAMESPACE: only pods without rights are let in, and who makes others is warned
    kubectl create namespace "$1" &&
        kubectl label namespace "$1" pod-security.kubernetes.io/{enforce,warn,audit}=restricted &&
        await 180 kubectl -n "$1" get serviceaccount default
}
defined() {
    definitions | xargs -n 1 kubectl create -f &&
        kubectl wait --for condition=established --timeout 180s crd --all
}
check "the definitions of custom resources are taken" defined

# Said with no word of warning, about a deprecated version, a field or a right.
applied() { # NAMESPACE COMMAND-THAT-RENDERS…
    restricted "$1" && "${@:2}" >"$scratch/manifests" &&
        kubectl apply --server-side --validate=strict -n "$1" -f "$scratch/manifests" >"$scratch/applied" 2>&1
    local status=$?
    cat "$scratch/applied"
    [ $status -eq 0 ] && ! grep -i warning "$scratch/applied"
}
has_pods() { # NAMESPACE: as many as its workload wants
    local wanted found
    wanted=$(kubectl -n "$1" get statefulset,deployment -o 'jsonpath={.items[0].spec.replicas}')
    found=$(kubectl -n "$1" get pods -l app.kubernetes.io/component=bridge -o name | wc -l)
    [ "$found" -eq "$wanted" ]
}
for set in "$chart"/ci/*-values.yaml; do
    name=$(basename "$set" -values.yaml)
    check "the API server takes the values $name without a warning" \
        applied "$name" helm template fb "$chart" --namespace "$name" --values "$set"
    check "its pods are let into a namespace that is restricted ($name)" await 180 has_pods "$name"
done
check "the API server takes the overlay for kustomize" \
    kubectl apply --server-side --validate=strict -k "$root/deploy/kubernetes/example"
check "its pods are let in, too" await 180 has_pods events
refuses "a pod with more rights would be kept out" "violates PodSecurity" \
    kubectl -n minimal run other --image registry.example/other
names=("$chart"/ci/*-values.yaml)
names=("${names[@]##*/}")
kubectl delete namespace --wait=false events "${names[@]%-values.yaml}" >/dev/null
no_pods() { [ -z "$(kubectl get pods --all-namespaces -o name)" ]; }
check "and go with their namespaces" await 120 no_pods

. "$root/tests/deploy/kubernetes/upgrades.sh"
finish
