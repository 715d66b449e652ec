#!/usr/bin/env bash
# promtool, which checks metrics, alert rules and their tests.
#
#   promtool.sh install   fetches it, if it is not there
#   promtool.sh path      prints where it is
#
# It is in Debian's package `prometheus`, which would start a service that nobody asked for: so the package is
# unpacked and not installed. It is kept in the user's cache directory.
set -euo pipefail

cache=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/fanbridge-tests
kept=$cache/promtool

find_promtool() { command -v promtool || { [ -x "$kept" ] && echo "$kept"; }; }

case ${1:-} in
    install)
        find_promtool > /dev/null && exit 0
        mkdir -p "$cache"
        dir=$(mktemp -d)
        trap 'rm -rf "$dir"' EXIT
        # As the user who asks: nobody else may reach the directory, and exchange the package.
        (cd "$dir" && apt-get -q -o APT::Sandbox::User= download prometheus)
        dpkg-deb -x "$dir"/prometheus_*.deb "$dir/package"
        mv "$dir/package/usr/bin/promtool" "$kept"
        ;;
    path)
        find_promtool || { echo "promtool is missing: run tests/servers/install.sh all" >&2; exit 69; }
        ;;
    *)
        echo "usage: promtool.sh install|path" >&2
        exit 64
        ;;
esac
