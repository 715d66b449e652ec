#!/usr/bin/env bash
# promtool, which checks metrics, alert rules and their tests.
#
#   promtool.sh install   fetches it, if it is not there
#   promtool.sh path      prints where it is
#
# It is in Debian's package `prometheus`, which would start a service that nobody asked for: so the package is
# unpacked and not installed. It is kept in the user's cache directory.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
kept=${XDG_CACHE_HOME:-${HOME:?}/.cache}/fanbridge-tests/debian-prometheus

find_promtool() {
    command -v promtool || { [ -e "$kept/.installed" ] && echo "$kept/usr/bin/promtool"; }
}

case ${1:-} in
    install)
        find_promtool >/dev/null || "$here/tools.sh" debian prometheus >/dev/null
        ;;
    path)
        find_promtool || { echo "promtool is missing: run tests/servers/install.sh all" >&2; exit 69; }
        ;;
    *)
        echo "usage: promtool.sh install|path" >&2
        exit 64
        ;;
esac
