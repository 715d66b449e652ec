#!/usr/bin/env bash
# Installs what the build and the tests need on Debian 12 or newer, and only what is absent.
#
#   install.sh build    what the build needs
#   install.sh all      and what the tests need
#   install.sh page     what the tests of the admin page need, and nothing else
#   install.sh needs PROGRAM=PACKAGE…    what one script needs besides; PROGRAM is its name or a path, and
#                       without =PACKAGE the package has the same name
#   install.sh lists    what apt knows of packages, anew
#
# The build: a C tool chain with zlib and OpenSSL headers, for librdkafka.
# The tests: Maven and a JRE for the real Kafka broker, kcat to read it back, strace for fault
# injection, ip for networks of their own, curl and jq, a Python with its venv module and in it the emulator
# of SQS and SNS, Redis, promtool for the alert rules, and HAProxy.
# The admin page: Chromium, Node.js 18 or newer, and in tests/page what drives the browser.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
scope=${1:-all}
missing=()
[ "$(id -u)" -eq 0 ] && sudo=() || sudo=(sudo)
need_command() { command -v "$1" >/dev/null || missing+=("$2"); }
need_package() { dpkg -s "$1" >/dev/null 2>&1 || missing+=("$1"); }

java_major() { java -version 2>&1 | sed -n '1s/.*version "\([0-9]*\).*/\1/p'; }

lock_seconds=600
# Another installation may hold the lock, as the one of automatic upgrades does on a new machine. The variable
# stands behind sudo, which lets none of its caller through.
apt() {
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive LC_ALL=C \
        apt-get -q -o DPkg::Lock::Timeout="$lock_seconds" "$@"
}

# For the lock of the lists apt does not wait by itself.
update_lists() {
    local until=$((SECONDS + lock_seconds)) said
    until said=$(apt update 2>&1); do
        [[ $said == *"Could not get lock"* && $SECONDS -lt $until ]] || { echo "$said" >&2; return 1; }
        sleep 1
    done
}

if [ "$scope" = lists ]; then
    update_lists
elif [ "$scope" = needs ]; then
    for pair in "${@:2}"; do
        [[ $pair == /* && -e ${pair%%=*} ]] || need_command "${pair%%=*}" "${pair#*=}"
    done
elif [ "$scope" = page ]; then
    command -v chromium >/dev/null || command -v google-chrome >/dev/null || missing+=(chromium)
    need_command node nodejs
    need_command npm npm
else
    need_command gcc gcc
    need_command g++ g++
    need_command make make
    need_command pkg-config pkg-config
    need_package zlib1g-dev
    need_package libssl-dev
fi
if [ "$scope" = all ]; then
    need_command mvn maven
    need_command kcat kcat
    need_command openssl openssl
    need_command strace strace
    need_command ip iproute2
    need_command curl curl
    need_command jq jq
    if ! command -v java >/dev/null || [ "$(java_major)" -lt 17 ]; then
        missing+=(default-jre-headless)
    fi
    need_command python3 python3
    "$here/aws.sh" python >/dev/null 2>&1 || missing+=(python3-venv)
    # Debian's redis-check-rdb is the server under another name. Its own package would start a
    # service, which nobody asked for.
    command -v redis-server >/dev/null || need_command redis-check-rdb redis-tools
fi
if [[ $scope == @(build|all) ]] && ! command -v cargo >/dev/null; then
    echo "install.sh: cargo is missing; install Rust 1.95 or newer (rustup), then run this again" >&2
    exit 1
fi

if [ ${#missing[@]} -gt 0 ]; then
    echo "installing: ${missing[*]}"
    update_lists
    apt install -y --no-install-recommends "${missing[@]}"
fi
if [ "$scope" = page ]; then
    npm ci --prefix "$here/../page" --ignore-scripts --no-audit --no-fund
elif [ "$scope" = all ]; then
    "$here/aws.sh" install
    "$here/promtool.sh" install
    "$here/haproxy.sh" install
fi
