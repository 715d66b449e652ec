# Stream's webhook to SNS, for applied.sh: what is posted to the bridge comes out of the consumer's queue, if
# the filter policy lets it through.
apply_stream_webhook_to_sns() {
    start_apply stream-webhook-to-sns <<JSON
{ "name": "applied-hook-$$", "tags": {}, "consumer_types": ["call.recording_ready"] }
JSON
}

posted_events_come_out() {
    local url
    url=$(output stream-webhook-to-sns consumer_queue_url)
    # The second is of a family that the consumer has subscribed, and of a type that its filter keeps out.
    bridge stream-webhook-to-sns send stream-video call.recording_started --count 2 --wait 20s &&
        bridge stream-webhook-to-sns send stream-video call.recording_ready --count 3 --wait 20s &&
        "$python" "$here/applied/messages.py" receive "$url" 3 >"$scratch/consumed" &&
        "$python" -c 'import json, sys
types = [json.loads(line)["type"] for line in open(sys.argv[1])]
sys.exit(0 if types == ["call.recording_ready"] * 3 else f"the queue had {types}")' "$scratch/consumed"
}

nothing_more_waits() { [ "$("$python" "$here/applied/messages.py" count "$1")" = 0 ]; }

check_stream_webhook_to_sns() {
    local example=stream-webhook-to-sns
    check "$example is applied to an emulator of AWS" ended "apply-$example"
    check "$example has nothing to change when it is applied again" nothing_to_change "$example"
    check "the configuration that $example gives can be put onto this machine" configure "$example"
    export FANBRIDGE_ADMIN_TOKEN=token-of-a-test-run-0001 STREAM_SECRET=stream-signing-secret-for-tests-0001
    check "the bridge takes the configuration of $example" bridge "$example" check
    check "the role of $example may do what its configuration needs, and no more" policies_agree "$example"
    check "the bridge runs on what $example made" start_bridge "$example"
    check "events that are posted come out of the consumer's queue, if its filter takes them" \
        posted_events_come_out
    check "what the filter keeps out is not in the consumer's queue" \
        nothing_more_waits "$(output "$example" consumer_queue_url)"
    check "the bridge of $example stops in order" stop_bridge
    start "destroy-$example" destroy "$example"
}
