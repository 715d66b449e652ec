#!/usr/bin/env bash
# Asks a real Prometheus for every query of deploy/grafana and every alert of deploy/prometheus, while it
# scrapes a bridge that has a bit of every trouble: a name that no bridge exposes, or labels that do not
# match, show here.
#
# FANBRIDGE names the binary; by default the debug build. Prometheus is unpacked from Debian's package.
# AWS_ENDPOINT names an emulator of SQS and SNS that runs; else one is started.
. "$(dirname "$0")/lib.sh"

here=$root/tests/deploy/dashboards
dashboard=$root/deploy/grafana/fanbridge.json
rules=$root/deploy/prometheus/fanbridge.rules.yaml
account=000000000000

fail() { echo "dashboards.sh: $*" >&2; exit 69; }

needs_bridge
prometheus=$("$tools" debian prometheus)/usr/bin/prometheus
[ -x "$prometheus" ] || fail "there is no Prometheus in $prometheus"

if [ -z "${AWS_ENDPOINT:-}" ]; then
    AWS_ENDPOINT=$("$root/tests/servers/aws.sh" start) || fail "the emulator of SQS and SNS does not start"
    clean_up_more() { "$root/tests/servers/aws.sh" stop >/dev/null; }
fi
export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test REDIS_URL=redis://127.0.0.1:1
export STREAM_SECRET=0123456789abcdef0123456789abcdef
unset AWS_PROFILE AWS_SESSION_TOKEN FANBRIDGE_CONFIG

# sqs ACTION PARAMETER…: one call to the emulator, which takes any signature.
sqs() {
    local action=$1 parameters=()
    shift
    for parameter; do parameters+=(--data-urlencode "$parameter"); done
    local scope=test/20260101/eu-west-1/sqs/aws4_request
    curl -sS --fail --max-time 20 "$AWS_ENDPOINT/" --data-urlencode "Action=$action" "${parameters[@]}" \
        -H "Authorization: AWS4-HMAC-SHA256 Credential=$scope, SignedHeaders=host, Signature=0"
}

http=$(free_port)
admin=$(free_port)
scraper=$(free_port)
queue_name=dashboards-$http
topic=arn:aws:sns:eu-west-1:$account:$queue_name
queue=$AWS_ENDPOINT/queue/eu-west-1/$account/$queue_name
cd "$scratch" || exit 1

prepare() {
    sed -e "s,@HTTP@,$http,; s,@ADMIN@,$admin,; s,@AWS@,$AWS_ENDPOINT," \
        -e "s,@QUEUE@,$queue,; s,@TOPIC@,$topic," "$here/fanbridge.yaml" >fanbridge.yaml
    echo "a-secret-that-is-lost-soon" >lost-secret
    sqs CreateQueue "QueueName=$queue_name" >/dev/null
    "$FANBRIDGE" topics apply --sink fanout
}

begin() {
    "$FANBRIDGE" run >bridge.log 2>&1 &
    ends_with_us $!
    for _ in $(seq 100); do
        "$FANBRIDGE" health --within 1s >/dev/null && break
        sleep 0.2
    done
    "$FANBRIDGE" health || { tail -5 bridge.log; return 1; }
    cat >prometheus.yaml <<YAML
global: { scrape_interval: 1s, evaluation_interval: 1s }
rule_files: [ $rules ]
scrape_configs:
  - job_name: fanbridge
    static_configs: [ { targets: [ "127.0.0.1:$admin" ] } ]
YAML
    "$prometheus" --config.file=prometheus.yaml --storage.tsdb.path=tsdb \
        --web.listen-address="127.0.0.1:$scraper" >prometheus.log 2>&1 &
    ends_with_us $!
    # It has to have seen the bridge twice: what grew before is not seen to grow.
    for _ in $(seq 100); do
        curl -sf --max-time 2 "http://127.0.0.1:$scraper/api/v1/query" --data-urlencode \
            'query=count_over_time(fanbridge_build_info[1m]) > 1' | grep -q '"metric"' && return 0
        sleep 0.2
    done
    tail -5 prometheus.log
    return 1
}

