#!/usr/bin/env bash
# Installs what the build and the tests need on Debian 12 or newer, and only what is absent.
#
#   install.sh build    what the build needs
#   install.sh all      and what the tests need
#   install.sh page     what the tests of the admin page need, and nothing else
#
# The build: a C tool chain with zlib and OpenSSL headers, for librdkafka.
# The tests: Maven and a JRE for the real Kafka broker, kcat to read it back, strace for fault
# injection, ip for networks of their own, a Python with its venv module and in it the emulator of SQS and SNS,
# Redis, promtool for the alert rules, and HAProxy.
# The admin page: Chromium, Node.js 18 or newer, and in tests/page what drives the browser.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
scope=${1:-all}
missing=()
need_command() { command -v "$1" >/dev/null || missing+=("$2"); }
need_package() { dpkg -s "$1" >/dev/null 2>&1 || missing+=("$1"); }

java_major() { java -version 2>&1 | sed -n '1s/.*version "\([0-9]*\).*/\1/p'; }

if [ "$scope" = page ]; then
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
    if ! command -v java >/dev/null || [ "$(java_major)" -lt 17 ]; then
        missing+=(default-jre-headless)
    fi
    "$here/aws.sh" python >/dev/null 2>&1 || missing+=(python3-venv)
    # Debian's redis-check-rdb is the server under another name. Its own package would start a
    # service, which nobody asked for.
    command -v redis-server >/dev/null || need_command redis-check-rdb redis-tools
fi
if [ "$scope" != page ] && ! command -v cargo >/dev/null; then
    echo "install.sh: cargo is missing; install Rust 1.95 or newer (rustup), then run this again" >&2
    exit 1
fi

if [ ${#missing[@]} -gt 0 ]; then
    echo "installing: ${missing[*]}"
    [ "$(id -u)" -eq 0 ] && sudo=() || sudo=(sudo)
    # Another installation may hold the lock, as the one of automatic upgrades does on a new machine.
    "${sudo[@]}" apt-get -o DPkg::Lock::Timeout=600 update -q
    DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get -o DPkg::Lock::Timeout=600 install -q -y --no-install-recommends "${missing[@]}"
fi
if [ "$scope" = page ]; then
    npm ci --prefix "$here/../page" --ignore-scripts --no-audit --no-fund
elif [ "$scope" != build ]; then
    "$here/aws.sh" install
    "$here/promtool.sh" install
    "$here/haproxy.sh" install
fi
