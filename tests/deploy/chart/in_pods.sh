# The bridge with the configuration, the files and the rights that its pods have. Read by chart.sh.

secrets=$scratch/secrets
make_secrets "$secrets"
make_certificate "$scratch/tls"
# As a volume of Kubernetes: the file is a link into a directory that is itself a link, and swapped as a
# whole.
config=$scratch/config
new_config() { # FILE
    local kept
    kept=$(mktemp -d "$config/..XXXXXX")
    chmod 755 "$kept"
    cp "$1" "$kept/fanbridge.yaml"
    chmod 644 "$kept/fanbridge.yaml"
    ln -s "$(basename "$kept")" "$config/..data.new"
    mv -T "$config/..data.new" "$config/..data"
}
mkdir -m 755 "$config"
ln -s ..data/fanbridge.yaml "$config/fanbridge.yaml"
mkdir -m 700 "$scratch/data"
chown 10001:10001 "$scratch/data"
# Others than the bridge's group read no secret.
chown -R 0:10001 "$secrets" && chmod 750 "$secrets" && chmod 440 "$secrets"/*
chmod 755 "$scratch"
cat >"$scratch/mounts" <<MOUNTS
$config /etc/fanbridge ro
$secrets /run/secrets/fanbridge ro
$scratch/tls /run/secrets/fanbridge-tls ro
$scratch/tls /run/kafka-ca ro
$scratch/data /var/lib/fanbridge rw
MOUNTS
export STREAM_SECRET=a-signing-secret-of-this-test

# The configuration that a manifest's bridge reads.
configuration_of() { # MANIFESTS
    "$python" -c 'import sys, yaml
for document in yaml.safe_load_all(sys.stdin):
    if document and document["kind"] == "ConfigMap" and not document["metadata"]["name"].endswith("-check"):
        if "fanbridge.yaml" in document["data"]: print(document["data"]["fanbridge.yaml"])' <"$1"
}
usable() { # VERB MANIFESTS
    configuration_of "$2" >"$scratch/fanbridge.yaml" && new_config "$scratch/fanbridge.yaml" &&
        "$pod" "$scratch/mounts" "$1" --config /etc/fanbridge/fanbridge.yaml
}
for manifests in "$scratch"/rendered/*.yaml; do
    check "the bridge can use the configuration of $(basename "$manifests" .yaml)" usable check "$manifests"
done
check "the tests in a configuration pass" usable test "$scratch/rendered/reload.yaml"
render --values "$minimal" --set config.spool.duplicates.redis=file:/run/secrets/fanbridge/nonsense \
    >"$scratch/bad.yaml"
refuses "what no schema sees is refused by the check before an upgrade" "fanbridge/nonsense" \
    usable check "$scratch/bad.yaml"

# A bridge as configChange: reload runs it.
configuration_of "$scratch/rendered/reload.yaml" >"$scratch/fanbridge.yaml"
new_config "$scratch/fanbridge.yaml"
"$pod" "$scratch/mounts" run --config /etc/fanbridge/fanbridge.yaml >"$scratch/bridge.log" 2>&1 &
bridge=$!
ends_with_us "$bridge"
# ask PATH CURL-ARGUMENTS…: the status of an answer of the admin listener, asked within the pod's network.
ask() {
    local path=$1
    shift
    nsenter --target "$bridge" --net curl -s -m 5 -o "$scratch/answer" -w '%{http_code}' \
        "$@" "http://127.0.0.1:9090$path"
}
answers() { [ "$(ask "${@:2}")" = "$1" ]; }
within() { # SECONDS COMMAND…
    await "$@" || { tail -5 "$scratch/bridge.log"; return 1; }
}
bearer="Authorization: Bearer $(cat "$secrets/admin-token")"
reader="Authorization: Bearer $(cat "$secrets/metrics-token")"
check "a pod that can write nothing but its volume gets ready" within 180 answers 200 /readyz
check "its probes need no token" eval 'answers 200 /startupz && answers 200 /livez'
check "its metrics are closed to whoever has no token" answers 401 /metrics
check "its metrics are open to who has the metrics token of the Secret, by the name of the service" \
    answers 200 /metrics -H "$reader" -H "Host: hooks-pods.events.svc:9090"
check "another name than the service's is refused" \
    answers 421 /metrics -H "$reader" -H "Host: elsewhere.svc:9090"
check "with the metrics token nobody reads anything else" answers 401 /api/v1/status -H "$reader"
resume_answers() { # STATUS BEARER
    answers "$1" /api/v1/sinks/archive/resume -H "$2" \
        -H "X-Fanbridge-Request: 1" -H "Content-Type: application/json" -d '{}'
}
check "nor changes anything, which takes the admin token of the Secret" \
    eval 'resume_answers 401 "$reader" && resume_answers 200 "$bearer"'
asked_by_test() {
    NETWORK_OF=$bridge NAMES=hooks-pods.events.svc "$pod" "$scratch/mounts" \
        health --ready --url http://hooks-pods.events.svc:9090
}
check "the pod of helm test finds it healthy" asked_by_test
in_pod() { NETWORK_OF=$bridge "$pod" "$scratch/mounts" "$@"; }
check "a verb within the pod finds the bridge and its token by the configuration" in_pod topics plan

sed 's/- call.session_ended/- call.ended/' "$scratch/fanbridge.yaml" >"$scratch/changed.yaml"
new_config "$scratch/changed.yaml"
counts() { ask /metrics -H "$bearer" >/dev/null && grep -qxF -- "$1" "$scratch/answer"; }
check "a ConfigMap that changes is taken over without a restart" \
    within 90 counts 'fanbridge_config_reloads_total{result="applied"} 1'
sed 's/provider: stream/provider: steram/' "$scratch/fanbridge.yaml" >"$scratch/changed.yaml"
new_config "$scratch/changed.yaml"
check "one with an error changes nothing, and is counted for the alert" \
    within 90 counts 'fanbridge_config_reload_refused 1'
check "the bridge goes on with the one before" answers 200 /readyz

stops() {
    local began=$SECONDS
    kill -TERM "$bridge"
    wait "$bridge" && [ $((SECONDS - began)) -lt 45 ]
}
check "SIGTERM ends it in order, well within the time that the pod has" stops
check "what it stored belongs to its user" [ "$(stat -c %u "$scratch/data/spool/state.redb")" = 10001 ]
unset STREAM_SECRET
