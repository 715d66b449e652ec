#!/usr/bin/env bash
# One real Apache Kafka broker (KRaft, a single node) for the tests, without containers.
#
#   kafka.sh install        fetches the broker's jars, if they are not there; `start` does it, too
#   kafka.sh start [PORT]   starts it, on PORT or a free one; prints the bootstrap address
#   kafka.sh stop           shuts it down in order; its data stays
#   kafka.sh kill           ends it at once (SIGKILL)
#   kafka.sh restart        stop, then start on the same port with the same data
#   kafka.sh freeze|thaw    SIGSTOP, SIGCONT: it keeps its connections and answers nothing
#   kafka.sh address        prints the bootstrap address of the running broker
#   kafka.sh clean          stop, then delete its data
#
# The broker's jars come from Maven Central, once. Everything lives under TEST_SERVERS_DIR
# (default: .test-servers of this repository). More ways in than the plain one, all on loopback and
# known as localhost, are asked for at every start:
#
#   KAFKA_EXTRA_LISTENERS   NAME:PROTOCOL:PORT[:SHOWN] …, PROTOCOL being PLAINTEXT, SSL, SASL_PLAINTEXT
#                           or SASL_SSL, and SHOWN the port that clients are told to use instead
#   KAFKA_EXTRA_PROPERTIES  a file whose lines are added to the broker's properties
#   KAFKA_SCRAM_USER        name=NAME,password=PASSWORD: a user made with the data
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
servers=${TEST_SERVERS_DIR:-$here/../../.test-servers}
mkdir -p "$servers/kafka"
home=$(cd "$servers/kafka" && pwd)
libs=${KAFKA_LIBS_DIR:-$home/libs}
properties=$home/server.properties
pid_file=$home/pid
ready_seconds=60

fail() { echo "kafka.sh: $*" >&2; exit 1; }

# The pid file may outlive its process, and the number may since belong to another one.
running() {
    [ -s "$pid_file" ] && tr '\0' ' ' 2>/dev/null <"/proc/$(cat "$pid_file")/cmdline" | grep -q "kafka.Kafka $properties"
}

port() { sed -n 's|^advertised.listeners=PLAINTEXT://127.0.0.1:\([0-9]*\).*|\1|p' "$properties"; }

free_port() {
    local candidate
    while :; do
        candidate=$((20000 + RANDOM % 12000))
        (exec 3<>"/dev/tcp/127.0.0.1/$candidate") 2>/dev/null || { echo "$candidate"; return; }
    done
}

# Sixteen bytes as base64url, without the `-` that would make an option of it.
cluster_id() { head -c16 /dev/urandom | basenc --base64url | tr -d = | tr -- -_ AZ; }

fetch_libs() {
    compgen -G "$libs/kafka_2.13-*.jar" >/dev/null && return
    command -v mvn >/dev/null || fail "maven is missing: run $here/install.sh"
    echo "fetching the broker's jars" >&2
    mvn -B -q -f "$here/kafka/pom.xml" dependency:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$libs" >&2
}

write_properties() {
    local bound='' shown='' protocols='' listener name protocol port port_shown
    for listener in ${KAFKA_EXTRA_LISTENERS:-}; do
        IFS=: read -r name protocol port port_shown <<<"$listener"
        bound+=",$name://127.0.0.1:$port"
        shown+=",$name://localhost:${port_shown:-$port}"
        protocols+=",$name:$protocol"
    done
    cat >"$properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$2
listeners=PLAINTEXT://127.0.0.1:$1,CONTROLLER://127.0.0.1:$2$bound
advertised.listeners=PLAINTEXT://127.0.0.1:$1$shown
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT$protocols
log.dirs=$home/data
auto.create.topics.enable=false
num.network.threads=2
num.io.threads=4
group.initial.rebalance.delay.ms=0
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
log.cleaner.dedupe.buffer.size=4194304
log.segment.delete.delay.ms=1000
PROPERTIES
    if [ -n "${KAFKA_EXTRA_PROPERTIES:-}" ]; then
        cat "$KAFKA_EXTRA_PROPERTIES" >>"$properties"
    fi
}

# Becomes Java, so that the recorded process is the broker itself: call it in a subshell.
# The serial collector and the first compiler start soonest, and leave the cores to the tests.
java_run() { exec java -Xms256m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$libs/*" "$@"; }

start() {
    running && fail "already running on 127.0.0.1:$(port)"
    local java_major
    java_major=$(java -version 2>&1 | sed -n '1s/.*version "\([0-9]*\).*/\1/p')
    [ "${java_major:-0}" -ge 17 ] || fail "Java 17 or newer is missing: run $here/install.sh"
    command -v kcat >/dev/null || fail "kcat is missing: run $here/install.sh"
    fetch_libs
    write_properties "${1:-$(free_port)}" "$(free_port)"
    if [ ! -f "$home/data/meta.properties" ]; then
        local users=()
        if [ -n "${KAFKA_SCRAM_USER:-}" ]; then
            users=(--add-scram "SCRAM-SHA-256=[$KAFKA_SCRAM_USER]" --add-scram "SCRAM-SHA-512=[$KAFKA_SCRAM_USER]")
        fi
        (java_run kafka.tools.StorageTool format -c "$properties" "${users[@]}" \
            --cluster-id "$(cluster_id)") >"$home/format.log" 2>&1 ||
            fail "the data directory could not be formatted: see $home/format.log"
    fi
    java_run kafka.Kafka "$properties" >"$home/kafka.log" 2>&1 </dev/null &
    echo $! >"$pid_file"
    wait_ready
    echo "127.0.0.1:$(port)"
}

wait_ready() {
    local deadline=$((SECONDS + ready_seconds))
    until kcat -b "127.0.0.1:$(port)" -L -m 1 >/dev/null 2>&1; do
        kill -0 "$(cat "$pid_file")" 2>/dev/null || fail "the broker ended: see $home/kafka.log"
        [ $SECONDS -lt $deadline ] || fail "the broker was not ready within ${ready_seconds} s: see $home/kafka.log"
        sleep 0.1
    done
}

# A frozen process takes no SIGTERM, so it is thawed first.
end() {
    running || return 0
    local pid
    pid=$(cat "$pid_file")
    kill -CONT "$pid" 2>/dev/null || true
    kill -"$1" "$pid" 2>/dev/null || true
    while running; do sleep 0.05; done
    rm -f "$pid_file"
}

signal() {
    running || fail "not running"
    kill -"$1" "$(cat "$pid_file")"
}

case "${1:-}" in
install) fetch_libs ;;
start) start "${2:-}" ;;
stop) end TERM ;;
kill) end KILL ;;
restart) end TERM; start "$(port)" ;;
freeze) signal STOP ;;
thaw) signal CONT ;;
address) running || fail "not running"; echo "127.0.0.1:$(port)" ;;
clean) end TERM; rm -rf "$home/data" ;;
*) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0" >&2; exit 2 ;;
esac
