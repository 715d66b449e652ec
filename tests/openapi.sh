#!/usr/bin/env bash
# Asks a running bridge whatever its OpenAPI document allows, and holds each answer against the document
# (Schemathesis). The bridge runs from an empty directory, with the embedded configuration and some events.
#
# Needs Python 3.11 or newer with its venv module. The packages come from the Python package index, once for
# all clones, into the user's cache directory, or where SCHEMATHESIS_VENV_DIR says.
set -euo pipefail
cd "$(dirname "$0")/.."

requirements=$PWD/tests/servers/schemathesis/requirements.txt
cache=${XDG_CACHE_HOME:-$HOME/.cache}/fanbridge-tests
venv=${SCHEMATHESIS_VENV_DIR:-$cache/schemathesis-$(sha256sum "$requirements" | head -c12)}
bridge=$PWD/target/debug/fanbridge

install() {
    cmp -s "$requirements" "$venv/requirements.txt" && return
    mkdir -p "$(dirname "$venv")"
    (
        flock 9 # Another clone may be at it.
        cmp -s "$requirements" "$venv/requirements.txt" && return
        "$(tests/servers/aws.sh python)" -m venv --clear "$venv"
        # Wheels only: nothing is built, and no package's code runs while it is installed.
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
            --only-binary :all: --requirement "$requirements"
        cp "$requirements" "$venv/requirements.txt"
    ) 9>"$venv.lock"
}

install
dir=$(mktemp -d)
finish() {
    [ -z "${pid:-}" ] || { kill "$pid" 2>/dev/null; wait "$pid" 2>/dev/null || true; }
    rm -rf "$dir"
}
trap finish EXIT
free_ports='import socket
both = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(one.getsockname()[1] for one in both))'
read -r http admin < <("$venv/bin/python" -c "$free_ports")
cat >"$dir/fanbridge.yaml" <<YAML
http: { listen: 127.0.0.1:$http }
admin: { listen: 127.0.0.1:$admin, show_payloads: true }
spool: { dir: $dir/spool, free_bytes_min: 0 }
sources: { stream-video: { provider: stream, secrets: [env:STREAM_SECRET] } }
sinks:
  local: { file: { dir: $dir/topics } }
  small: { select: [call.created], kafka: { brokers: "127.0.0.1:1", properties: { message.max.bytes: 1000 } } }
YAML
export STREAM_SECRET=stream-signing-secret-for-tests-0001
(cd "$dir" && exec "$bridge" run --no-tail >"$dir/log" 2>&1) &
pid=$!
for _ in $(seq 300); do
    curl -sf "http://127.0.0.1:$admin/readyz" >/dev/null && break
    kill -0 "$pid" 2>/dev/null || { cat "$dir/log"; exit 1; }
    sleep 0.1
done
(cd "$dir" && "$bridge" send stream-video call.created --count 20 --no-wait >/dev/null)

# An answer that never ends is left out. A wait would only cost time, and a name that no sink has says little.
cat >"$dir/schemathesis.toml" <<TOML
[parameters]
"query.wait" = "0s"
"path.name" = "local"
TOML
# It keeps files of its own where it runs.
cd "$dir"
"$venv/bin/schemathesis" --config-file "$dir/schemathesis.toml" run "http://127.0.0.1:$admin/api/v1/openapi.json" \
    --exclude-path /api/v1/events/stream \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
    --phases examples,coverage,fuzzing --max-examples "${SCHEMATHESIS_EXAMPLES:-40}" --seed 1 \
    --request-timeout 20 --no-color
