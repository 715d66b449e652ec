#!/usr/bin/env bash
# Says whether this commit can be released under a tag, and prints the notes of the release.
#
#   check.sh vVERSION       VERSION has to be that of Cargo.toml and of the chart, and CHANGELOG.md has to have
#                           a section of it
#   check.sh vVERSION OUT   and the directory OUT has to have the files of a release, and no others
set -euo pipefail

out=${2:-}
[ -z "$out" ] || out=$(realpath "$out")
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
[ $# -eq 1 ] || [ $# -eq 2 ] || { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0" >&2; exit 64; }
tag=$1
version=$(sed -n '/^\[package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)

fail() { echo "check.sh: $*" >&2; exit 1; }

[ "$tag" = "v$version" ] ||
    fail "the tag is $tag, and Cargo.toml has version $version: expected the tag v$version"
notes=$(awk -v head="## [$version]" '
    index($0, head) == 1 { found = 1; next }
    found && /^## / { exit }
    found { print }' CHANGELOG.md)
[ -n "${notes//[[:space:]]/}" ] ||
    fail "CHANGELOG.md has no section \`## [$version]\` with text: write what changed since the last one"
locked=$(awk '/^name = "fanbridge"$/ { getline; print }' Cargo.lock)
[ "$locked" = "version = \"$version\"" ] ||
    fail "Cargo.lock has $locked for fanbridge, and Cargo.toml $version: run cargo check, commit Cargo.lock"
chart() { sed -n "s/^$1: *\"\{0,1\}\([^\"]*\)\"\{0,1\}$/\1/p" deploy/chart/Chart.yaml; }
for key in version appVersion; do
    [ "$(chart $key)" = "$version" ] ||
        fail "deploy/chart/Chart.yaml has $key $(chart $key): expected $version, that of Cargo.toml"
done
grep -q "app.kubernetes.io/version: $version\$" deploy/kubernetes/base/resources.yaml ||
    fail "deploy/kubernetes/base is of another version: run tests/deploy/chart/generate.py, commit its files"

# What build.sh makes on both architectures, and the chart.
files() {
    # Debian sorts 1.0.0~rc.1 before 1.0.0, which cargo-deb knows.
    local target debian=${version/-/\~}
    for target in x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu; do
        printf "fanbridge-$version-$target.%s\n" cdx.json debug.gz tar.gz
    done
    printf "fanbridge_$debian-1_%s.deb\n" amd64 arm64
    echo "fanbridge-$version.tgz"
}
if [ $# -eq 2 ]; then
    # A file that somebody else has left there would be signed with the others.
    difference=$(diff <(files | sort) <(ls -A "$out" | sort)) ||
        fail "$out has not the files of a release; missing are those with <, unknown those with >:
$difference"
fi
printf '%s\n' "$notes"
