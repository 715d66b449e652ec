# What the chart refuses, and what a changed value changes. Read by chart.sh.

# refused SENTENCE WORDS HELM-ARGUMENTS…: the smallest values with one of them wrong.
refused() {
    local sentence=$1 words=$2
    shift 2
    refuses "$sentence" "$words" render --values "$minimal" "$@"
}

refuses "without values the first thing that is missing is named" "image.repository is required" render
refused "a chart without an image is refused" "image.repository is required" --set image.repository=
refused "a digest that is none is refused" "/image/digest" --set image.digest=sha256:abc
refused "an image with a tag in its repository's place is refused" "/image/repository" \
    --set 'image.repository=Registry/Image'
refused "a chart without a Secret is refused" "secrets.existingSecret is required" \
    --set secrets.existingSecret=
refused "a Secret that is made twice is refused" "exclude each other" \
    --set secrets.externalSecret.enabled=true
refused "an ExternalSecret without a store is refused" "secretStoreRef.name is required" \
    --set secrets.existingSecret=,secrets.externalSecret.enabled=true
refused "an ExternalSecret that fetches nothing is refused" "needs data or dataFrom" \
    --set secrets.existingSecret=,secrets.externalSecret.enabled=true \
    --set secrets.externalSecret.secretStoreRef.name=a
refused "a configuration without a source is refused" "config.sources is required" --set config.sources=null
refused "a misspelt value is refused" "additional properties 'replica' not allowed" --set replica=3
refused "a misspelt key of the configuration is refused" "additional properties 'brokrs' not allowed" \
    --set config.sinks.lake.kafka.brokrs=a:1
refused "a kind of workload that is none is refused" "/kind" --set kind=DaemonSet
refused "a signing secret in plain text gets into no ConfigMap" \
    "config.sources.stream.secrets[0] is a secret" \
    --set 'config.sources.stream.secrets={hunter2}'
refused "nor does one with a period" "config.sources.stream.secrets[0].secret is a secret" \
    --set 'config.sources.stream.secrets[0].secret=hunter2'
refused "nor does the URL of a Redis with its password" "config.spool.duplicates.redis is a secret" \
    --set config.spool.duplicates.redis=rediss://user:hunter2@redis:6379
refused "nor does a password of Kafka" "config.sinks.lake.kafka.sasl.password is a secret" \
    --set config.sinks.lake.kafka.sasl.mechanism=PLAIN,config.sinks.lake.kafka.sasl.password=hunter2
refused "nor does one among the properties of its client" "properties.sasl.password is a secret" \
    --set 'config.sinks.lake.kafka.properties.sasl\.password=hunter2'
refused "nor does the key of a collector" "config.traces.headers.api-key is a secret" \
    --set config.traces.endpoint=https://otel.example,config.traces.headers.api-key=hunter2
refused "nor does the token with which the metrics are read" "config.admin.metrics_token is a secret" \
    --set config.admin.metrics_token=hunter2-hunter2-hunter2
refused "a public address in the configuration is refused" "config.http.listen is set by the chart" \
    --set config.http.listen=0.0.0.0:80
refused "an admin address in the configuration is refused" "config.admin.listen is set by the chart" \
    --set config.admin.listen=0.0.0.0:80
refused "an admin token in the configuration is refused" "config.admin.token is set by the chart" \
    --set config.admin.token=env:TOKEN
# Values with which Prometheus may reach the admin listener.
monitored=serviceMonitor.enabled=true,networkPolicy.enabled=false
refused "a metrics token beside the one of the ServiceMonitor is refused" \
    "config.admin.metrics_token is set by the chart: take it out (see secrets.metricsTokenKey)" \
    --set "$monitored,config.admin.metrics_token=env:METRICS_TOKEN"
refused "a ServiceMonitor with the admin token is refused" \
    "secrets.metricsTokenKey and secrets.adminTokenKey are both admin-token" \
    --set "$monitored,secrets.metricsTokenKey=admin-token"
refused "a key that no file can be named after is refused" "/secrets/metricsTokenKey" \
    --set secrets.metricsTokenKey=a/b
refused "a spool beside the volume is refused" "config.spool.dir is set by the chart" \
    --set config.spool.dir=/tmp
refused "a grace that the pod does not know is refused" "set stop.graceSeconds instead" \
    --set config.shutdown_grace_seconds=90
refused "a reload that the pods do not know is refused" "set configChange instead" \
    --set config.reload_on_change=true
refused "a Deployment that would lose events with its pod is refused" "lost with its pod" \
    --set kind=Deployment
refuses "a Deployment is refused if one source of several waits for no sink" \
    "before they are acknowledged: stream." render --values "$chart/ci/ephemeral-values.yaml" \
    --set-json 'config.sources.stream.ack={"after":[]}'
refused "a volume that several nodes write is refused" "/persistence/accessModes/0" \
    --set 'persistence.accessModes={ReadWriteMany}'
refused "a volume that is too small is refused" "is too small" --set persistence.size=1Gi
refused "a size in another unit is refused" "/persistence/size" --set persistence.size=20G
refused "a ServiceMonitor that the network policy keeps out is refused" "networkPolicy.adminFrom" \
    --set serviceMonitor.enabled=true
refused "an ingress without a host is refused" "ingress.hosts is required" --set ingress.enabled=true
refused "a value with a line break cannot add a field to a pod" "/priorityClassName" \
    --set-string "priorityClassName=a"$'\n'"hostNetwork: true"
