#!/usr/bin/env bash
# The tools that check what is deployed: linters, validators, a Prometheus. None is installed into the system.
#
#   tools.sh go NAME            builds a Go program of the list below, unless it is there; prints its path
#   tools.sh cargo NAME         the same of a Rust program
#   tools.sh python NAME        makes the Python environment of tools/NAME.txt; prints the directory of its programs
#   tools.sh npm NAME           installs what tools/NAME.json and its lock file name; prints the directory
#   tools.sh debian PACKAGE     unpacks a Debian package without installing it; prints the directory
#
# All of them are kept in the user's cache directory, once for all clones, under names that change with their
# versions. Two runs at once wait for each other.
set -euo pipefail
# A step that fails in a substitution ends the script, too.
shopt -s inherit_errexit

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-${HOME:?}/.cache}/fanbridge-tests
go_min=24

fail() { echo "tools.sh: $*" >&2; exit 69; }

# Program, package and version. One line each, so that a new version is one line of a diff.
go_list() {
    cat <<'LIST'
actionlint                github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
kubeconform               github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0
terraform-provider-aws    github.com/hashicorp/terraform-provider-aws@v1.60.1-0.20260602190131-5f2286d6d836
terraform-provider-kafka  github.com/Mongey/terraform-provider-kafka@v0.13.1
LIST
}

# Crate and version; the program has the crate's name.
cargo_list() {
    cat <<'LIST'
cargo-auditable   0.7.7
cargo-cyclonedx   0.5.9
cargo-deb         3.8.0
cargo-deny        0.20.2
cargo-fuzz        0.13.2
LIST
}

# once DIRECTORY COMMAND…: runs the command with DIRECTORY, empty, as last argument, unless a run before it has
# done so; the mark stands last, so an installation that was cut short is begun anew.
once() {
    local target=$1 mark=$1/.installed
    shift
    if [ ! -e "$mark" ]; then
        mkdir -p "$cache"
        (
            flock 9
            [ ! -e "$mark" ] || exit 0
            rm -rf "$target"
            mkdir "$target"
            trap '[ -e "$mark" ] || fail "could not make $target"' EXIT
            # Not as a condition, in which a step that fails would not end the others.
            "$@" "$target" >&2
            touch "$mark"
        ) 9>"$target.lock"
    fi
    echo "$target"
}

go_minor() { go env GOVERSION 2>/dev/null | sed -n 's/^go1\.\([0-9]*\).*/\1/p'; }

go_build() {
    command -v go >/dev/null && [ "$(go_minor)" -ge "$go_min" ] ||
        fail "Go 1.$go_min or newer is missing: install it, then run this again"
    # In a module of its own: `go install PACKAGE@VERSION` also asks for the list of all versions, which a
    # proxy need not have. Without symbols the largest program is two thirds of its size.
    (
        cd "$2"
        export GOBIN=$2 GOFLAGS=""
        go mod init tools
        go get -tool "$1"
        go install -ldflags='-s -w' tool
    )
}

go_tool() {
    local package dir
    package=$(go_list | awk -v name="$1" '$1 == name { print $2 }')
    [ -n "$package" ] || fail "no Go program $1 is listed in $here/tools.sh"
    dir=$(once "$cache/go-$1-${package##*@}" go_build "$package")
    echo "$dir/$1"
}

# In a directory that has no part in the project's own build: its settings and its lock file stay out of it.
cargo_build() {
    (cd "$3" && CARGO_TARGET_DIR="$3/target" nice -n 5 cargo install --locked --quiet --root "$3" \
        --version "$2" "$1")
    rm -rf "$3/target"
}

cargo_tool() {
    local version dir
    version=$(cargo_list | awk -v name="$1" '$1 == name { print $2 }')
    [ -n "$version" ] || fail "no Rust program $1 is listed in $here/tools.sh"
    dir=$(once "$cache/cargo-$1-$version" cargo_build "$1" "$version")
    echo "$dir/bin/$1"
}

python_environment() {
    local python
    python=$("$here/aws.sh" python)
    # The real interpreter, and not the environment of another tool.
    python=$("$python" -c 'import sys; print(sys._base_executable)')
    "$python" -m venv --copies "$2"
    # What is fetched has to be what the list has sums of; none of it is built, so none of its code runs yet.
    "$2/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes \
        --only-binary :all: --requirement "$1"
}

npm_install() {
    cp "$1.json" "$2/package.json"
    cp "$1-lock.json" "$2/package-lock.json"
    # A peer that is only named, such as the library that a package is made for, is not needed here.
    npm ci --prefix "$2" --ignore-scripts --no-audit --no-fund --omit=peer
}

download() { (cd "$2" && apt-get -q -o APT::Sandbox::User= download "$1"); }

debian_unpack() {
    local dir status=0
    # Nobody else may reach the directory: whoever could would exchange the package before it is unpacked. So
    # apt fetches as the user who asks, and not as one of its own.
    dir=$(mktemp -d)
    # The lists of a new machine are empty, and those of an old one name packages that are gone.
    { download "$1" "$dir" || { "$here/install.sh" lists && download "$1" "$dir"; }; } &&
        dpkg-deb -x "$dir"/*.deb "$2" || status=$?
    rm -rf "$dir"
    return "$status"
}

sum() { cat "$@" | sha256sum | head -c 12; }

[ $# -eq 2 ] || { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0" >&2; exit 64; }
tools=$here/tools
case $1 in
go) go_tool "$2" ;;
cargo) cargo_tool "$2" ;;
python)
    dir=$(once "$cache/python-$2-$(sum "$tools/$2.txt")" python_environment "$tools/$2.txt")
    echo "$dir/bin"
    ;;
npm) once "$cache/npm-$2-$(sum "$tools/$2.json" "$tools/$2-lock.json")" npm_install "$tools/$2" ;;
debian) once "$cache/debian-$2" debian_unpack "$2" ;;
*) fail "unknown kind $1: use go, cargo, python, npm or debian" ;;
esac
