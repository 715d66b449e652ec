#!/usr/bin/env bash
# HAProxy, the balancer in front of replicas.
#
#   haproxy.sh install      fetches it, if it is not there
#   haproxy.sh ARGUMENTS…   becomes haproxy with these arguments
#
# Debian's package would start a service that nobody asked for: so it and the libraries that this machine
# lacks are unpacked and not installed. They are kept in the user's cache directory.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-${HOME:?}/.cache}/fanbridge-tests

libraries_of() { apt-cache depends "$1" | sed -n 's/^ *Depends: \(lib[^ <]*\)$/\1/p'; }

# Those that a package needs and this machine lacks, with what they need; Ubuntu has others than Debian.
lacking() { # PACKAGE
    local package
    for package in $(libraries_of "$1"); do
        dpkg -s "$package" >/dev/null 2>&1 || { lacking "$package"; echo "$package"; }
    done
}

case ${1:-} in
    install)
        ! command -v haproxy >/dev/null && [ ! -e "$cache/debian-haproxy/.installed" ] || exit 0
        [ -n "$(libraries_of haproxy)" ] || "$here/install.sh" lists >&2
        for package in $(lacking haproxy); do "$here/tools.sh" debian "$package" >/dev/null; done
        "$here/tools.sh" debian haproxy >/dev/null
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
        paths=$(find "$cache"/debian-lib* -name '*.so.*' -printf '%h\n' | sort -u)
        LD_LIBRARY_PATH=$(tr '\n' ':' <<<"$paths") exec "$cache/debian-haproxy/usr/sbin/haproxy" "$@"
        ;;
esac
