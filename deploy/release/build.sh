#!/usr/bin/env bash
# Makes what a release hands out for this machine's architecture, below the directory OUT:
#
#   fanbridge-VERSION-TARGET.tar.gz    binary, manual pages, completions, units, documents
#   fanbridge_VERSION-1_ARCH.deb       the same as a Debian package
#   fanbridge-VERSION-TARGET.debug.gz  debug symbols of the binary
#   fanbridge-VERSION-TARGET.cdx.json  the parts of the binary, as CycloneDX
#
#   build.sh OUT                          builds the binary with the profile `dist` and the feature `static`
#   FANBRIDGE_BINARY=PATH build.sh OUT    packs this binary instead
#   LEVEL=1 …                             packs quickly, for tests
#
# MAINTAINER, as `NAME <ADDRESS>`, is who publishes the Debian package and answers for it.
#
# What the build needs is installed, if it is missing. Tools come by tests/servers/tools.sh, in pinned
# versions. Equal binaries give equal archives: their times are that of the commit, or SOURCE_DATE_EPOCH.
set -euo pipefail
# A build that fails in a substitution ends the script, too.
shopt -s inherit_errexit

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
[ $# -eq 1 ] || { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0" >&2; exit 64; }
mkdir -p "$1"
out=$(cd "$1" && pwd)
stage=$root/target/package
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
version=$(sed -n '/^\[package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
target=$(rustc -vV | sed -n 's/^host: //p')
name=fanbridge-$version-$target
level=${LEVEL:-9}
glibc_max=2.35
[[ ${MAINTAINER:-} == *" <"*@*">" ]] || {
    echo "build.sh: MAINTAINER is '${MAINTAINER:-}':" \
        "expected who publishes the package, as 'NAME <ADDRESS>'" >&2
    exit 64
}

"$root/tests/servers/install.sh" build >&2
"$root/tests/servers/install.sh" needs jq objcopy=binutils >&2

tool() { "$root/tests/servers/tools.sh" cargo "$1"; }

# A subcommand is found through PATH.
cargo_with() { # TOOL ARGUMENTS…
    local dir
    dir=$(dirname "$(tool "$1")")
    PATH=$dir:$PATH cargo "${@:2}"
}

# Paths of the building machine stay out of the binary, apart from those where OpenSSL would look for its
# modules: it is built to load none.
build_binary() {
    local home=${CARGO_HOME:-$HOME/.cargo} dir=${CARGO_TARGET_DIR:-$root/target}
    local rust="--remap-path-prefix=$root=/fanbridge --remap-path-prefix=$home=/cargo"
    local c="-ffile-prefix-map=$root=/fanbridge -ffile-prefix-map=$home=/cargo"
    RUSTFLAGS="${RUSTFLAGS:-} $rust" CFLAGS="${CFLAGS:-} $c" CXXFLAGS="${CXXFLAGS:-} $c" \
        cargo_with cargo-auditable auditable build --locked --profile dist --features static \
        --bin fanbridge >&2
    echo "$dir/dist/fanbridge"
}

# The oldest C library that the binary can be started with, such as 2.34.
glibc_of() { objdump -T "$1" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -1 | sed 's/GLIBC_//'; }

# What docs/RELEASING.md promises: the C library, in a version that is not too new, and nothing else.
runs_anywhere() { # BINARY
    local foreign newest
    foreign=$(objdump -p "$1" |
        awk '$1 == "NEEDED" && $2 !~ /^(libc|libm|libgcc_s|ld-linux-.*)\.so/ { print $2 }')
    [ -z "$foreign" ] || {
        echo "build.sh: the binary needs ${foreign//$'\n'/, }, expected the C library alone" >&2
        exit 1
    }
    newest=$(printf '%s\n' "$(glibc_of "$1")" "$glibc_max" | sort -V | tail -1)
    [ "$newest" = "$glibc_max" ] || {
        echo "build.sh: the binary needs glibc $newest, expected $glibc_max: build it on an older system" >&2
        exit 1
    }
}

lay_out_binary() { # BINARY
    objcopy --only-keep-debug "$1" "$stage/fanbridge.debug"
    objcopy --strip-unneeded "$1" "$stage/fanbridge"
    (cd "$stage" && objcopy --add-gnu-debuglink=fanbridge.debug fanbridge)
    chmod 755 "$stage/fanbridge"
    gzip -"$level" -n <"$stage/fanbridge.debug" >"$out/$name.debug.gz"
}

lay_out_texts() {
    mkdir -p "$stage/man" "$stage/completions" "$stage/systemd"
    "$stage/fanbridge" man "$stage/man" >&2
    gzip -9n "$stage"/man/*.1
    "$stage/fanbridge" completions bash >"$stage/completions/fanbridge.bash"
    "$stage/fanbridge" completions zsh >"$stage/completions/_fanbridge"
    "$stage/fanbridge" completions fish >"$stage/completions/fanbridge.fish"
    sed 's#/usr/local/bin/#/usr/bin/#' deploy/systemd/fanbridge.service >"$stage/systemd/fanbridge.service"
    # Its comment is for whoever copies the file.
    sed '/^#.*cp deploy/,/^#.*enable/d' deploy/systemd/fanbridge.socket >"$stage/systemd/fanbridge.socket"
    gzip -9n <CHANGELOG.md >"$stage/changelog.gz"
    cat >"$stage/changelog.Debian" <<LOG
fanbridge ($version-1) unstable; urgency=medium

  * Release $version: /usr/share/doc/fanbridge/changelog.gz says what changed.

 -- $MAINTAINER  $(date -u -R -d "@$SOURCE_DATE_EPOCH")
LOG
}

# What Cargo.lock names for this target, with what builds it. The tool also lists optional parts that are not
# switched on: so it is held against Cargo's own tree. It writes one file for each member of the workspace.
make_sbom() {
    cargo_with cargo-cyclonedx cyclonedx --format json --spec-version 1.5 --target "$target" \
        --features static --override-filename sbom.cdx --quiet >&2
    rm tests/fuzz/sbom.cdx.json
    cargo tree --locked --features static --target "$target" --edges normal,build --prefix none \
        --format '{p}' | awk '{ print $1 "@" substr($2, 2) }' | sort -u >"$stage/parts"
    jq --rawfile parts "$stage/parts" --arg root "path+file://$root" '
        ($parts | split("\n")) as $parts
        | .components |= map(select("\(.name)@\(.version)" as $part | any($parts[]; . == $part)))
        | ([.components[]."bom-ref"] + [.metadata.component."bom-ref"]) as $refs
        | .dependencies |= map(select(.ref as $ref | any($refs[]; . == $ref))
            | if .dependsOn then .dependsOn |= map(select(. as $ref | any($refs[]; . == $ref))) else . end)
        | walk(if type == "string" and startswith("\($root)#")
            then "path+file:///fanbridge" + ltrimstr($root) else . end)
    ' sbom.cdx.json >"$stage/sbom.cdx.json"
    rm sbom.cdx.json
    cp "$stage/sbom.cdx.json" "$out/$name.cdx.json"
}

make_tarball() {
    local dir=$stage/tar/$name
    mkdir -p "$dir/deploy"
    cp -r "$stage/fanbridge" "$stage/man" "$stage/completions" "$dir"
    cp -r LICENSE README.md CHANGELOG.md SECURITY.md docs "$dir"
    cp -r deploy/systemd deploy/grafana deploy/prometheus "$dir/deploy"
    cp deploy/fanbridge.example.yaml deploy/fanbridge.schema.json "$dir/deploy"
    tar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --mode='u+w,go-w,a+rX' \
        -C "$stage/tar" -cf - "$name" | gzip -"$level" -n >"$out/$name.tar.gz"
}

make_deb() {
    local quick=()
    [ "$level" -gt 1 ] || quick=(--fast)
    CARGO_TARGET_DIR=$root/target cargo_with cargo-deb deb --quiet --no-build --no-strip --no-dbgsym \
        "${quick[@]}" --maintainer "$MAINTAINER" --output "$out/" >&2
}

binary=${FANBRIDGE_BINARY:-}
if [ -z "$binary" ]; then
    binary=$(build_binary)
    runs_anywhere "$binary"
fi
rm -rf "$stage"
mkdir -p "$stage"
lay_out_binary "$binary"
lay_out_texts
make_sbom
make_tarball
make_deb
rm -rf "$stage"
echo "$name: needs glibc $(glibc_of "$binary"); in $out:"
ls -s --block-size=KiB "$out"