refused "a Kubernetes that cannot wait before it stops a pod is refused" \
    "incompatible with Kubernetes v1.29.0" --kube-version 1.29.0

# The pod template's part that changes with the configuration.
digest() { render "$@" | sed -n 's|^ *fanbridge/config: ||p'; }
changes() { # VALUES CHANGE…
    local values=$1 before after
    shift
    before=$(digest --values "$values")
    after=$(digest --values "$values" "$@")
    [ -n "$before" ] && [ -n "$after" ] && [ "$before" != "$after" ]
}
keeps() { # VALUES CHANGE…
    local values=$1 before
    shift
    before=$(digest --values "$values")
    [ -n "$before" ] && [ "$before" = "$(digest --values "$values" "$@")" ]
}
reload=$chart/ci/reload-values.yaml
check "a changed selection replaces the pods" changes "$minimal" --set 'config.select={call.created}'
check "with configChange reload a changed selection leaves the pods alone" \
    keeps "$reload" --set 'config.select={call.ended}'
check "with configChange reload another source leaves the pods alone" \
    keeps "$reload" --set config.sources.mux.provider=mux
check "with configChange reload another sink leaves the pods alone" \
    keeps "$reload" --set config.sinks.archive.file.dir=/var/lib/fanbridge/other
check "with configChange reload another limit replaces the pods" \
    changes "$reload" --set config.limits.connections_max=100
check "with configChange reload another metrics token replaces the pods" \
    changes "$reload" --set secrets.metricsTokenKey=scrape
check "with configChange reload a sink that is awaited replaces the pods when it changes" \
    changes "$reload" --set config.sinks.lake.kafka.brokers=other:9092
check "with configChange reload a source that awaits another sink replaces the pods" \
    changes "$reload" --set 'config.sources.github.ack.after={archive}'

has() { # WORDS HELM-ARGUMENTS…
    local words=$1
    shift
    render --values "$minimal" "$@" | grep -qF -- "$words"
}
has_numbered_release() {
    helm template 123 "$chart" --values "$minimal" | tee "$scratch/numbered" | grep -q 'instance: "123"'
    ! grep -q 'instance: 123$' "$scratch/numbered"
}
lacks() { ! has "$@"; }
sha=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
check "a digest names the image" has "image: \"registry.example/fanbridge@$sha\"" --set "image.digest=$sha"
check "a tag beside a digest stays for readers" has "image: \"registry.example/fanbridge:1.2@$sha\"" \
    --set-string "image.digest=$sha,image.tag=1.2"
check "a release whose name is a number has labels that are texts" has_numbered_release
check "a reference to a secret of AWS is none in plain text" has "aws-sm:fanbridge#stream" \
    --set 'config.sources.stream.secrets={aws-sm:fanbridge#stream}'
check "a ServiceMonitor shows the metrics token, which the bridge knows" \
    has "metrics_token: file:/run/secrets/fanbridge/scrape" \
    --set "$monitored,secrets.metricsTokenKey=scrape"
check "without a ServiceMonitor the bridge looks for no metrics token" lacks metrics_token
check "nor for one of the key, if the configuration names another" \
    has "metrics_token: env:METRICS_TOKEN" --set config.admin.metrics_token=env:METRICS_TOKEN
check "without a ServiceMonitor both keys may be the same, because one of them is not used" \
    has "token: file:/run/secrets/fanbridge/metrics-token" --set secrets.adminTokenKey=metrics-token
check "the log's bound follows the volume" has "bytes_max: 96256 MiB" --set persistence.size=100Gi
check "a bound of the log that is given counts" has "bytes_max: 7 GiB" --set 'config.spool.bytes_max=7 GiB'
check "a large number stays a number" has "events_max: 20000000" \
    --set config.spool.duplicates.events_max=20000000
check "behind an ingress one address may have all connections" has "connections_per_address_max: 4096" \
    --set 'ingress.enabled=true,ingress.hosts={a.example.com}'
check "one replica has no disruption budget, which would have no meaning" lacks PodDisruptionBudget
check "two replicas have a disruption budget" has "kind: PodDisruptionBudget" --set replicas=2

notes() { # HELM-ARGUMENTS…: what whoever installs reads, which needs no cluster
    KUBECONFIG=/dev/null helm install fb "$chart" --namespace events --dry-run=client "$@" |
        sed -n '/^NOTES:/,$p'
}
warns() { # WORDS HELM-ARGUMENTS…
    local words=$1
    shift
    notes "$@" | tee "$scratch/notes"
    grep -qF -- "$words" "$scratch/notes"
}
ephemeral=$chart/ci/ephemeral-values.yaml
check "whoever installs a Deployment is told which sinks lose what they do not have" \
    warns "not every acknowledgement waits for lake" --values "$ephemeral" \
    --set config.sinks.lake.kafka.brokers=a:1
is_silent() { ! warns "not every acknowledgement" "$@" && grep -q 'is installed as' "$scratch/notes"; }
check "and not told so if every sink is awaited" is_silent --values "$ephemeral"
check "nor with a StatefulSet" is_silent --values "$minimal"
check "the overlay for kustomize, which has two replicas, has a disruption budget" \
    grep -qx 'kind: PodDisruptionBudget' "$scratch/rendered/kustomize-example.yaml"
