#!/usr/bin/env bash
# What deploy/release/build.sh makes: archive, Debian package and list of parts; the package is installed,
# upgraded and removed in a Debian with a real systemd.
#
# FANBRIDGE names the binary; by default the debug build. Needs root.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/machine.sh"
cd "$root" || exit 1
needs lintian
needs_bridge
out=$scratch/out

# Quicker than a release, which packs as tightly as it can.
packs() {
    MAINTAINER="Tests of fanbridge <tests@fanbridge.example>" LEVEL=1 SOURCE_DATE_EPOCH=1790000000 \
        FANBRIDGE_BINARY=$FANBRIDGE deploy/release/build.sh "$1"
}
packs_for_nobody() { MAINTAINER=nobody FANBRIDGE_BINARY=$FANBRIDGE deploy/release/build.sh "$1"; }
packs_the_same_again() {
    packs "$scratch/again" && (cd "$scratch/again" && sha256sum -- *.deb *.tar.gz) >"$scratch/sums" &&
        (cd "$out" && sha256sum --check "$scratch/sums")
}
# Root is not what lintian wants to be; it is all that there is on a build machine in a container.
lintian_is_content() { lintian --allow-root --fail-on error,warning "$out"/*.deb; }

archive_runs() {
    mkdir "$scratch/unpacked"
    tar -C "$scratch/unpacked" --strip-components=1 -xzf "$out"/*.tar.gz
    (cd "$scratch/unpacked" && ls && ./fanbridge --version && ls man/fanbridge.1.gz completions/_fanbridge \
        deploy/systemd/fanbridge.service LICENSE SECURITY.md docs/DEPLOYING.md)
}
symbols_belong_to_the_binary() {
    local want
    want=$(readelf -n "$scratch/unpacked/fanbridge" | sed -n 's/.*Build ID: //p')
    gzip -dc "$out"/*.debug.gz >"$scratch/symbols"
    readelf -n "$scratch/symbols" | grep "Build ID: $want" && [ -n "$want" ]
}
starts_with_an_old_c_library() {
    local newest
    newest=$(objdump -T "$scratch/unpacked/fanbridge" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -1)
    newest=${newest#GLIBC_}
    echo "needs glibc $newest"
    [ "$(printf '%s\n' "$newest" 2.35 | sort -V | tail -1)" = 2.35 ]
}
parts() { jq -r '.components[].name' "$out"/*.cdx.json; }
parts_are_listed() {
    jq -e '.bomFormat == "CycloneDX" and .specVersion == "1.5" and .metadata.component.name == "fanbridge"
        and ([.components[] | select(.licenses == null)] | length == 0)
        and (.components | length > 200)' "$out"/*.cdx.json &&
        parts | grep -qx rdkafka-sys && parts | grep -qx openssl-src && parts | grep -qx tokio
}
nothing_of_this_machine_is_listed() { ! grep -F -e "$root" -e "$HOME/" "$out"/*.cdx.json; }
no_tool_of_tests_is_listed() { ! parts | grep -x -e proptest -e rcgen -e hdrhistogram; }

deb() { echo "$out"/fanbridge_*.deb; }
installs() {
    cp "$(deb)" "$machine/root/fanbridge.deb"
    inside apt-get install --quiet --yes /root/fanbridge.deb
    inside fanbridge --version
    inside_sh 'getent passwd fanbridge; test "$(stat -c %a:%U /etc/fanbridge/credentials)" = 700:root'
}
waits_for_its_configuration() {
    ! inside systemctl is-active fanbridge.service && ! inside systemctl is-enabled fanbridge.service &&
        ! inside systemctl is-active fanbridge.socket
}
# shellcheck disable=SC2016 # the machine's shell expands it
help_is_there() {
    inside_sh 'man -w fanbridge fanbridge-run
        . /usr/share/bash-completion/bash_completion
        _completion_loader fanbridge || true
        complete -p fanbridge'
}
starts_as_shipped() {
    inside_sh '(umask 077 && head -c 32 /dev/urandom | base64 >/etc/fanbridge/credentials/stream)
        systemctl enable --quiet --now fanbridge.socket fanbridge.service'
    await 30 is_ready && inside fanbridge check && inside fanbridge send stream call.created &&
        await 10 has_an_event
}
has_an_event() { [ "$(events_in_topics)" -ge 1 ]; }

is_another_process() { [ "$(main_pid)" != "$1" ] && is_ready; }
# As if the release before had another unit: that of the new one has to count.
upgrades_without_a_refusal() {
    local former
    former=$(main_pid)
    inside_sh 'unit=/usr/lib/systemd/system/fanbridge.service
        sed -i "s/^Description=.*/Description=of the release before/" $unit
        systemctl daemon-reload'
    knocks_during 2 dpkg -i /root/fanbridge.deb && await 20 is_another_process "$former" &&
        ! inside systemctl show -p Description fanbridge.service | grep 'of the release before'
}
keeps_the_former_process() {
    local former
    former=$(main_pid)
    echo 'nonsense: 1' >>"$machine/etc/fanbridge/fanbridge.yaml"
    inside dpkg -i /root/fanbridge.deb >"$scratch/upgrade" 2>&1 || return 1
    cat "$scratch/upgrade"
    sed -i /nonsense/d "$machine/etc/fanbridge/fanbridge.yaml"
    grep -q 'the former one is still running' "$scratch/upgrade" && [ "$(main_pid)" = "$former" ] && is_ready
}
# The function of docs/DEPLOYING.md that gives a verb what the service has.
as_the_service() {
    local function
    function=$(sed -n '/^bridge() {$/,/^}$/p' docs/DEPLOYING.md)
    [ -n "$function" ] && inside_sh "$function
        bridge $*"
}
takes_a_secret_as_a_variable() {
    local secret
    secret=$(head -c 24 /dev/urandom | base64)
    (umask 077 && echo "GITHUB_SECRET=$secret" >"$machine/etc/fanbridge/secrets.env")
    sed -i 's/^sources:$/&\n  github: { provider: github, secrets: [env:GITHUB_SECRET] }/' \
        "$machine/etc/fanbridge/fanbridge.yaml"
    inside systemctl restart fanbridge.service && await 30 is_ready
}
# The same files under an older number.
goes_back() {
    dpkg-deb -R "$(deb)" "$scratch/former"
    sed -i 's/^Version: .*/Version: 0.0.9-1/' "$scratch/former/DEBIAN/control"
    dpkg-deb -Zgzip -z1 -b "$scratch/former" "$machine/root/former.deb"
    local before
    before=$(main_pid)
    inside apt-get install --quiet --yes --allow-downgrades /root/former.deb &&
        await 20 is_another_process "$before" && inside dpkg -s fanbridge | grep 'Version: 0.0.9-1' &&
        inside apt-get install --quiet --yes /root/fanbridge.deb && await 20 is_ready
}
stays_down() {
    inside systemctl stop fanbridge.socket fanbridge.service
    inside dpkg -i /root/fanbridge.deb 2>&1 | tee "$scratch/upgrade"
    ! inside systemctl is-active fanbridge.service &&
        grep -q 'is enabled and does not run' "$scratch/upgrade" || return 1
    # The commands that it prints.
    inside_sh "$(sed -n 's/^fanbridge: \(systemctl .*\)/\1/p' "$scratch/upgrade")" && await 30 is_ready
}
removal_stops_it() {
    inside dpkg -r fanbridge && ! inside systemctl is-active fanbridge.service fanbridge.socket &&
        [ -e "$machine/etc/fanbridge/fanbridge.yaml" ] && has_an_event
}
purge_keeps_events() {
    inside dpkg -P fanbridge && [ ! -e "$machine/etc/fanbridge/fanbridge.yaml" ] && has_an_event &&
        inside test ! -e /etc/systemd/system/multi-user.target.wants/fanbridge.service
}

