#!/bin/sh
# Compiles fanbridge for an architecture, with OpenSSL and zlib in it. Leaves /out/fanbridge, stripped,
# and /out/fanbridge.debug, which has what was taken off.
#
#   compile.sh ARCHITECTURE PROFILE
set -eu

case $1 in
amd64) machine=x86_64 linker=CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER ;;
arm64) machine=aarch64 linker=CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER ;;
*) echo "compile.sh: no target for $1: expected amd64 or arm64" >&2; exit 64 ;;
esac
case $2 in
dist | release | demo) ;;
*) echo "compile.sh: no profile $2: expected dist, release or demo" >&2; exit 64 ;;
esac
tools=$machine-linux-gnu-
built=target/$2/fanbridge
cross=
# If a target is named, what runs during the build is compiled apart, so it is named only if it has to be.
if [ "$1" != "$(dpkg --print-architecture)" ]; then
    target=$machine-unknown-linux-gnu
    rustup target add "$target"
    # librdkafka's configure reads CC; what is built for this machine itself reads HOST_CC before it.
    export HOST_CC=gcc HOST_CXX=g++ HOST_AR=ar
    export CC="${tools}gcc" CXX="${tools}g++" AR="${tools}ar" "$linker=${tools}gcc"
    built=target/$target/$2/fanbridge
    cross=--target=$target
fi
cargo auditable build --locked --profile "$2" --features static --bin fanbridge ${cross:+"$cross"}

mkdir -p /out
"${tools}objcopy" --only-keep-debug --compress-debug-sections "$built" /out/fanbridge.debug
cd /out
"${tools}objcopy" --strip-all --add-gnu-debuglink=fanbridge.debug "/build/$built" fanbridge
