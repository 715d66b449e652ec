#!/usr/bin/env bash
# One emulator of SQS, SNS, Secrets Manager and Parameter Store (LocalStack) for the tests, without containers and without an account.
#
#   aws.sh python         prints the Python that it runs on, or would
#   aws.sh install        makes its Python environment, unless it is there
#   aws.sh start [PORT]   starts it, on PORT or a free one; prints its address as a URL
#   aws.sh stop           ends it, with all that its queues held: it keeps everything in memory
#   aws.sh address        prints the address of the running emulator
#
# Needs Python 3.11 or newer with its venv module; LOCALSTACK_PYTHON names one that is not on the
# path. The packages come from the Python package index, once for all clones: their environment is
# kept in the user's cache directory, or where LOCALSTACK_VENV_DIR says. All else lives under
# TEST_SERVERS_DIR (default: .test-servers of this repository). What a start may be told besides:
#
#   AWS_SERVICES            its services, separated by commas; sqs and sns are always among them
#   SQS_ENDPOINT_STRATEGY   the form of queue URLs: path, with the region in it, or off, which Terraform wants
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
servers=${TEST_SERVERS_DIR:-$here/../../.test-servers}
mkdir -p "$servers/localstack"
home=$(cd "$servers/localstack" && pwd)
requirements=$here/localstack/requirements.txt
cache=${XDG_CACHE_HOME:-${HOME:-$home}/.cache}/fanbridge-tests
venv=${LOCALSTACK_VENV_DIR:-$cache/localstack-$(sha256sum "$requirements" | head -c12)}
pid_file=$home/pid
port_file=$home/port
log=$home/localstack.log
ready_seconds=60

fail() { echo "aws.sh: $*" >&2; exit 1; }

# The pid file may outlive its process, and the number may since belong to another one.
running() {
    [ -s "$pid_file" ] && tr '\0' ' ' 2>/dev/null <"/proc/$(cat "$pid_file")/cmdline" | grep -q "localstack.runtime.main $home"
}

address() { echo "http://127.0.0.1:$(cat "$port_file")"; }

free_port() {
    local candidate
    while :; do
        candidate=$((20000 + RANDOM % 12000))
        (exec 3<>"/dev/tcp/127.0.0.1/$candidate") 2>/dev/null || { echo "$candidate"; return; }
    done
}

# The list is left in the environment once that is whole. Its Python may be gone since.
installed() { cmp -s "$requirements" "$venv/requirements.txt" && [ -x "$venv/bin/python" ]; }

# New enough, and able to make an environment, which Debian has in a package of its own.
suits() { "$1" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

# Tried with 3.11 to 3.13; newer ones come last.
python() {
    local candidate
    if installed; then
        echo "$venv/bin/python"
        return
    fi
    for candidate in ${LOCALSTACK_PYTHON:-python3.13 python3.12 python3.11 python3 /usr/bin/python3}; do
        if suits "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    fail "Python 3.11 or newer with its venv module is missing: run $here/install.sh," \
        "or name one with LOCALSTACK_PYTHON=/path/to/python3"
}

install() {
    installed && return
    local python
    python=$(python)
    mkdir -p "$(dirname "$venv")"
    (
        flock 9 # Another clone may be at it.
        installed && return
        echo "fetching the emulator of SQS and SNS" >&2
        "$python" -m venv --clear "$venv" >&2
        # Wheels only: nothing is built, and no package's code runs while it is installed.
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
            --only-binary :all: --requirement "$requirements" >&2
        cp "$requirements" "$venv/requirements.txt"
    ) 9>"$venv.lock"
}

start() {
    running && fail "already running on $(address)"
    install
    local port=${1:-$(free_port)}
    echo "$port" >"$port_file"
    rm -rf "$home/files"
    # A process group of its own, so that its children end with it. The last argument is read by
    # nobody but `running`. Nothing is asked of or told to a host outside this machine.
    env LOCALSTACK_HOST="127.0.0.1:$port" GATEWAY_LISTEN="127.0.0.1:$port" \
        SERVICES="sqs,sns,secretsmanager,ssm${AWS_SERVICES:+,$AWS_SERVICES}" EAGER_SERVICE_LOADING=1 \
        SQS_ENDPOINT_STRATEGY="${SQS_ENDPOINT_STRATEGY:-path}" SQS_DISABLE_CLOUDWATCH_METRICS=1 \
        DISABLE_EVENTS=1 SKIP_SSL_CERT_DOWNLOAD=1 DNS_ADDRESS=0 LS_LOG=warning \
        FILESYSTEM_ROOT="$home/files" XDG_CACHE_HOME="$home/files/cache" PYTHONUNBUFFERED=1 \
        setsid "$venv/bin/python" -m localstack.runtime.main "$home" >"$log" 2>&1 </dev/null &
    echo $! >"$pid_file"
    wait_ready
    address
}

healthy() {
    (
        exec 3<>"/dev/tcp/127.0.0.1/$(cat "$port_file")"
        printf 'GET /_localstack/health HTTP/1.0\r\n\r\n' >&3
        timeout 5 grep -q '"sns": "running", "sqs": "running"' <&3
    ) 2>/dev/null
}

wait_ready() {
    local deadline=$((SECONDS + ready_seconds))
    until healthy; do
        kill -0 "$(cat "$pid_file")" 2>/dev/null || fail "the emulator ended: see $log"
        if [ $SECONDS -ge $deadline ]; then
            stop
            fail "the emulator was not ready within ${ready_seconds} s: see $log"
        fi
        sleep 0.1
    done
}

# It holds nothing worth an orderly end, which would wait for its long polls.
stop() {
    running || return 0
    kill -KILL -- "-$(cat "$pid_file")"
    while running; do sleep 0.05; done
    rm -f "$pid_file"
}

case "${1:-}" in
python) python ;;
install) install ;;
start) start "${2:-}" ;;
stop) stop ;;
address) running || fail "not running"; address ;;
*) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0" >&2; exit 2 ;;
esac