check "archive, package, symbols and list of parts are made of a binary" packs "$out"
refuses "a package without somebody who answers for it is not made" "expected who publishes" \
    packs_for_nobody "$out"
check "the same binary gives the same archive and package again" packs_the_same_again
check "lintian is content with the package" lintian_is_content
check "the archive runs where it is unpacked, and has manual pages, completions and units" archive_runs
check "the symbols are those of the binary" symbols_belong_to_the_binary
check "the binary starts with a C library of 2022" starts_with_an_old_c_library
check "every part of the binary is listed with its licence" parts_are_listed
check "no tool of the tests is listed" no_tool_of_tests_is_listed
check "no path of the building machine is listed" nothing_of_this_machine_is_listed
check "a Debian with systemd boots" machine_starts
check "the package installs, with a user and a directory of secrets for root only" installs
check "nothing listens before somebody has written a configuration" waits_for_its_configuration
check "manual pages and completions are found" help_is_there
check "the shipped configuration needs one secret to take an event in" starts_as_shipped
check "an upgrade restarts the bridge and refuses no connection" upgrades_without_a_refusal
check "an upgrade that does not take the configuration leaves the running bridge alone and says so" \
    keeps_the_former_process
check "a secret may be a variable of the service" takes_a_secret_as_a_variable
refuses "which a verb in a shell does not have" "GITHUB_SECRET\` is not set" inside fanbridge check
check "a verb that is run as the document says has it, and the credentials" as_the_service check
check "and finds the running bridge" as_the_service send github push
check "the former package can be installed again, and the newer one after it" goes_back
check "an upgrade of a bridge that is stopped says how to start it" stays_down
check "a removal stops the bridge and keeps its configuration and events" removal_stops_it
check "a purge takes the configuration and keeps the events" purge_keeps_events
finish
