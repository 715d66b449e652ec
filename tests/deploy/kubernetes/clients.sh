# For the scripts that look at the chart, after lib.sh: helm, kubectl and the bridge, and pods without
# containers.
needs npm

chart=$root/deploy/chart
pod=$root/tests/deploy/kubernetes/pod.sh
PATH=$("$root/tests/servers/kubernetes.sh" tools):$PATH || exit 69
# Nothing of the user's own settings of Helm counts, and nothing is written there.
export HELM_CONFIG_HOME=$scratch/helm HELM_CACHE_HOME=$scratch/helm HELM_DATA_HOME=$scratch/helm
needs_bridge
# A Python that reads YAML.
python=$("$tools" python kubernetes-schemas)/python || exit 69

# The definitions of the custom resources that the chart makes, one file a line.
definitions() {
    local operator external
    operator=$(module github.com/prometheus-operator/prometheus-operator@v0.85.0) || return
    external=$(module github.com/external-secrets/external-secrets@v1.3.2) || return
    printf '%s\n' "$operator"/example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml \
        "$operator"/example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml \
        "$external"/config/crds/bases/external-secrets.io_externalsecrets.yaml
}
module() { go mod download -json "$1" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p'; }

# The Secrets that the value sets and the overlay refer to, one file for each key. They are random and of this
# run.
make_secrets() { # DIRECTORY
    local name
    mkdir -p "$1"
    for name in admin-token token metrics-token scrape stream github stripe shopify mux; do
        head -c 24 /dev/urandom | basenc --base16 >"$1/$name"
    done
    echo "kafka-password-of-this-test" >"$1/kafka-password"
    echo "redis://127.0.0.1:6379/0" >"$1/redis"
}

make_certificate() { # DIRECTORY
    mkdir -p "$1"
    openssl req -x509 -newkey rsa:2048 -nodes -keyout "$1/tls.key" -out "$1/tls.crt" -days 30 \
        -subj /CN=localhost -addext subjectAltName=DNS:localhost 2>/dev/null
    cp "$1/tls.crt" "$1/ca.crt"
    chmod 644 "$1"/*
}
