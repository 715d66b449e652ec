#!/usr/bin/env bash
# Prints where the CPU time of one event goes at intake, in microseconds by stage: benches/profile.sh
# [CONNECTIONS]. Needs perf, and the right to use it. BRIDGE=FILE profiles another build of the bridge.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
connections=${1:-64}
command -v perf > /dev/null || { echo "perf is missing: install linux-perf or linux-tools" >&2; exit 69; }
if [ -z "${BRIDGE:-}" ]; then
    cargo build --locked --profile dist --bin fanbridge --example load
fi
bridge=${BRIDGE:-target/dist/fanbridge} load=target/dist/examples/load
dir=$(mktemp -d -p target profile-XXXXXX)
trap 'kill "$pid" 2> /dev/null || true; wait 2> /dev/null || true; rm -rf "$dir"' EXIT
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

before=$(cpu)
perf record -q -e cpu-clock -F 397 --call-graph dwarf,8192 -p "$pid" -o "$dir/perf.data" -- sleep 4 > /dev/null &
recording=$!
report=$("$load" --to "http://$address/in/bench" --connections "$connections" --seconds 6)
after=$(cpu)
wait "$recording"
events=$(sed 's/.*"accepted":\([0-9]*\).*/\1/' <<< "$report")
each=$(awk -v before="$before" -v after="$after" -v events="$events" 'BEGIN { print (after - before) / events }')
echo "$connections connections, $events events, $each us of CPU an event:"
perf script -i "$dir/perf.data" -F ip,sym 2> /dev/null | awk -v each="$each" -f benches/stages.awk | sort -rn
