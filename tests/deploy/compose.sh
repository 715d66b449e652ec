#!/usr/bin/env bash
# deploy/compose.yaml, without an engine: whether Compose takes it, its bridge has a configuration, and
# Grafana and Prometheus find what they are told to show; then the whole of it, running (picture.sh).
#
# FANBRIDGE names the binary; by default the debug build. Needs Go 1.24 or newer, and root.
#
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"
cd "$root" || exit 1
needs_bridge
promtool=$("$tools" debian prometheus)/usr/bin/promtool || exit 69
export KAFKA_LIBS_DIR=${KAFKA_LIBS_DIR:-$root/.test-servers/kafka/libs}
tests/servers/kafka.sh install || exit 69

# As the service of a name, but for one line.
changed() { # SED-EXPRESSION
    sed "$1" deploy/compose.yaml >deploy/compose.changed.yaml
    ! cmp -s deploy/compose.yaml deploy/compose.changed.yaml || { echo "nothing to change"; return 0; }
    "$scratch/compose" deploy/compose.changed.yaml
}
clean_up_more() { rm -f "$root/deploy/compose.changed.yaml"; }

loads_with_nothing_set() {
    env -i PATH="$PATH" HOME="$HOME" "$scratch/compose" deploy/compose.yaml >"$scratch/project.json"
}
check "the loader of Compose is built" go build -C tests/deploy/compose -o "$scratch/compose" .
check "Compose loads the file though no variable is set" loads_with_nothing_set
refuses "a variable without a default is missed" 'FANBRIDGE_PORT' \
    changed 's/FANBRIDGE_PORT:-8080/FANBRIDGE_PORT/'
refuses "an unknown key of a service is refused" 'read_onyl' changed 's/read_only: true/read_onyl: true/'
refuses "a volume that is not declared is refused" 'undefined volume' changed '/^  metrics:$/d'
refuses "a service that is not there is refused" 'brokers' \
    changed 's/kafka: { condition/brokers: { condition/'
refuses "a port beyond loopback is refused" 'publishes port' changed '/GRAFANA_PORT/s/127.0.0.1://'
refuses "a file that is not there is refused" 'mounts a path' changed 's/queues.py:/queue.py:/'

fact() { jq -e "$1" "$scratch/project.json"; }
check "the services of the bridge have no capability and a root that is read-only" fact \
    '[.services[] | select(.image == "fanbridge:laptop")]
     | length == 5 and all(.read_only and .cap_drop == ["ALL"]
         and .security_opt == ["no-new-privileges:true"])'
check "every service that goes on is watched" fact \
    '[.services | to_entries[] | select(.value.restart == "unless-stopped" and .key != "bridge")]
     | length == 4 and all(.value.healthcheck.test != null)'
check "the bridge has longer to stop than it takes to drain" \
    fact '.services.bridge.stop_grace_period == "45s"'
check "the image of the bridge is built, and never taken from a registry" fact \
    '[.services[] | select(.image == "fanbridge:laptop")] | all(.pull_policy == "build" and .build != null)'
check "every image is of one version" fact '[.services[].image] | all(test(":[0-9v]|:laptop$"))'

check "no container but the bridge's own reads what is stored" fact \
    '[.services | to_entries[] | select(any(.value.volumes[]?; .source == "events")) | .key] == ["bridge"]'
check "Prometheus and Grafana read no secret but the one that each needs" fact \
    '.services | [.prometheus, .grafana | [.volumes[] | select(.source | test("secret"))]]
     | map(map(.source)) == [["prometheus-secret"], ["grafana-secret"]]'

mkdir -p "$scratch/secrets"/{bridge,prometheus,grafana}
# What Prometheus had before there was a token for the metrics alone.
echo former >"$scratch/secrets/prometheus/admin-token"
sh deploy/compose/make-secrets.sh "$scratch/secrets"
cp "$scratch/secrets/bridge/admin-token" "$scratch/first"
long_enough() { grep -Eqx '[0-9a-f]{48}' "$scratch/secrets/$1"; }
made=(bridge/{admin-token,metrics-token,signing-secret} prometheus/metrics-token grafana/grafana-password)
for name in "${made[@]}"; do
    check "a secret $name of 24 random bytes is made" long_enough "$name"
done
check "Prometheus has its token and no other" [ "$(ls "$scratch/secrets/prometheus")" = metrics-token ]
differ() { ! cmp -s "$scratch/secrets/bridge/admin-token" "$scratch/secrets/prometheus/metrics-token"; }
check "and it is not the admin token" differ
sh deploy/compose/make-secrets.sh "$scratch/secrets"
check "the secrets of the first start are kept" cmp "$scratch/first" "$scratch/secrets/bridge/admin-token"

sed "s#/run/laptop-secrets#$scratch/secrets/bridge#" deploy/compose/fanbridge.yaml >"$scratch/fanbridge.yaml"
export AWS_ACCESS_KEY_ID=made-up AWS_SECRET_ACCESS_KEY=made-up
check "the bridge accepts its configuration" "$FANBRIDGE" check --config "$scratch/fanbridge.yaml"
check "the tests in it pass" "$FANBRIDGE" test --config "$scratch/fanbridge.yaml"

mkdir -p "$scratch/etc"
cp deploy/prometheus/fanbridge.rules.yaml "$scratch/etc/"
sed "s#/run/laptop-secrets#$scratch/secrets/prometheus#; s#/etc/prometheus#$scratch/etc#" \
    deploy/compose/prometheus.yaml >"$scratch/etc/prometheus.yaml"
check "Prometheus accepts its configuration and finds its rules" \
    "$promtool" check config "$scratch/etc/prometheus.yaml"

# Grafana itself cannot be had from a registry of packages; what it is told is held against what is there.
grafana() {
    "$(tests/servers/aws.sh python)" - "$scratch/project.json" <<'PYTHON'
import json, pathlib, sys, yaml

grafana = json.load(open(sys.argv[1]))["services"]["grafana"]
mounts = {v["target"]: pathlib.Path(v["source"]) for v in grafana["volumes"] if v["type"] == "bind"}
provisioning = mounts["/etc/grafana/provisioning"]
[source] = yaml.safe_load((provisioning / "datasources/prometheus.yaml").read_text())["datasources"]
assert source["type"] == "prometheus" and source["isDefault"], source
assert source["url"] == "http://prometheus:9090", "the address is the one of the service, not of the laptop"
[provider] = yaml.safe_load((provisioning / "dashboards/fanbridge.yaml").read_text())["providers"]
dashboards = mounts[provider["options"]["path"]]
home = pathlib.PurePosixPath(grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
board = json.loads((dashboards / home.relative_to(provider["options"]["path"])).read_text())
variables = {v["name"]: v for v in board["templating"]["list"]}
assert variables["datasource"]["query"] == source["type"], "the dashboard chooses among sources of this type"
PYTHON
}
check "Grafana is told of a dashboard and a source of its type that are there" grafana

# A process that ends with this script. Its sentences are counted here; its own count is left out.
unshare --mount --net tests/deploy/picture.sh "$scratch/project.json" >"$scratch/picture" 2>&1 &
picture=$!
ends_with_us "$picture"
tail --pid="$picture" -s 0.2 -n +1 -f "$scratch/picture" |
    sed -u '/^failures:$/,/^test result:/d; /^test result:/d'
passed=$((passed + $(grep -c '^test .* \.\.\. ok$' "$scratch/picture")))
mapfile -t -O ${#failed[@]} failed < <(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' "$scratch/picture")
grep -q '^test result:' "$scratch/picture" || failed+=("the picture runs to its end")
finish
