# Installs the chart in a namespace, upgrades it well and badly, and takes it away. Read by kubernetes.sh.

namespace=bridges
restricted $namespace >/dev/null
make_secrets "$scratch/secrets"
kubectl -n $namespace create secret generic fanbridge --from-file "$scratch/secrets" >/dev/null
touch "$scratch/node/events"
"$python" "$root/tests/deploy/kubernetes/node.py" "$KUBECONFIG" "$scratch/node" 2>"$scratch/node.log" &
node=$!
ends_with_us "$node"

k() { kubectl -n $namespace "$@"; }
quick=stop.delaySeconds=1,minReadySeconds=1
values=(--values "$chart/ci/minimal-values.yaml" --set "replicas=3,$quick")
upgrade() { helm -n $namespace upgrade --install fb "$chart" "${values[@]}" --timeout 300s "$@"; }
uids() { k get pods -l app.kubernetes.io/component=bridge --sort-by .metadata.name \
    -o 'jsonpath={range .items[*]}{.metadata.name}={.metadata.uid} {end}'; }
uid_of() { k get pod "$1" -o 'jsonpath={.metadata.uid}'; }
ready_pods() { k get statefulset fb-fanbridge -o 'jsonpath={.status.readyReplicas}'; }
has_ready() { [ "$(ready_pods)" = "$1" ]; }
# What the node has noted of replicas since `mark`.
mark() { marked=$(wc -l <"$scratch/node/events"); }
since_mark() { tail -n +$((marked + 1)) "$scratch/node/events" | grep -v -e -check- -e -test; }
show_node() { "$@" && return; tail -n 5 "$scratch/node.log" "$scratch/node/events"; return 1; }

check "an installation gets three replicas ready, each a bridge that runs" show_node upgrade --wait
check "each has a claim of its own" [ "$(k get pvc -o name | wc -l)" -eq 3 ]
check "helm test finds them healthy" show_node helm -n $namespace test fb --timeout 180s

# One event is kept in the first replica: no broker is there to take it.
process_of() { cat "$scratch/node/$(uid_of "$1")/pid-fanbridge"; }
admin() { # POD PATH
    nsenter --target "$(process_of "$1")" --net curl -sf -m 5 \
        -H "Authorization: Bearer $(cat "$scratch/secrets/admin-token")" "http://127.0.0.1:9090$2"
}
in_replica() { # POD ARGUMENTS…: what `kubectl exec` would run
    local own
    own=$scratch/node/$(uid_of "$1")
    NETWORK_OF=$(process_of "$1") FANBRIDGE_CONFIG=/etc/fanbridge/fanbridge.yaml \
        "$pod" "$own/mounts-fanbridge" "${@:2}"
}
stored() { in_replica fb-fanbridge-0 send stream call.created --no-wait; }
check "a replica stores an event that its sink cannot take" stored
entries() { admin "$1" /metrics | sed -n 's/^fanbridge_sink_lag_events{sink="lake"} //p'; }
keeps_event() { [ "$(entries fb-fanbridge-0)" = 1 ]; }

# The chart takes it, and the bridge does not: the Secret has no such key.
absent=file:/run/secrets/fanbridge/nonsense
before=$(uids)
refuses "an upgrade whose configuration is wrong fails before anything changes" "pre-upgrade hooks failed" \
    upgrade --set "config.spool.duplicates.redis=$absent"
# What a container said last, as `kubectl describe` shows it.
last_words() { k get pods -l "app.kubernetes.io/component=$1" -o 'jsonpath={..terminated.message}'; }
names_it() { last_words "$1" | grep -q "${absent#file:}"; }
check "the job says what is wrong" names_it check
check "every pod is the one that it was" [ "$(uids)" = "$before" ]
configured() { k get configmap fb-fanbridge -o 'jsonpath={.data.fanbridge\.yaml}'; }
check "so is the configuration" eval '! configured | grep -q nonsense'

check "without that check the wrong configuration reaches the cluster" \
    upgrade --set "config.spool.duplicates.redis=$absent,configCheck.enabled=false"
stuck() { [ "$(k get pod fb-fanbridge-2 -o 'jsonpath={.status.containerStatuses[0].restartCount}')" -ge 1 ]; }
check "the pod that gets it first cannot start" await 180 stuck
check "its status says what is wrong" await 60 names_it bridge
others() { uids | tr ' ' '\n' | grep -v fanbridge-2; }
untouched() { uids; [ "$(others)" = "$(tr ' ' '\n' <<<"$before" | grep -v fanbridge-2)" ]; }
check "the others are not touched" untouched
check "and are ready" has_ready 2

mark
check "a mended configuration takes the place of the wrong one by itself" show_node upgrade --wait \
    --set 'config.select={call.created}'
# The replicas that were not ready at one time or another, most of them at once.
away_at_once() {
    since_mark | awk '/^(unready|exited|started)/ { away[$2] = 1 } /^ready/ { delete away[$2] }
        { if (length(away) > most) most = length(away) } END { print most + 0 }'
}
alone() { since_mark; [ "$(away_at_once)" -eq 1 ]; }
check "no replica but one was away at any time" alone
in_order() {
    since_mark
    [ "$(since_mark | sed -n 's/^ready fb-fanbridge-//p' | tr -d '\n')" = 210 ]
}
check "the last replica was replaced first" in_order
ended_well() { since_mark; [ "$(since_mark | grep -c '^exited fb-fanbridge-[01] 0$')" -eq 2 ]; }
check "each that was replaced had ended in order" ended_well
check "the event that waits was kept over the upgrade" await 90 keeps_event

