#!/usr/bin/env bash
# Runs what deploy/compose.yaml starts, without an engine: the same commands, files, names and variables, in a
# network and a file system of this run alone. Kafka, the emulator of SQS and SNS, Prometheus and the bridge
# are real; only Grafana is left out. compose.sh calls it, and counts what it prints.
#
#   unshare --mount --net picture.sh PROJECT     PROJECT as tests/deploy/compose prints it
#
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"
project=$1
python=$("$root/tests/servers/aws.sh" python)
libs=${KAFKA_LIBS_DIR:-$root/.test-servers/kafka/libs}
laptop_secrets=$scratch/secrets

# service SERVICE FILTER…: what the project says of a service.
service() { jq -r --arg service "$1" ".services[\$service] | ${*:2}" "$project"; }

# A directory that this run may change; on the machine it stays as it is.
own() {
    local layer=$scratch/layers$1
    mkdir -p "$layer"
    mount -t tmpfs tmpfs "$layer"
    mkdir "$layer/upper" "$layer/work"
    mount -t overlay overlay -o "lowerdir=$1,upperdir=$layer/upper,workdir=$layer/work" "$1"
    layers+=("$layer")
}

clean_up_more() {
    local pid log
    if [ ${#failed[@]} -gt 0 ]; then
        for log in "$scratch"/*.log; do
            echo "-- the end of $(basename "$log"):"
            tail -n 15 "$log" | cut -c 1-300
        done
    fi
    # Whatever a service has started lives in this network, and nothing else does.
    for pid in ${started[@]+"${started[@]}"}; do kill -KILL "$pid" 2>/dev/null; done
    cd / && umount /etc /var/lib /run "${layers[@]}" 2>/dev/null
}

# Files and secrets at the places where the service finds them.
mount_files() {
    local type source target
    while IFS=$'\t' read -r type source target; do
        mkdir -p "$(dirname "$target")"
        case $type:$source in
        bind:*) cp "$source" "$target" ;;
        # The bridge and Prometheus are on one file system here: the bridge's are at the place of both.
        volume:secrets) ln -sfn "$laptop_secrets/bridge" "$target" ;;
        esac
    done < <(service "$1" '.volumes[]? | [.type, .source, .target] | @tsv')
}

# start SERVICE COMMAND…: in the background, with the service's variables.
start() {
    local name=$1 variables
    shift
    mapfile -t variables < <(service "$name" '.environment // {} | to_entries[] | "\(.key)=\(.value)"')
    env "${variables[@]}" "$@" >"$scratch/$name.log" 2>&1 &
    ends_with_us $!
}

# once SERVICE: the bridge's binary with the service's variables and command, to its end. An hour of samples
# is ten of them here.
once() {
    local name=$1 variables arguments
    mapfile -t variables < <(service "$name" '.environment // {} | to_entries[] | "\(.key)=\(.value)"')
    mapfile -t arguments < <(service "$name" '.command[]' |
        sed '/^--count$/{n;s/.*/10/};/^--rate$/{n;s/.*/20/}')
    env "${variables[@]}" "FANBRIDGE_CONFIG=/etc/fanbridge/fanbridge.yaml" \
        timeout 120 "$FANBRIDGE" "${arguments[@]}"
}

# As the image's own start: variables become properties, and the directory is formatted.
start_kafka() {
    mkdir -p "$scratch/kafka/default" "$scratch/kafka/mounted" "$scratch/kafka/final"
    touch "$scratch/kafka/default/"{server.properties,log4j2.yaml,tools-log4j2.yaml}
    local variables
    mapfile -t variables < <(service kafka '.environment | to_entries[] | "\(.key)=\(.value)"')
    env "${variables[@]}" CLUSTER_ID=4L6g3nShT-eMCtK--X86sw \
        java -cp "$libs/*" kafka.docker.KafkaDockerWrapper setup \
        --default-configs-dir "$scratch/kafka/default" --mounted-configs-dir "$scratch/kafka/mounted" \
        --final-configs-dir "$scratch/kafka/final" >"$scratch/kafka.log" 2>&1 || return
    start kafka java -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$libs/*" kafka.Kafka \
        "$scratch/kafka/final/server.properties"
}

healthy() { # SERVICE, by the command of its health check
    local command
    command=$(service "$1" '.healthcheck.test | if .[0] == "CMD-SHELL" then .[1] else .[1:] | @sh end')
    sh -c "$command" >/dev/null 2>&1
}

kafka_has() { # BROKER TOPIC COUNT
    [ "$(timeout 20 kcat -C -q -e -b "$1" -t "$2" -o beginning -f '%s\n' 2>/dev/null | wc -l)" -ge "$3" ]
}

aws() { # SERVICE CALL ARGUMENTS-AS-JSON
    env AWS_ACCESS_KEY_ID=made-up AWS_SECRET_ACCESS_KEY=made-up "$python" -c '
import boto3, json, sys
client = boto3.client(sys.argv[1], endpoint_url="http://aws:4566", region_name="eu-west-1")
print(json.dumps(getattr(client, sys.argv[2])(**json.loads(sys.argv[3])), default=str))' "$@"
}
inbox_has_a_message() {
    aws sqs receive_message '{"QueueUrl":"http://aws:4566/000000000000/billing-inbox","WaitTimeSeconds":1}' |
        grep -q call.session_ended
}

prometheus() { curl -fs --get "http://127.0.0.1:9091/api/v1/$1" "${@:2}"; }
shows() { # QUERY VALUE
    [ "$(prometheus query --data-urlencode "query=$1" | jq -r '.data.result[0].value[1]')" = "$2" ]
}
all_rules_are_there() {
    [ "$(prometheus rules | jq '[.data.groups[].rules[]] | length')" = \
        "$(grep -c '^ *- alert:' "$root/deploy/prometheus/fanbridge.rules.yaml")" ]
}
no_alert() { # NAME
    [ "$(prometheus alerts | jq --arg name "$1" \
        '.data.alerts | map(select(.labels.alertname == $name)) | length')" = 0 ]
}
verb() { FANBRIDGE_CONFIG=/etc/fanbridge/fanbridge.yaml timeout 60 "$FANBRIDGE" "$@"; }

ip link set lo up
layers=()
own /etc
own /var/lib
mount -t tmpfs tmpfs /run
mkdir -p "$laptop_secrets"/{bridge,prometheus,grafana}
printf '127.0.0.1 localhost bridge kafka aws prometheus grafana %s\n' "$(hostname)" >/etc/hosts
printf 'hosts: files\n' >/etc/nsswitch.conf
for name in bridge aws prometheus; do mount_files "$name"; done
check "the secrets are made where everybody finds them" \
    sh "$root/deploy/compose/make-secrets.sh" "$laptop_secrets"

check "Kafka starts with the variables of its service" start_kafka
FILESYSTEM_ROOT=/ XDG_CACHE_HOME=$scratch/cache GATEWAY_LISTEN=0.0.0.0:4566 \
    SKIP_SSL_CERT_DOWNLOAD=1 DNS_ADDRESS=0 start aws "$python" -m localstack.runtime.main
check "the emulator is healthy once its queues are there" await 90 healthy aws
check "the topics of the bridge are created" await 90 once topics
check "topics that are there are left as they are" once topics

start bridge env FANBRIDGE_CONFIG=/etc/fanbridge/fanbridge.yaml "$FANBRIDGE" run
check "the bridge is ready" await 60 verb health --ready
start prometheus "$("$root/tests/servers/tools.sh" debian prometheus)/usr/bin/prometheus" \
    --config.file=/etc/prometheus/prometheus.yaml --storage.tsdb.path="$scratch/metrics" \
    --web.listen-address=127.0.0.1:9091
for name in $(jq -r '.services | keys[] | select(startswith("traffic-"))' "$project"); do
    check "the samples of $name are taken in" once "$name"
done
check "a verb in the bridge's container finds the bridge" verb send stream-video call.created
check "and what it sent is shown there" verb tail --since-start --type call.created --count 1 --for 30s
check "events by webhook are in Kafka" await 30 kafka_has kafka:9092 stream.chat.message 10
check "the laptop reads them at its own port" await 30 kafka_has localhost:9094 stream.video.session 20
check "billed events come to the queue that reads the topic" await 30 inbox_has_a_message
message=$(jq -cn '{type: "call.created", call_cid: "default:by-queue", created_at: "2026-11-21T06:00:00Z"} |
    {QueueUrl: "http://aws:4566/000000000000/stream-events", MessageBody: tojson}')
check "a message is sent to the queue" aws sqs send_message "$message"
check "and the bridge reads it" await 30 kafka_has kafka:9092 stream.video.call-lifecycle 1
check "Prometheus scrapes the bridge with its token" await 30 shows 'up{job="fanbridge"}' 1
status_with() { # TOKEN PATH
    curl -s -o "$scratch/answer" -w '%{http_code}' -H "Authorization: Bearer $(cat "$laptop_secrets/$1")" \
        "http://bridge:9090$2"
}
check "and reads nothing else with it" [ "$(status_with prometheus/metrics-token /api/v1/status)" = 401 ]
check "which the admin token does" [ "$(status_with bridge/admin-token /api/v1/status)" = 200 ]
check "Prometheus has the events of each way in" await 30 \
    shows 'count(sum by (source) (fanbridge_events_total{verdict="accepted"}) > 0)' 2
check "Prometheus has every alert of the rules" all_rules_are_there
check "no alert says that the bridge is absent" await 30 no_alert FanbridgeAbsent
finish
