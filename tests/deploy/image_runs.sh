# shellcheck shell=bash disable=SC2154
# The second half of image.sh, which has set what is used here: the image runs.

safely=(--rm --read-only --cap-drop ALL --security-opt no-new-privileges)
says_its_version() { run_container "${safely[@]}" "$image" --version | grep '^fanbridge '; }
check "it says its version" says_its_version
demo() { run_container "${safely[@]}" "$image" demo; }
check "every known event type goes through it, read-only and without rights" demo
refuses "nothing is written outside the volume" 'Read-only file system' \
    run_container "${safely[@]}" "$image" man /usr/share/man
refuses "a configuration that is not there is named" '/etc/fanbridge/fanbridge.yaml' \
    run_container "${safely[@]}" "$image"

port=$(free_port)
admin=$(free_port)
# The directory of this run is for root; the container's user has to read one file below it.
rm -rf "$containers/given"
mkdir -m 755 "$containers/given"
cat >"$containers/given/fanbridge.yaml" <<YAML
http: { listen: 127.0.0.1:$port }
admin: { listen: 127.0.0.1:$admin }
spool: { dir: /var/lib/fanbridge/spool }
sources:
  stream: { provider: stream, secrets: [env:STREAM_SECRET] }
select: all
sinks:
  local: { file: { dir: /var/lib/fanbridge/topics } }
YAML
given=(--env STREAM_SECRET=made-up-and-long-enough-for-it
    --volume "$containers/given/fanbridge.yaml:/etc/fanbridge/fanbridge.yaml:ro")

start_bridge() {
    run_container "${safely[@]}" "${given[@]}" --name bridge --volume events:/var/lib/fanbridge "$image" \
        >"$scratch/bridge.log" 2>&1 &
    bridge=$!
    ends_with_us "$bridge"
    local until=$((SECONDS + 60))
    until asked_within health --ready >/dev/null 2>&1; do
        [ $SECONDS -lt $until ] || { cat "$scratch/bridge.log"; return 1; }
        sleep 0.3
    done
}
# What the health check does: the binary, once more, in the container that runs.
asked_within() { podman exec bridge /usr/bin/fanbridge "$@"; }
main_process() { podman inspect --format '{{.State.Pid}}' bridge; }
runs_as_nobody() {
    local status
    status=/proc/$(main_process)/status
    grep -E '^(Uid|Gid|CapEff|CapBnd|NoNewPrivs)' "$status"
    grep -qP '^Uid:\t10001\t10001\t10001\t10001$' "$status" && grep -qP '^CapBnd:\t0{16}$' "$status" &&
        grep -qP '^NoNewPrivs:\t1$' "$status"
}
stops() { # the seconds that it may take
    local began=$SECONDS status=0
    kill -TERM "$(main_process)"
    wait "$bridge" || status=$?
    echo "status $status after $((SECONDS - began)) s"
    cat "$scratch/bridge.log"
    grep -q 'the bridge has stopped' "$scratch/bridge.log" && [ "$status" -eq 0 ] &&
        [ $((SECONDS - began)) -le "$1" ]
}

check "its health check says when it is ready" start_bridge
check "it runs as 10001, without a capability, and gets no more rights" runs_as_nobody
refuses "its health check says that nothing listens elsewhere" 'not ready' \
    asked_within health --ready --url "http://127.0.0.1:$(free_port)"
check "an event is taken in" asked_within send stream call.created
check "it is delivered" asked_within explain --type call.created
check "SIGTERM stops it in order, within its grace" stops 30
check "it starts again on its volume" start_bridge
remembers() { asked_within types --seen | grep call.created; }
check "and knows what came before" remembers
check "it stops again" stops 30

# What a Kafka client meets at a broker with TLS, whose certificate is of an authority of our own: the OpenSSL
# in the binary looks for authorities where this image has them, and nowhere else.
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout "$scratch/ca.key" \
    -out "$containers/given/authority.pem" 2>/dev/null
openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout "$scratch/broker.key" \
    -out "$scratch/broker.csr" 2>/dev/null
openssl x509 -req -in "$scratch/broker.csr" -CA "$containers/given/authority.pem" -CAkey "$scratch/ca.key" \
    -days 2 -extfile <(echo subjectAltName=DNS:localhost) -out "$scratch/broker.pem" 2>/dev/null
broker=$(free_port)
openssl s_server -accept "127.0.0.1:$broker" -cert "$scratch/broker.pem" -key "$scratch/broker.key" -quiet \
    </dev/zero >"$scratch/broker.log" 2>&1 &
ends_with_us $!
cat >"$containers/given/fanbridge.yaml" <<YAML
sources:
  stream: { provider: stream, secrets: [env:STREAM_SECRET] }
spool: { dir: /var/lib/fanbridge/spool }
select: [call.created]
sinks:
  lake: { kafka: { brokers: "localhost:$broker", tls: {} } }
YAML
topics() { run_container "${safely[@]}" "${given[@]}" --timeout 60 "$@" "$image" topics plan; }
trusted() {
    topics --volume "$containers/given/authority.pem:/etc/ssl/certs/ca-certificates.crt:ro" \
        >"$scratch/out" 2>&1
    cat "$scratch/out"
    # It has shaken hands, and finds that this is no Kafka.
    grep -q 'Invalid response size' "$scratch/out"
}
refuses "a broker of an unknown authority is not trusted" 'certificate verify failed' topics
check "the authorities at the image's place for them are trusted" trusted
rm -r "$containers/given"
