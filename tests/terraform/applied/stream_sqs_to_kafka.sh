# Stream's queue to Kafka, for applied.sh: messages that are sent to the queue that Terraform made are records
# of the topics that Terraform made.
broker=${KAFKA_BROKERS%%,*}

apply_stream_sqs_to_kafka() {
    start_apply stream-sqs-to-kafka <<JSON
{
  "name": "applied-queue-$$",
  "trust": { "ecs": {}, "ec2": {} },
  "tags": {},
  "kafka": {
    "brokers": ["$broker"], "tls": false,
    "partitions": 2, "replication_factor": 1, "min_insync_replicas": 1
  }
}
JSON
}

topics_are_there() {
    kcat -b "$broker" -L -J >"$scratch/topics.json" &&
        in_example stream-sqs-to-kafka output -json topics >"$scratch/expected.json" &&
        "$python" -c 'import json, sys
there, expected = (json.load(open(file)) for file in sys.argv[1:])
there = {topic["topic"]: len(topic["partitions"]) for topic in there["topics"]}
missing = sorted(name for name in expected.values() if there.get(name) != 2)
sys.exit(f"without two partitions: {missing}" if missing or len(expected) < 20 else 0)' \
            "$scratch/topics.json" "$scratch/expected.json"
}

messages_become_records() {
    local url
    url=$(output stream-sqs-to-kafka queue_url)
    "$python" "$here/applied/messages.py" send "$url" call.created 7 >"$scratch/sent" || return
    timeout 60 kcat -b "$broker" -t stream.video.call-lifecycle -C -o beginning -c 7 -q -f '%k\n' |
        sort >"$scratch/came"
    [ "$(wc -l <"$scratch/sent")" -eq 7 ] && diff <(sort "$scratch/sent") "$scratch/came"
}

queue_is_empty() {
    local waited
    for ((waited = 0; waited < 60; waited++)); do
        [ "$("$python" "$here/applied/messages.py" count "$1")" != 0 ] || return 0
        sleep 0.5
    done
    return 1
}

no_topic_left() {
    kcat -b "$broker" -L -J >"$scratch/topics.json" &&
        ! grep -o '"topic":"stream\.[^"]*"' "$scratch/topics.json"
}

check_stream_sqs_to_kafka() {
    local example=stream-sqs-to-kafka
    check "$example is applied to an emulator of AWS and a real broker" ended "apply-$example"
    check "$example has nothing to change when it is applied again" nothing_to_change "$example"
    check "the broker has a topic for each family of Stream, with its partitions" topics_are_there
    check "the configuration that $example gives can be put onto this machine" configure "$example"
    export FANBRIDGE_ADMIN_TOKEN=token-of-a-test-run-0001
    check "the bridge takes the configuration of $example" bridge "$example" check
    check "the role of $example may do what its configuration needs, and no more" policies_agree "$example"
    check "the bridge runs on what $example made" start_bridge "$example"
    check "messages that are sent to the queue of $example are records of their topic" messages_become_records
    check "the queue of $example is empty then" queue_is_empty "$(output "$example" queue_url)"
    check "the bridge of $example stops in order" stop_bridge
    start "destroy-$example" destroy "$example"
}
