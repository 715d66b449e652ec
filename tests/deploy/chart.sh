#!/usr/bin/env bash
# The chart and the manifests: what they render is valid for several versions of Kubernetes, whoever sets a
# value wrongly is told, and the bridge runs with the configuration, the files and the rights that its pods
# have.
. "$(dirname "$0")/lib.sh"
. "$root/tests/deploy/kubernetes/clients.sh"

versions=(1.31 1.34 1.37)
kubeconform=$("$tools" go kubeconform) || exit 69
sets=("$chart"/ci/*-values.yaml)
name_of() { basename "$1" -values.yaml; }
render() { helm template fb "$chart" --namespace events "$@"; }
minimal=$chart/ci/minimal-values.yaml

mkdir "$scratch/rendered"
for set in "${sets[@]}"; do
    check "the values \"$(sed -n '1s/^# //p' "$set" | cut -c 1-60)\" are rendered" \
        render --values "$set" --output-dir "$scratch/documents"
    render --values "$set" >"$scratch/rendered/$(name_of "$set").yaml"
done
for overlay in base example; do
    kubectl kustomize "$root/deploy/kubernetes/$overlay" >"$scratch/rendered/kustomize-$overlay.yaml"
done

check "the copies in the chart, its schema and the manifests are as they are made" \
    "$root/tests/deploy/chart/generate.py" --check
cargo_version() { sed -n 's/^version = "\(.*\)"$/\1/p' "$root/Cargo.toml" | head -1; }
check "the chart installs the version that this repository builds" \
    grep -qxF "appVersion: \"$(cargo_version)\"" "$chart/Chart.yaml"

lint() { # VALUES: what helm only warns of counts, too
    helm lint --strict --values "$1" "$chart" >"$scratch/lint" 2>&1
    local status=$?
    cat "$scratch/lint"
    [ $status -eq 0 ] && ! grep -qE 'WARN|ERROR' "$scratch/lint"
}
for set in "${sets[@]}"; do
    check "helm lint has no complaint about $(name_of "$set")" lint "$set"
done
package() {
    helm package "$chart" --destination "$scratch" && mkdir "$scratch/package" &&
        tar -xzf "$scratch"/fanbridge-*.tgz -C "$scratch/package" &&
        helm template fb "$scratch/package/fanbridge" --namespace events --values "$1" >"$scratch/packaged" &&
        render --values "$1" | diff - "$scratch/packaged" && [ ! -e "$scratch/package/fanbridge/ci" ]
}
check "the packed chart renders the same" package "$minimal"

mapfile -t definitions < <(definitions)
"$python" "$root/tests/deploy/chart/schemas.py" "$scratch/schemas" "${versions[@]}" -- "${definitions[@]}" ||
    exit 69
conforms() { # VERSION FILE…
    local version=$1 own='{{.NormalizedKubernetesVersion}}/{{.ResourceKind}}{{.KindSuffix}}.json'
    local custom='{{.Group}}_{{.ResourceKind}}_{{.ResourceAPIVersion}}.json'
    shift
    "$kubeconform" -strict -kubernetes-version "$version.0" \
        -schema-location "$scratch/schemas/$own" -schema-location "$scratch/schemas/$custom" "$@"
}
for version in "${versions[@]}"; do
    check "everything that is rendered is valid for Kubernetes $version" \
        conforms "$version" "$scratch"/rendered/*.yaml
done
misspelt() { sed "s/$1/$2/" "$scratch/rendered/production.yaml" >"$scratch/misspelt.yaml"; }
misspelt terminationGracePeriodSeconds terminationGraceSeconds
refuses "a misspelt key of a pod is found" "'terminationGraceSeconds' not allowed" \
    conforms 1.37 "$scratch/misspelt.yaml"
misspelt scrapeTimeout scrapeTimeOut
refuses "a misspelt key of a ServiceMonitor is found" "'scrapeTimeOut' not allowed" \
    conforms 1.37 "$scratch/misspelt.yaml"

properties() { "$python" "$root/tests/deploy/chart/properties.py" "$@"; }
check "every pod has few rights, time to stop, and its own services" properties "$scratch"/rendered/*.yaml
misspelt "terminationGracePeriodSeconds: 45" "terminationGracePeriodSeconds: 30"
refuses "a pod that is killed before it has stopped is found" "killed after 30 s" \
    properties "$scratch/misspelt.yaml"
misspelt "key: metrics-token" "key: admin-token"
refuses "a Prometheus that would hold the admin token is found" "it holds the admin token" \
    properties "$scratch/misspelt.yaml"
misspelt "metrics_token: .*" "show_payloads: false"
refuses "a Prometheus whose token the bridge does not know is found" \
    "another token than admin.metrics_token" properties "$scratch/misspelt.yaml"

rules() {
    "$python" -c 'import sys, yaml
for document in yaml.safe_load_all(sys.stdin):
    if document["kind"] == "PrometheusRule": yaml.safe_dump(document["spec"], sys.stdout)' \
        <"$scratch/rendered/production.yaml" >"$scratch/rules.yaml" &&
        "$("$root/tests/servers/promtool.sh" path)" check rules "$scratch/rules.yaml" &&
        grep -q "runbook_url: https://runbooks.example.com/OPERATING.md#fanbridgeabsent" "$scratch/rules.yaml"
}
"$root/tests/servers/promtool.sh" install || exit 69
check "promtool takes the alerts of the PrometheusRule, which link to the runbook" rules

# The values in the document, each block on top of the first one.
mkdir "$scratch/document"
sed -n '/^## On Kubernetes/,/^## [^O]/p' "$root/docs/DEPLOYING.md" |
    awk -v to="$scratch/document" '/^```yaml/ { file = to "/" ++n ".yaml"; next } /^```/ { file = "" }
        file { print > file }'
documented() {
    local block
    [ -e "$scratch/document/4.yaml" ] || return 1
    for block in "$scratch"/document/*.yaml; do
        render --values "$scratch/document/1.yaml" --values "$block" >"$scratch/rendered/documented.yaml" &&
            conforms 1.37 "$scratch/rendered/documented.yaml" || return 1
    done
}
check "the values in docs/DEPLOYING.md are rendered" documented

. "$root/tests/deploy/chart/refusals.sh"
. "$root/tests/deploy/chart/in_pods.sh"
finish