# Helm does not wait for minReadySeconds, and a rollout begins with a replica that is not available yet.
available() { [ "$(k get statefulset fb-fanbridge -o 'jsonpath={.status.availableReplicas}')" = 3 ]; }
check "every replica is available" await 60 available
before=$(uids)
refuses "an upgrade that can roll back fails if a pod does not get ready" "UPGRADE FAILED" \
    upgrade --set "config.spool.duplicates.redis=$absent,configCheck.enabled=false" \
    --wait --rollback-on-failure --timeout 15s
settled() { k rollout status statefulset fb-fanbridge --timeout 180s; }
check "and every replica is ready again" settled
check "the others were not touched" untouched
check "with the configuration that it had" eval '! configured | grep -q nonsense'

evict() { # POD
    printf '{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"%s"}}' "$1" |
        kubectl create --raw "/api/v1/namespaces/$namespace/pods/$1/eviction" -f -
}
evicted=$(uid_of fb-fanbridge-0)
check "a node's drain may evict one replica" evict fb-fanbridge-0
refuses "and not another one before it is back" "disruption budget" evict fb-fanbridge-1
is_back() { [ "$(uid_of fb-fanbridge-0)" != "$evicted" ] && has_ready 3; }
check "it comes back" await 180 is_back
check "with its volume, and the event on it" await 90 keeps_event

before=$(uids)
refuses "a larger volume cannot be had by an upgrade alone" "A larger volume" \
    upgrade --set 'config.select={call.created}' --set persistence.size=30Gi
check "the StatefulSet can be deleted without its pods" k delete statefulset fb-fanbridge --cascade=orphan
run_on() { uids; [ "$(uids)" = "$before" ] && kill -0 "$(process_of fb-fanbridge-0)"; }
check "which run on" run_on
mark
check "then the upgrade succeeds" \
    show_node upgrade --wait --set 'config.select={call.created}' --set persistence.size=30Gi
check "and the pods are replaced one by one, as the log may grow with the volume" alone

reloading=(--set 'configChange=reload' --set persistence.size=30Gi)
check "the chart goes over to configChange reload" show_node upgrade --wait "${reloading[@]}"
before=$(uids)
check "then another selection is an upgrade" \
    show_node upgrade --wait "${reloading[@]}" --set 'config.select={call.ended}'
reloaded() {
    local replica counted='fanbridge_config_reloads_total{result="applied"} 1'
    for replica in 0 1 2; do
        admin fb-fanbridge-$replica /metrics | grep -qxF "$counted" || return 1
    done
}
check "which all replicas take over" await 180 reloaded
check "and for which no pod is replaced" [ "$(uids)" = "$before" ]

check "a rollback brings the former release back" helm -n $namespace rollback fb --wait --timeout 300s
tried() { upgrade "${reloading[@]}" --dry-run=server "$@"; }
warns_of_volumes() {
    tried --set replicas=1 | tee "$scratch/notes"
    grep -q 'volumes, data-fb-fanbridge-1' "$scratch/notes"
}
check "a smaller number of replicas says on which volumes events may wait" warns_of_volumes
refuses "a Deployment in the StatefulSet's place, which would leave its volumes, is refused" \
    "where events may wait" tried --set 'kind=Deployment,config.ack.after={lake}'
check "an uninstallation succeeds" helm -n $namespace uninstall fb --wait --timeout 300s
check "and ends every pod" await 180 no_pods
check "and leaves the volumes, which may hold events" [ "$(k get pvc -o name | wc -l)" -eq 3 ]

verified() { [ "$(k get pod fanbridge-spool-verify -o 'jsonpath={.status.phase}')" = Succeeded ]; }
verifies() {
    k apply --server-side --validate=strict -f "$root/deploy/kubernetes/spool-verify.yaml" 2>&1 |
        tee "$scratch/applied"
    ! grep -iE 'warning|error' "$scratch/applied" && await 120 verified &&
        grep -h '^clean: .* 1 entry' "$scratch"/node/*/log-verify
}
check "the log on such a volume can be verified, and the event is there" show_node verifies
k delete pod fanbridge-spool-verify >/dev/null

values=(--values "$chart/ci/ephemeral-values.yaml" --set "$quick")
# Without any credentials a bridge that reads a queue is not ready; these are good for nothing.
key='{"name":"AWS_ACCESS_KEY_ID","value":"none"},{"name":"AWS_SECRET_ACCESS_KEY","value":"none"}'
values+=(--set-json "env=[$key]")
k create secret generic fanbridge-env --from-literal STREAM_SECRET=a-signing-secret-of-this-test >/dev/null
check "a Deployment gets its replicas ready" show_node upgrade --wait
mark
check "its upgrade succeeds" show_node upgrade --wait --set config.timeline.steps_max=5000
new_first() { since_mark; since_mark | grep -E '^(ready|exited)' | head -1 | grep -q ^ready; }
check "its upgrade has a new replica ready before an old one ends" new_first
undisturbed() { cat "$scratch/node.log"; [ ! -s "$scratch/node.log" ]; }
check "the node had no trouble of its own" undisturbed
