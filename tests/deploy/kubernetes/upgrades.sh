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
values=(--values "$chart/ci/minimal-values.yaml" --set replicas=3,stop.delaySeconds=1,minReadySeconds=1)
upgrade() { helm -n $namespace upgrade --install fb "$chart" "${values[@]}" --timeout 120s "$@"; }
uids() { k get pods -l app.kubernetes.io/component=bridge --sort-by .metadata.name \
    -o 'jsonpath={range .items[*]}{.metadata.name}={.metadata.uid} {end}'; }
uid_of() { k get pod "$1" -o 'jsonpath={.metadata.uid}'; }
ready_pods() { k get statefulset fb-fanbridge -o 'jsonpath={.status.readyReplicas}'; }
has_ready() { [ "$(ready_pods)" = "$1" ]; }
# The events of the node since a mark: `mark` sets it.
mark() { marked=$(wc -l <"$scratch/node/events"); }
since_mark() { tail -n +$((marked + 1)) "$scratch/node/events"; }
show_node() { "$@" && return; tail -5 "$scratch/node.log" "$scratch/node/events"; return 1; }

check "an installation gets three replicas ready, each a bridge that runs" show_node upgrade --wait
check "each has a claim of its own" [ "$(k get pvc -o name | wc -l)" -eq 3 ]
check "helm test finds them healthy" show_node helm -n $namespace test fb --timeout 60s

# One event is kept in the first replica: no broker is there to take it.
process_of() { # POD
    local uid
    uid=$(uid_of "$1")
    pgrep -f -- "/usr/bin/fanbridge run" | while read -r process; do
        grep -q "$uid" "/proc/$process/mountinfo" 2>/dev/null && echo "$process"
    done | head -1
}
admin() { # POD PATH
    nsenter --target "$(process_of "$1")" --net curl -sf -m 5 \
        -H "Authorization: Bearer $(cat "$scratch/secrets/admin-token")" "http://127.0.0.1:9090$2"
}
in_replica() { # POD ARGUMENTS…: what `kubectl exec` would run
    local own
    own=$scratch/node/$(uid_of "$1")
    NETWORK_OF=$(process_of "$1") "$pod" "$own/mounts-fanbridge" "${@:2}"
}
stored() { in_replica fb-fanbridge-0 send stream call.created --no-wait; }
check "a replica stores an event that its sink cannot take" stored
entries() { admin "$1" /metrics | sed -n 's/^fanbridge_sink_lag_events{sink="lake"} //p'; }
keeps_event() { [ "$(entries fb-fanbridge-0)" = 1 ]; }

before=$(uids)
refuses "an upgrade whose configuration is wrong fails before anything changes" "pre-upgrade hooks failed" \
    upgrade --set config.spool.duplicates.redis=nonsense
# What a container said last, as `kubectl describe` shows it.
last_words() { k get pods -l "app.kubernetes.io/component=$1" -o 'jsonpath={..terminated.message}'; }
names_key() { last_words "$1" | grep -q duplicates.redis; }
check "the job says which key is wrong" names_key check
check "every pod is the one that it was" [ "$(uids)" = "$before" ]
configured() { k get configmap fb-fanbridge -o 'jsonpath={.data.fanbridge\.yaml}'; }
check "so is the configuration" eval '! configured | grep -q nonsense'

check "without that check the wrong configuration reaches the cluster" \
    upgrade --set config.spool.duplicates.redis=nonsense,configCheck.enabled=false
stuck() { [ "$(k get pod fb-fanbridge-2 -o 'jsonpath={.status.containerStatuses[0].restartCount}')" -ge 1 ]; }
check "the pod that gets it first cannot start" awaited 60 stuck
check "its status says what is wrong" awaited 20 names_key bridge
others() { uids | tr ' ' '\n' | grep -v fanbridge-2; }
check "the others are not touched, and are ready" eval \
    '[ "$(others)" = "$(tr " " "\n" <<<"$before" | grep -v fanbridge-2)" ] && has_ready 2'

mark
check "a mended configuration takes the place of the wrong one by itself" show_node upgrade --wait \
    --set 'config.select={call.created}'
check "no replica but one was away at any time" eval \
    '! since_mark | awk "/^started/ { down[\$2] = 1 } /^ready/ { delete down[\$2] }
        { n = 0; for (pod in down) n++; if (n > 1) bad = 1 } END { exit !bad }"'
order() { since_mark | sed -n 's/^started //p' | tr '\n' ' '; }
check "the newest replica was replaced first" [ "$(order)" = "fb-fanbridge-2 fb-fanbridge-1 fb-fanbridge-0 " ]
check "each that was replaced had ended in order" eval \
    '[ "$(since_mark | grep -c "^exited fb-fanbridge-[01] 0$")" -eq 2 ]'
check "the event that waits was kept over the upgrade" awaited 30 keeps_event

evict() { # POD
    printf '{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"%s"}}' "$1" |
        kubectl create --raw "/api/v1/namespaces/$namespace/pods/$1/eviction" -f -
}
check "a node's drain may evict one replica" evict fb-fanbridge-0
refuses "and not another one before it is back" "disruption budget" evict fb-fanbridge-1
check "it comes back" awaited 60 has_ready 3
check "with its volume, and the event on it" awaited 30 keeps_event

before=$(uids)
refuses "a larger volume cannot be had by an upgrade alone" "updates to statefulset spec" \
    upgrade --set 'config.select={call.created}' --set persistence.size=30Gi
orphaned() {
    k delete statefulset fb-fanbridge --cascade=orphan &&
        upgrade --wait --set 'config.select={call.created}' --set persistence.size=30Gi
}
check "it can once the StatefulSet was deleted without its pods" show_node orphaned
check "which run on meanwhile" [ "$(uids)" = "$before" ]

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
check "which all replicas take over" awaited 60 reloaded
check "and for which no pod is replaced" [ "$(uids)" = "$before" ]

check "a rollback brings the former release back" helm -n $namespace rollback fb --wait --timeout 120s
check "an uninstallation ends every pod" helm -n $namespace uninstall fb --wait --timeout 120s
check "and leaves the volumes, which may hold events" [ "$(k get pvc -o name | wc -l)" -eq 3 ]

values=(--values "$chart/ci/ephemeral-values.yaml" --set stop.delaySeconds=1,minReadySeconds=1)
values+=(--set-json config.sources.stream-queue=null --set-json nodeSelector=null)
k create secret generic fanbridge-env --from-literal STREAM_SECRET=a-signing-secret-of-this-test >/dev/null
check "a Deployment gets its replicas ready" show_node upgrade --wait
mark
check "its upgrade succeeds" show_node upgrade --wait --set config.timeline.steps_max=5000
check "its upgrade starts a new replica before an old one ends" eval \
    'since_mark | awk "/^ready/ { ready = 1 } /^exited/ && !/check/ { exit !ready }"'
check "the node had no trouble of its own" [ ! -s "$scratch/node.log" ]
