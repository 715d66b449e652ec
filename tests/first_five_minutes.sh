#!/usr/bin/env bash
# The first five minutes as README.md tells them: takes the commands out of that section, runs them in an empty
# directory with a binary that is built, holds what each says against what README promises, and times it.
#
# A command that README has and this script does not know is a failure, and so is one that README has no
# longer: so that whoever changes one of the two looks at the other.
#
# Usage: tests/first_five_minutes.sh [BINARY]; by default the debug build.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds_max=300
binary=$(realpath "${1:-target/debug/fanbridge}")
[ -x "$binary" ] || { echo "there is no $binary: run \`cargo build\` first" >&2; exit 1; }

dir=$(mktemp -d)
out=$dir/out
mkdir "$dir/bin" "$dir/first" "$dir/own"
ln -s "$binary" "$dir/bin/fanbridge"
export PATH=$dir/bin:$PATH
unset FANBRIDGE_CONFIG
finish() {
    for one in "${following:-}" "${bridge:-}"; do
        [ -z "$one" ] || { kill "$one" 2>/dev/null; wait "$one" 2>/dev/null || true; }
    done
    rm -rf "$dir"
}
trap finish EXIT

# The commands of the section, without their comments.
mapfile -t commands < <(awk '
    /^## / { is_it = $0 == "## The first five minutes" }
    is_it && /^```sh$/ { is_code = 1; next }
    /^```$/ { is_code = 0 }
    is_it && is_code { sub(/ +# .*$/, ""); print }' README.md)
[ ${#commands[@]} -gt 0 ] || { echo "README.md has no commands under \"The first five minutes\"" >&2; exit 1; }

fail() {
    printf 'FAILED %s\n' "$1" >&2
    [ ! -s "$out" ] || sed 's/^/    /' "$out" >&2
    printf 'test result: FAILED. %d passed; 1 failed\n' "$passed"
    exit 1
}

passed=0
# done_with WHAT BEGAN: says how long it took.
done_with() {
    passed=$((passed + 1))
    awk -v what="$1" -v from="$2" -v to="$EPOCHREALTIME" 'BEGIN { printf "%7.2f s  %s\n", to - from, what }'
}

# take COMMAND: strikes it off the list of what README has.
take() {
    local at
    for at in "${!commands[@]}"; do
        if [ "${commands[at]}" = "$1" ]; then
            unset "commands[at]"
            return
        fi
    done
    fail "README.md has no command \`$1\` any more: change this script, too"
}

# runs COMMAND CODE PATTERN [DIRECTORY]: it ends with this code and says what matches.
runs() {
    local began=$EPOCHREALTIME code=0
    (cd "$dir/${4:-first}" && timeout 60 bash -c "$1") >"$out" 2>&1 || code=$?
    [ "$code" -eq "$2" ] || fail "\`$1\` ends with exit code $code, expected $2"
    grep -qE -- "$3" "$out" || fail "\`$1\` does not say what matches \`$3\`"
    done_with "$1" "$began"
}

# step COMMAND CODE PATTERN [DIRECTORY]: the same of a command that README has.
step() {
    take "$1"
    runs "${1/localhost:9090/${admin:-}}" "${@:2}"
}

# follow COMMAND PATTERN: README's command goes on by itself until it is ended, and says what matches.
follow() {
    local began=$EPOCHREALTIME
    take "$1"
    (cd "$dir/first" && exec bash -c "exec $1") >"$out" 2>&1 &
    following=$!
    await "\`$1\` says what matches \`$2\`" "$following" grep -qE -- "$2" "$out"
    kill -INT "$following"
    wait "$following" || fail "\`$1\` ends with exit code $? when it is interrupted"
    following=
    done_with "$1" "$began"
}

# await WHAT PID COMMAND…: until the command succeeds, while the process runs.
await() {
    local what=$1 pid=$2 until=$((SECONDS + 30))
    shift 2
    until "$@" >/dev/null 2>&1; do
        kill -0 "$pid" 2>/dev/null || fail "waited in vain: $what, and the process has ended"
        [ $SECONDS -lt $until ] || fail "waited 30 s in vain: $what"
        sleep 0.05
    done
}

# known COMMAND: needs what is not here; the binary has the verb and its options.
known() {
    take "$1"
    local words=() options=() word
    for word in $1; do
        case $word in
            --*) options+=("$word") ;;
            [a-z]*) words+=("$word") ;;
        esac
    done
    "${words[@]}" --help >"$out" 2>&1 || fail "there is no \`${words[*]}\`"
    for word in "${options[@]}"; do
        grep -qF -- "$word" "$out" || fail "\`${words[*]}\` has no $word"
    done
}

# The binary is built and found already.
take 'cargo build --release'
take 'export PATH="$PWD/target/release:$PATH"'
take 'fanbridge run'
start='fanbridge run --listen 127.0.0.1:0'
grep -qF "$start" README.md || fail "README.md has no \`$start\` any more: change this script, too"

began=$EPOCHREALTIME
(cd "$dir/first" && exec $start) >"$dir/log" 2>&1 &
bridge=$!
addresses=$dir/first/fanbridge-data/addresses
is_ready() { admin=$(sed -n 's/^admin //p' "$addresses") && curl -sf "http://$admin/readyz"; }
out=$dir/log
await "the bridge is ready" "$bridge" is_ready
out=$dir/out
done_with "$start" "$began"

step 'fanbridge send stream call.created' 0 'accepted'
follow 'fanbridge tail --since-start' 'call\.created → '
follow 'fanbridge top' 'local'
step 'cat fanbridge-data/topics/*/*.jsonl' 0 '"type":"call\.created"'
id=$(grep -oE '"id":"[^"]+"' "$out" | head -n 1 | cut -d '"' -f 4)
step 'fanbridge types --seen' 0 'call\.created'
step 'fanbridge explain --type call.created' 0 'why:'
grep -qF '`explain ID`' README.md || fail "README.md does not name \`explain ID\` any more: change this script, too"
runs "fanbridge explain $id" 0 'delivered to local'
step 'fanbridge replay --sink local --since 1h' 2 '1 event would be sent to local again'
runs 'fanbridge replay --sink local --since 1h --yes' 0 'replay 1 to local begins'
is_there_twice() { [ "$(cat "$dir"/first/fanbridge-data/topics/*/*.jsonl | wc -l)" -eq 2 ]; }
await "the event is sent again" "$bridge" is_there_twice
step 'curl localhost:9090/readyz' 0 'ok'
runs "curl -s $admin/metrics" 0 '^fanbridge_events_total'
runs "curl -s --compressed $admin/" 0 '<title>'

# A configuration of one's own. What asks a cluster is only looked for: tests of its own run it.
export STREAM_SECRET=0123456789abcdef0123456789abcdef
export FASTPIX_SECRET=MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=
export KAFKA_BROKERS=${KAFKA_BROKERS:-127.0.0.1:9092}
step 'fanbridge init --sink kafka > fanbridge.yaml' 0 'STREAM_SECRET' own
step 'fanbridge check' 0 '^OK fanbridge\.yaml' own
known 'fanbridge topics apply --partitions 12'
known 'fanbridge doctor'
known 'fanbridge run'

began=$EPOCHREALTIME
kill -TERM "$bridge"
out=$dir/log
wait "$bridge" || fail "the bridge ends with exit code $?"
bridge=
done_with 'the bridge stops' "$began"

out=/dev/null
[ ${#commands[@]} -eq 0 ] || fail "README.md has commands that this script does not know: ${commands[*]}"
[ "$SECONDS" -lt "$seconds_max" ] || fail "all of it took $SECONDS s, expected less than $seconds_max"
printf 'test result: ok. %d passed; 0 failed; all of it took %d s\n' "$passed" "$SECONDS"