# What makes each trouble, once.
trouble() {
    local question note descriptors=()
    "$FANBRIDGE" pause rests --reason "a rest" || return 1
    question=$(jq -n --arg topic "$topic-intake" '{Type: "SubscriptionConfirmation", MessageId: "1",
        Token: "none", TopicArn: $topic, Message: "subscribe?", Timestamp: "2026-11-21T06:40:00.000Z",
        SubscribeURL: "https://sns.eu-west-1.amazonaws.com/", SignatureVersion: "1", Signature: "",
        SigningCertURL: ""}')
    sqs SendMessage "QueueUrl=$queue" "MessageBody=$question" >/dev/null || return 1
    note=$(printf 'x%.0s' $(seq 3000))
    "$FANBRIDGE" send stream call.ended --no-wait --set "note=$note" || return 1
    # More connections from one address than are allowed.
    for _ in $(seq 20); do
        exec {descriptor}<>"/dev/tcp/127.0.0.1/$http" && descriptors+=("$descriptor")
    done
    sleep 1
    for descriptor in "${descriptors[@]}"; do exec {descriptor}>&-; done
    sleep 0.5
    "$FANBRIDGE" replay --sink local --since 1h --yes || return 1
    # From here on the configuration cannot be read again: the bridge goes on as it was.
    rm lost-secret
    echo "shutdown_grace_seconds: soon" >>fanbridge.yaml
    kill -HUP "${started[0]}"
}

# What comes and goes meanwhile, a few times.
traffic() {
    local body='{"type":"call.created","call_cid":"default:a","n":0}' round wrong
    wrong=$(printf '0%.0s' $(seq 64))
    for round in $(seq "$1"); do
        sign "$round"
        post stream "$signature"
        post waits "$signature"
        post stream "$wrong"
        sqs SendMessage "QueueUrl=$queue" "MessageBody=${body/0/$RANDOM}" >/dev/null
        sleep 1
    done
}

# post SOURCE SIGNATURE: delivers what was signed last.
post() {
    curl -s --max-time 20 -o /dev/null -H "X-Signature: $2" -d "$signed" "http://127.0.0.1:$http/in/$1"
}

# sign NUMBER: a body of its own, as Stream signs it.
sign() {
    signed="{\"type\":\"call.created\",\"call_cid\":\"default:$1\"}"
    signature=$(printf %s "$signed" | openssl dgst -sha256 -hmac "$STREAM_SECRET" | sed 's/.* //')
}

ask() { python3 "$here/ask.py" "http://127.0.0.1:$scraper" "$@"; }

impatient() { PATIENCE_SECONDS=1 "$@"; }

# with SED-EXPRESSION FILE COMMAND…: the command with a changed copy of the file as last argument.
with() {
    sed "$1" "$2" >changed
    cmp -s changed "$2" && { echo "nothing was changed"; return 0; }
    shift 2
    "$@" changed
}

situation=(FanbridgeRefuses FanbridgeSignaturesFail FanbridgeSourceDegraded FanbridgeSecretUnreadable
    FanbridgeSubscriptionEnded FanbridgeSharedWindowDegraded FanbridgeSinkDegraded FanbridgeSinkPaused
    FanbridgeDeadLetters FanbridgeAnswersLate FanbridgeReloadRefused)

check "a bridge with a queue, four sinks and a window that replicas share is prepared" prepare
check "the bridge runs and a Prometheus scrapes it" begin
check "it has a bit of every trouble" trouble
check "events come and go, some are refused" traffic 12
check "every series that the dashboard or an alert names is there" ask selectors "$dashboard" "$rules"
check "every query of the dashboard gives a series" ask panels "$dashboard"
check "the dashboard lists the bridge as an instance" ask variable "$dashboard"
check "Prometheus evaluates every alert without an error" ask rules "$(grep -c 'alert:' "$rules")"
check "the alerts of this situation begin, and no others" ask alerts "${situation[@]}"
refuses "a metric of the dashboard that is misspelt is noticed" \
    "there is no series fanbridge_deliverd_total" \
    with s/fanbridge_delivered_total/fanbridge_deliverd_total/ "$dashboard" ask selectors
refuses "a query of the dashboard that is no PromQL is noticed" "parse error" \
    with 's/sum by (sink) (rate/sum by (sink (rate/' "$dashboard" ask panels
refuses "a label of an alert that no series has is noticed" 'code="530"' \
    with s/503/530/ "$rules" ask selectors
refuses "an alert that does not begin is noticed" "FanbridgeAbsent stays inactive" \
    impatient ask alerts "${situation[@]}" FanbridgeAbsent
finish
