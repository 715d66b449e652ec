#!/bin/sh
# Installs what compiles fanbridge for an architecture (amd64, arm64): a C compiler for librdkafka, and make
# and perl for OpenSSL. For another architecture than this machine's it is a cross compiler.
#
#   tool-chain.sh ARCHITECTURE
set -eu

packages="ca-certificates gcc g++ libc6-dev make perl"
if [ "$1" != "$(dpkg --print-architecture)" ]; then
    case $1 in
    amd64) packages="$packages gcc-x86-64-linux-gnu g++-x86-64-linux-gnu libc6-dev-amd64-cross" ;;
    arm64) packages="$packages gcc-aarch64-linux-gnu g++-aarch64-linux-gnu libc6-dev-arm64-cross" ;;
    *) echo "tool-chain.sh: no tool chain for $1: expected amd64 or arm64" >&2; exit 64 ;;
    esac
    # The C library that goes into the image comes from here as well.
    dpkg --add-architecture "$1"
fi
apt-get -q update
# shellcheck disable=SC2086 # The names of packages are several words.
DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends $packages
