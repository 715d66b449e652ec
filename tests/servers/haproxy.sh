#!/usr/bin/env bash
# HAProxy, the balancer in front of replicas.
#
#   haproxy.sh install      fetches it, if it is not there
#   haproxy.sh ARGUMENTS…   becomes haproxy with these arguments
#
# Debian's package would start a service that nobody asked for: so it and the libraries that a small machine
# lacks are unpacked and not installed. They are kept in the user's cache directory.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/fanbridge-tests
libraries=(liblua5.3-0 libopentracing-c-wrapper0 libopentracing1 libpcre2-8-0)

case ${1:-} in
    install)
        ! command -v haproxy >/dev/null || exit 0
        for package in "${libraries[@]}" haproxy; do
            "$here/tools.sh" debian "$package" >/dev/null
        done
        ;;
    "")
        sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0" >&2
        exit 64
        ;;
    *)
        ! command -v haproxy >/dev/null || exec haproxy "$@"
        # The package comes last, so what it needs is there once it is.
        [ -e "$cache/debian-haproxy/.installed" ] ||
            { echo "haproxy is missing: run tests/servers/install.sh all" >&2; exit 69; }
        paths=$(find "$cache"/debian-lib{lua,opentracing,pcre2}* -name '*.so.*' -printf '%h\n' | sort -u)
        LD_LIBRARY_PATH=$(tr '\n' ':' <<<"$paths") exec "$cache/debian-haproxy/usr/sbin/haproxy" "$@"
        ;;
esac
