#!/usr/bin/env bash
# Installs what the build and the tests need on Debian 12 or newer, and only what is absent.
#
#   install.sh build    what the build needs
#   install.sh all      and what the tests need
#
# The build: a C tool chain with zlib and OpenSSL headers, for librdkafka.
# The tests: Maven and a JRE for the real Kafka broker, kcat to read it back, strace for fault injection.
set -euo pipefail

scope=${1:-all}
missing=()
need_command() { command -v "$1" >/dev/null || missing+=("$2"); }
need_package() { dpkg -s "$1" >/dev/null 2>&1 || missing+=("$1"); }

java_major() { java -version 2>&1 | sed -n '1s/.*version "\([0-9]*\).*/\1/p'; }

need_command gcc gcc
need_command g++ g++
need_command make make
need_command pkg-config pkg-config
need_package zlib1g-dev
need_package libssl-dev
if [ "$scope" != build ]; then
    need_command mvn maven
    need_command kcat kcat
    need_command strace strace
    if ! command -v java >/dev/null || [ "$(java_major)" -lt 17 ]; then
        missing+=(default-jre-headless)
    fi
fi
if ! command -v cargo >/dev/null; then
    echo "install.sh: cargo is missing; install Rust 1.95 or newer (rustup), then run this again" >&2
    exit 1
fi

[ ${#missing[@]} -gt 0 ] || exit 0
echo "installing: ${missing[*]}"
[ "$(id -u)" -eq 0 ] && sudo=() || sudo=(sudo)
"${sudo[@]}" apt-get update -q
DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -q -y --no-install-recommends "${missing[@]}"
