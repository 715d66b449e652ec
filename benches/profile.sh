#!/usr/bin/env bash
# Prints where the CPU time of one event goes at intake, in microseconds by stage, and where its allocations
# are made: benches/profile.sh [CONNECTIONS]. Needs perf, and the right to use it; the allocations need root.
# BRIDGE=FILE profiles another build of the bridge.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
connections=${1:-64}
command -v perf > /dev/null || { echo "perf is missing: install linux-perf or linux-tools" >&2; exit 69; }
if [ -z "${BRIDGE:-}" ]; then
    cargo build --locked --profile dist --bin fanbridge --example load
fi
bridge=${BRIDGE:-target/dist/fanbridge} load=target/dist/examples/load
dir=$(mktemp -d -p target profile-XXXXXX)
probe="fanbridge_profile_$$"
pid=
stop() {
    [ -z "$pid" ] || kill "$pid" 2> /dev/null || true
    wait 2> /dev/null || true
    perf probe -q -d "$probe:*" 2> /dev/null || true
    rm -rf "$dir"
}
trap stop EXIT
export BENCH_SECRET="a signing secret that only the bench knows"
cat > "$dir/fanbridge.yaml" << YAML
http: { listen: "127.0.0.1:0" }
admin: { listen: "127.0.0.1:0" }
spool: { dir: "$dir/spool" }
sources:
  bench: { provider: stream, secrets: ["env:BENCH_SECRET"] }
sinks:
  lake: { kafka: { brokers: "127.0.0.1:1" }, topic: "fanbridge-bench.{family}" }
YAML
"$bridge" run --config "$dir/fanbridge.yaml" > /dev/null 2> "$dir/log" &
pid=$!
until grep -q 'the bridge is ready' "$dir/log"; do
    kill -0 "$pid" || { cat "$dir/log" >&2; exit 1; }
    sleep 0.1
done
address=$(sed -n 's/.*the bridge is ready.*"http":"\([^"]*\)".*/\1/p' "$dir/log")
cpu() { awk -v hz="$(getconf CLK_TCK)" '{ print ($14 + $15) * 1e6 / hz }' "/proc/$pid/stat"; }
accepted() { sed 's/.*"accepted":\([0-9]*\).*/\1/'; }
# by_stage EACH UNIT: what EACH event took, by the stages of the recorded stacks.
by_stage() {
    perf script -i "$dir/perf.data" -F ip,sym 2> /dev/null \
        | awk -v each="$1" -v unit="$2" -f benches/stages.awk | sort -rn
}

before=$(cpu)
perf record -q -e cpu-clock -F 397 --call-graph dwarf,8192 -p "$pid" -o "$dir/perf.data" -- sleep 4 > /dev/null &
recording=$!
events=$("$load" --to "http://$address/in/bench" --connections "$connections" --seconds 6 | accepted)
after=$(cpu)
wait "$recording"
each=$(awk -v before="$before" -v after="$after" -v events="$events" 'BEGIN { print (after - before) / events }')
echo "$connections connections, $events events, $each us of CPU an event:"
by_stage "$each" us

libc=$(ldd "$bridge" | awk '/libc\.so/ { print $3 }')
for function in malloc calloc realloc; do
    perf probe -q -x "$libc" "$probe:$function=$function" || {
        echo "allocations are not counted: probes of ${libc:-the C library} need root and its symbols"
        exit
    }
done
# Every single call is recorded, so there are few events. An idle second before them shows what the process
# allocates without any.
perf record -q -e "$probe:*" -p "$pid" -o "$dir/perf.data" -- sleep 1 > /dev/null
idle=$(perf script -i "$dir/perf.data" -F event 2> /dev/null | wc -l)
perf record -q -e "$probe:*" --call-graph dwarf,8192 -p "$pid" -o "$dir/perf.data" > /dev/null &
recording=$!
sleep 1
events=$("$load" --to "http://$address/in/bench" --connections 4 --count 400 --seconds 60 | accepted)
kill -INT "$recording"
wait "$recording" || true
each=$(perf script -i "$dir/perf.data" -F event 2> /dev/null | awk -v events="$events" '/:/ { n++ } END { print n / events }')
echo "$each allocations an event, of $events on 4 connections; an idle second has $idle, which are among them:"
by_stage "$each" ""
