#!/usr/bin/env bash
# Runs the whole test suite, or the parts named as arguments, and says how long each part took.
#
# Parts: lint, unit, tidy, config, front, sns, spool, state, replicas, sinks, aws, faults, operate,
# page, api, readme; and of what deploys it, each a script of tests/deploy: workflows, dashboards, compose,
# image, package, systemd, chart, kubernetes. Terraform has a command of its own, tests/terraform.sh.
#
# A Kafka broker and an emulator of SQS and SNS are started, unless KAFKA_BROKERS and AWS_ENDPOINT name ones
# that run. Here a test that finds no server fails; a plain `cargo test` skips it and says so.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

deploy_parts=(workflows dashboards compose image package systemd chart kubernetes)
all_parts=(lint unit tidy config front sns spool state replicas sinks aws faults operate page api readme
    "${deploy_parts[@]}")
parts=("$@")
[ ${#parts[@]} -gt 0 ] || parts=("${all_parts[@]}")

summary=()
failures=()
passed=0
failed=0
log=$(mktemp)
finish() {
    [ -z "${own_broker:-}" ] || tests/servers/kafka.sh stop >/dev/null 2>&1
    [ -z "${own_emulator:-}" ] || tests/servers/aws.sh stop >/dev/null 2>&1
    rm -f "$log" "$log".*
}
trap finish EXIT

# part NAME COMMAND…: runs it, shows its output, and notes its time and its count of tests.
part() {
    local name=$1 began=$SECONDS status
    shift
    printf '\n== %s: %s\n' "$name" "$*"
    "$@" 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    local good bad
    good=$(sed -n 's/^test result: .* \([0-9]*\) passed.*/\1/p' "$log" | awk "{ sum += \$1 } END { print sum }")
    bad=$(sed -n 's/^test result: .* \([0-9]*\) failed.*/\1/p' "$log" | awk "{ sum += \$1 } END { print sum }")
    [ "$status" -eq 0 ] || [ "${bad:-0}" -gt 0 ] || bad=1
    # The names stand last in what a test binary prints, after what the tests printed.
    [ "$status" -eq 0 ] || mapfile -t -O ${#failures[@]} failures < <(
        tac "$log" | awk '/^failures:$/ { exit } /^    [^ ]+$/ { print $1 }' | while read -r test; do
            printf 'FAILED %s: %s\n' "$name" "$test"
            grep -a -A 4 -m 1 "^thread '$test'" "$log" | cut -c 1-300
            # A script's sentence, with what its command said.
            grep -a -A 12 -m 1 -F "test ${test//_/ } ... FAILED" "$log" | sed '1d;/^test /,$d' | cut -c 1-300
        done)
    passed=$((passed + ${good:-0}))
    failed=$((failed + ${bad:-0}))
    summary+=("$(printf '%-12s %5s s   %4s passed   %s' "$name" $((SECONDS - began)) "${good:--}" \
        "$([ "$status" -eq 0 ] && echo ok || echo FAILED)")")
    return "$status"
}

wants() { [[ " ${parts[*]} " == *" $1 "* ]]; }

part setup tests/servers/install.sh all || exit 1
if wants page; then part "page setup" tests/servers/install.sh page || exit 1; fi
if wants operate || wants sinks || wants aws || wants faults || wants replicas; then
    if [ -z "${KAFKA_BROKERS:-}" ]; then
        # What earlier runs left makes a broker slow to come back, and tests measure that.
        tests/servers/kafka.sh address >/dev/null 2>&1 || tests/servers/kafka.sh clean
        part broker tests/servers/kafka.sh start || exit 1
        KAFKA_BROKERS=$(tests/servers/kafka.sh address)
        own_broker=yes
    fi
    export KAFKA_BROKERS
fi
if wants operate || wants sinks || wants aws || wants sns || wants dashboards; then
    if [ -z "${AWS_ENDPOINT:-}" ]; then
        part emulator tests/servers/aws.sh start || exit 1
        AWS_ENDPOINT=$(tests/servers/aws.sh address)
        own_emulator=yes
    fi
    # The emulator takes any key; the machine's own credentials stay out of it.
    export AWS_ENDPOINT AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test
    unset AWS_PROFILE AWS_SESSION_TOKEN
fi
export FANBRIDGE_TEST_SERVERS=required

part build cargo test --locked --no-run || exit 1
wants lint && part lint make lint
# beside NAME COMMAND…: runs it in the background, for `part NAME settled NAME`.
beside() {
    local name=$1
    shift
    { "$@" >"$log.$name" 2>&1; echo $? >"$log.$name.status"; } &
    echo $! >"$log.$name.pid"
}
settled() {
    tail --pid="$(cat "$log.$1.pid")" -s 0.2 -n +1 -f "$log.$1"
    return "$(cat "$log.$1.status")"
}

suite() { cargo test --locked --test "$1" "${@:2}"; }
# Tests of replicas, sinks and queues mostly wait: for a time-out, an outage, a visibility. So replicas are
# tested beside the unit tests, and sinks beside queues; the tests that measure run alone behind the others.
wants replicas && beside replicas suite replicas -- --nocapture
wants unit && part unit cargo test --locked --lib --bins --example load --example figures
wants replicas && part replicas settled replicas
for name in tidy config front sns spool state; do
    wants "$name" && part "$name" suite "$name" -- --nocapture
done
wants sinks && beside sinks suite sinks -- --nocapture --skip alone::
for name in aws faults operate; do
    wants "$name" || continue
    part "$name" suite "$name" -- --nocapture --skip alone:: --test-threads $(($(nproc) + 3))
    [ ! -e "$log.sinks.pid" ] || { part sinks settled sinks; rm "$log.sinks.pid"; }
    part "$name alone" suite "$name" alone:: -- --nocapture --test-threads 1
done
[ ! -e "$log.sinks.pid" ] || part sinks settled sinks
wants page && part page node tests/page/run.mjs
wants api && part api tests/openapi.sh
wants readme && part readme tests/first_five_minutes.sh
for name in "${deploy_parts[@]}"; do
    wants "$name" && part "$name" "tests/deploy/$name.sh"
done
wants sinks && part "sinks alone" suite sinks alone:: -- --nocapture --test-threads 1

printf '\n%s\n' "what ran, and how long it took ($(nproc) cores):"
printf '  %s\n' "${summary[@]}"
printf '  %-12s %5s s\n\n' total "$SECONDS"
echo "Not run here: Terraform's modules and examples, which \`make test-terraform\` tests with the real providers."
[ ${#failures[@]} -eq 0 ] || printf '%s\n' "${failures[@]}"
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
