# shellcheck shell=bash
# For the scripts of this folder: sentences that are checked one by one, and the line that counts them.
#
#   . "$(dirname "$0")/lib.sh"
#   check "a sentence about a situation" COMMAND…          COMMAND has to succeed
#   refuses "a sentence" "words of its message" COMMAND…   COMMAND has to fail and to say these words
#   finish                                                 the closing line, and the exit code
#   needs PROGRAM=PACKAGE…                                 installs what the script needs and others do not
#   needs_bridge                                           FANBRIDGE is a binary: the debug build by default
#   await SECONDS COMMAND…                                 until it succeeds; else what it says, and failure
#   free_port                                              prints a port of loopback on which nothing listens
#
# Reading it installs what the tests need on a new machine (tests/servers/install.sh all), if it is missing.
#
# Each prints its sentence with ok or FAILED; after a failure, what the command wrote. `$scratch` is a
# directory of this run alone. What a script starts it names to `ends_with_us PID`, and it is ended with the
# script.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
tools=$root/tests/servers/tools.sh
"$root/tests/servers/install.sh" all >&2 || exit 69
scratch=$(mktemp -d)
passed=0
failed=()
started=()

needs() { "$root/tests/servers/install.sh" needs "$@" >&2 || exit 69; }

export FANBRIDGE=${FANBRIDGE:-${CARGO_TARGET_DIR:-$root/target}/debug/fanbridge}
needs_bridge() {
    [ -x "$FANBRIDGE" ] ||
        cargo build --locked --quiet --bin fanbridge --manifest-path "$root/Cargo.toml" >&2 || exit 69
    FANBRIDGE=$(realpath "$FANBRIDGE")
}

ends_with_us() { started+=("$1"); }

# In order, and then by force: a bridge takes up to 30 s to stop, other servers as long as they like.
end_process() {
    local until=$((SECONDS + 45))
    kill "$1" 2>/dev/null || return
    while kill -0 "$1" 2>/dev/null; do
        [ "$SECONDS" -lt "$until" ] || kill -KILL "$1"
        sleep 0.1
    done
}

clean_up() {
    local pid
    for pid in ${started[@]+"${started[@]}"}; do end_process "$pid"; done
    # A script that mounts or stores elsewhere defines it.
    ! declare -F clean_up_more >/dev/null || clean_up_more
    rm -rf "$scratch"
}
trap clean_up EXIT

verdict() { # STATUS SENTENCE
    if [ "$1" -eq 0 ]; then
        echo "test $2 ... ok"
        passed=$((passed + 1))
    else
        echo "test $2 ... FAILED"
        awk '{ print "    " $0 }' "$scratch/said"
        failed+=("$2")
    fi
}

check() {
    local sentence=$1 status=0
    shift
    "$@" >"$scratch/said" 2>&1 || status=$?
    verdict "$status" "$sentence"
}

refuses() {
    local sentence=$1 words=$2 status=0
    shift 2
    if "$@" >"$scratch/said" 2>&1; then
        echo "(it succeeded)" >>"$scratch/said"
        status=1
    elif ! grep -qF -- "$words" "$scratch/said"; then
        echo "(it does not say: $words)" >>"$scratch/said"
        status=1
    fi
    verdict "$status" "$sentence"
}

await() {
    local until=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        sleep 0.2
        [ "$SECONDS" -lt "$until" ] || { "$@" || { echo "it did not come to that: $*"; return 1; }; return; }
    done
}

free_port() {
    local candidate
    while candidate=$((20000 + RANDOM % 12000)); do
        (exec 3<>"/dev/tcp/127.0.0.1/$candidate") 2>/dev/null || { echo "$candidate"; return; }
    done
}

finish() {
    if [ ${#failed[@]} -gt 0 ]; then
        printf '\nfailures:\n'
        printf '    %s\n' "${failed[@]// /_}"
        printf '\ntest result: FAILED. %d passed; %d failed\n' "$passed" "${#failed[@]}"
        exit 1
    fi
    printf '\ntest result: ok. %d passed; 0 failed\n' "$passed"
}
