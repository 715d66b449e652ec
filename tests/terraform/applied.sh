# The applied examples, for tests/terraform.sh, which reads this file. It starts an emulator of AWS and a
# Kafka broker; TERRAFORM_AWS_ENDPOINT and KAFKA_BROKERS name ones that run. The emulator is another one than
# that of other tests: it has more services, and queue URLs of the form that the provider takes.
#
# Examples are applied as they are. Where AWS is, the environment says: AWS_ENDPOINT_URL, for Terraform and
# for the bridge alike. Only tags are left out: the emulator (LocalStack 4.13.1) cannot describe an alarm with
# tags.

servers=$scratch/servers
python=$("$root/tests/servers/aws.sh" python)
applied=()
beside=()

clean_up_more() {
    local example
    # A run that is broken off leaves nothing at the broker, which may be somebody else's. What is under way
    # is let end, because it holds the lock of the state.
    [ ${#beside[@]} -eq 0 ] || wait "${beside[@]}"
    for example in ${applied[@]+"${applied[@]}"}; do
        [ ! -s "$tree/terraform/examples/$example/terraform.tfstate" ] ||
            destroy "$example" >/dev/null 2>&1
    done
    [ -z "${own_emulator:-}" ] || TEST_SERVERS_DIR=$servers "$root/tests/servers/aws.sh" stop
    [ -z "${own_broker:-}" ] || kafka stop
}

# A broker of this run alone, with the jars that all runs of this clone share.
kafka() {
    KAFKA_LIBS_DIR=${KAFKA_LIBS_DIR:-$root/.test-servers/kafka/libs} TEST_SERVERS_DIR=$servers \
        "$root/tests/servers/kafka.sh" "$@"
}

start_servers() {
    if [ -z "${TERRAFORM_AWS_ENDPOINT:-}" ]; then
        own_emulator=yes
        TERRAFORM_AWS_ENDPOINT=$(TEST_SERVERS_DIR=$servers SQS_ENDPOINT_STRATEGY=off \
            AWS_SERVICES=iam,sts,cloudwatch,logs "$root/tests/servers/aws.sh" start) || return
    fi
    if [ -z "${KAFKA_BROKERS:-}" ]; then
        own_broker=yes
        KAFKA_BROKERS=$(kafka start) || return
    fi
    export KAFKA_BROKERS AWS_ENDPOINT_URL=$TERRAFORM_AWS_ENDPOINT AWS_REGION=eu-west-1
    export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_EC2_METADATA_DISABLED=true
    unset AWS_PROFILE AWS_SESSION_TOKEN AWS_DEFAULT_REGION FANBRIDGE_CONFIG
}

in_example() { # EXAMPLE ARGUMENTS…
    local example=$1
    shift
    "$terraform" "-chdir=$tree/terraform/examples/$example" "$@"
}

apply() { # EXAMPLE
    in_example "$1" init -input=false -no-color && in_example "$1" apply -auto-approve -input=false -no-color
}

# The provider waits for 25 s on each property of a queue, so applies and destroys go on beside other checks.
start() { # NAME COMMAND…
    local name=$1
    shift
    { "$@" >"$scratch/$name.said" 2>&1; echo $? >"$scratch/$name.status"; } &
    beside+=($!)
}

ended() { # NAME
    while [ ! -e "$scratch/$1.status" ]; do sleep 0.2; done
    cat "$scratch/$1.said"
    return "$(cat "$scratch/$1.status")"
}

start_apply() { # EXAMPLE, with its variables as JSON on stdin
    cat >"$tree/terraform/examples/$1/terraform.tfvars.json"
    applied+=("$1")
    start "apply-$1" apply "$1"
}

output() { in_example "$1" output -raw "$2"; }

# Exit code 0: nothing to change; 2: something.
nothing_to_change() { in_example "$1" plan -detailed-exitcode -input=false -no-color; }

# The emulator answers an empty policy of redrives where AWS has none any more, and the provider would wait
# for that: so it is forgotten, and goes with its queue.
destroy() {
    local -a kept
    mapfile -t kept < <(in_example "$1" state list | grep aws_sqs_queue_redrive_allow_policy)
    { [ ${#kept[@]} -eq 0 ] || in_example "$1" state rm "${kept[@]}"; } &&
        in_example "$1" destroy -auto-approve -input=false -no-color &&
        [ -z "$(in_example "$1" state list)" ] && rm -f "$tree/terraform/examples/$1/terraform.tfstate"
}

# The configuration that the example gives, on ports and in a directory of this test.
configure() { # EXAMPLE
    mkdir -p "$scratch/$1"
    output "$1" configuration >"$scratch/$1/given.yaml" &&
        "$python" "$here/local_configuration.py" "$scratch/$1" "$AWS_ENDPOINT_URL" \
            <"$scratch/$1/given.yaml" >"$scratch/$1/fanbridge.yaml"
}

bridge() { # EXAMPLE VERB ARGUMENTS…
    local example=$1 verb=$2
    shift 2
    (cd "$scratch/$example" && "$FANBRIDGE" "$verb" --config fanbridge.yaml "$@")
}

same_json() {
    "$python" -c 'import json, sys
needed, granted = (json.load(open(file)) for file in sys.argv[1:])
sys.exit(0 if needed == granted else f"needed: {needed}\ngranted: {granted}")' "$@"
}

# What the role may do is what the binary says that this configuration needs.
policies_agree() { # EXAMPLE
    # With the queue where AWS would have it: an ARN is made of its URL.
    sed "s|$AWS_ENDPOINT_URL/|https://sqs.$AWS_REGION.amazonaws.com/|" "$scratch/$1/given.yaml" \
        >"$scratch/$1/in_aws.yaml" &&
        "$FANBRIDGE" iam-policy --config "$scratch/$1/in_aws.yaml" >"$scratch/$1/needed.json" &&
        output "$1" policy_json >"$scratch/$1/granted.json" &&
        same_json "$scratch/$1/needed.json" "$scratch/$1/granted.json"
}

# The example that cannot be applied here: its own test holds what it gives to these two files.
complete_is_checked() {
    FANBRIDGE_ADMIN_TOKEN=token-of-a-test-run-0001 FANBRIDGE_METRICS_TOKEN=token-of-a-test-run-0002 \
        REDIS_URL=redis://127.0.0.1:6379/0 \
        "$FANBRIDGE" check --config "$root/terraform/examples/complete/tests/fanbridge.yaml"
}

complete_has_its_rights() {
    local tests=$root/terraform/examples/complete/tests cluster=arn:aws:kafka:eu-west-1:123456789012:cluster
    "$FANBRIDGE" iam-policy --config "$tests/fanbridge.yaml" \
        --msk-cluster "lake=$cluster/events/00000000-1111-2222-3333-444444444444-5" >"$scratch/needed.json" &&
        same_json "$scratch/needed.json" "$tests/policy.json"
}

start_bridge() { # EXAMPLE
    local waited
    # A process of its own, not of a subshell, so that it can be ended by its number.
    "$FANBRIDGE" run --no-tail --config "$scratch/$1/fanbridge.yaml" >"$scratch/$1/log" 2>&1 </dev/null &
    bridge_pid=$!
    ends_with_us "$bridge_pid"
    for ((waited = 0; waited < 600; waited++)); do
        curl -sf "http://$(cat "$scratch/$1/admin")/readyz" >/dev/null && return
        kill -0 "$bridge_pid" 2>/dev/null || break
        sleep 0.1
    done
    cat "$scratch/$1/log"
    return 1
}

stop_bridge() {
    kill "$bridge_pid" && wait "$bridge_pid"
}

needs_bridge
check "the bridge takes the configuration of the example complete" complete_is_checked
check "the role of the example complete may do what its configuration needs, and no more" \
    complete_has_its_rights
check "an emulator of AWS and a Kafka broker are there" start_servers
if [ -n "${TERRAFORM_AWS_ENDPOINT:-}" ] && [ -n "${KAFKA_BROKERS:-}" ]; then
    rm -rf "$tree"
    mkdir "$tree"
    cp -r "$root/terraform" "$root/deploy" "$tree"
    . "$here/applied/stream_sqs_to_kafka.sh"
    . "$here/applied/stream_webhook_to_sns.sh"
    apply_stream_sqs_to_kafka
    apply_stream_webhook_to_sns
    check_stream_sqs_to_kafka
    check_stream_webhook_to_sns
    for example in "${applied[@]}"; do
        check "$example is destroyed, and nothing of it is left in the state" ended "destroy-$example"
    done
    check "no topic is left at the broker" no_topic_left
fi
