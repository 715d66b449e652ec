#!/usr/bin/env bash
# The units of deploy/systemd, as docs/DEPLOYING.md says to install them, in a Debian with a real systemd.
#
# FANBRIDGE names the binary; by default the debug build. Needs root.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/machine.sh"
cd "$root" || exit 1
needs systemd-analyze=systemd
needs_bridge

# systemd-analyze says what it does not like, and succeeds all the same. It wants the programs to exist.
verify_says_nothing() { # DIRECTORY OF UNITS
    local said
    mkdir -p "$scratch/verify"
    cp "$1"/* "$scratch/verify/"
    sed -i "s#/usr/local/bin/fanbridge#/bin/true#" "$scratch/verify/fanbridge.service"
    said=$(systemd-analyze verify --man=no "$scratch"/verify/fanbridge.{service,socket} 2>&1)
    echo "$said"
    [ -z "$said" ]
}
exposure_is_low() { systemd-analyze security --offline=true --threshold=12 "$1"; } # 1.2 of 10

check "systemd finds nothing to say about the units" verify_says_nothing deploy/systemd
mkdir "$scratch/misspelt"
cp deploy/systemd/* "$scratch/misspelt"
sed -i 's/ProtectHome=/ProtectHomes=/' "$scratch/misspelt/fanbridge.service"
refuses "a key that systemd does not know is found" ProtectHomes verify_says_nothing "$scratch/misspelt"
check "the sandbox leaves little exposed" exposure_is_low deploy/systemd/fanbridge.service
grep -v '^SystemCallFilter\|^Capability' deploy/systemd/fanbridge.service >"$scratch/open.service"
refuses "a unit without the filter of system calls is above the bound" "exposure level" \
    exposure_is_low "$scratch/open.service"

install_by_hand() {
    objcopy --strip-debug "$FANBRIDGE" "$machine/usr/local/bin/fanbridge"
    cp deploy/systemd/fanbridge.* "$machine/etc/systemd/system/"
    inside_sh '
        useradd --system --home-dir /var/lib/fanbridge --no-create-home --shell /usr/sbin/nologin fanbridge
        install -d -m 0755 /etc/fanbridge
        install -d -m 0700 /etc/fanbridge/credentials
        (umask 077 && head -c 32 /dev/urandom | base64 >/etc/fanbridge/credentials/github)
        systemctl daemon-reload'
    cat >"$machine/etc/fanbridge/fanbridge.yaml" <<'YAML'
http: { listen: 0.0.0.0:8080 }
admin: { listen: 127.0.0.1:9090 }
spool: { dir: /var/lib/fanbridge/spool }
sources:
  github:
    provider: github
    secrets: [file:/run/credentials/fanbridge.service/secret_github]
sinks:
  local:
    file: { dir: /var/lib/fanbridge/topics }
YAML
}
starts() {
    inside systemctl enable --quiet --now fanbridge.socket fanbridge.service && await 30 is_ready
}
takes_an_event() {
    local before
    before=$(events_in_topics 2>/dev/null)
    inside fanbridge send github push && await 10 has_more_than "${before:-0}"
}
has_more_than() { [ "$(events_in_topics)" -gt "$1" ]; }
runs_without_rights() {
    local status=$machine/root/status
    inside_sh "cd /proc/$(main_pid); cat status >/root/status; awk '\$5 == \"/\"' mountinfo >/root/root"
    grep -E '^(Uid|CapEff|CapBnd|NoNewPrivs|Seccomp):' "$status"
    cat "$machine/root/root"
    grep -q '^CapEff:[[:space:]]*0*$' "$status" && grep -q '^CapBnd:[[:space:]]*0*$' "$status" &&
        grep -q '^NoNewPrivs:[[:space:]]*1' "$status" && grep -q '^Seccomp:[[:space:]]*2' "$status" &&
        ! grep -q '^Uid:[[:space:]]*0' "$status" && grep -q ' ro,' "$machine/root/root"
}
as_nobody() { inside setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }

comes_back_after_a_kill() {
    local former
    former=$(main_pid)
    inside systemctl kill --signal=KILL fanbridge.service
    await 30 is_another_process "$former" && await 30 is_ready && takes_an_event
}
is_another_process() { local now; now=$(main_pid) && [ "$now" != 0 ] && [ "$now" != "$1" ]; }

goes_on_after_a_bad_reload() {
    echo 'nonsense: 1' >>"$machine/etc/fanbridge/fanbridge.yaml"
    inside systemctl reload fanbridge.service
    await 10 inside_sh 'journalctl -u fanbridge.service | grep -q nonsense' && is_ready
}
ends_for_a_person() {
    inside systemctl restart fanbridge.service
    await 20 inside systemctl is-failed fanbridge.service || return 1
    sleep 5
    inside systemctl show -p NRestarts -p ExecMainStatus fanbridge.service | tee "$scratch/end"
    grep -qx NRestarts=0 "$scratch/end" && grep -qx ExecMainStatus=78 "$scratch/end"
}
starts_again_once_mended() {
    sed -i '/nonsense/d' "$machine/etc/fanbridge/fanbridge.yaml"
    inside systemctl reset-failed fanbridge.socket fanbridge.service
    inside systemctl restart fanbridge.service
    await 30 is_ready && takes_an_event
}
stops_in_order() {
    inside systemctl stop fanbridge.socket fanbridge.service
    inside systemctl show -p Result -p ExecMainStatus fanbridge.service | tee "$scratch/end"
    grep -qx Result=success "$scratch/end" && grep -qx ExecMainStatus=0 "$scratch/end"
}

check "a Debian with systemd boots" machine_starts
check "the units are installed by hand" install_by_hand
check "the bridge starts in its sandbox, with a credential that systemd hands over" starts
check "an event that is signed with the credential arrives in its topic" takes_an_event
check "the process has no capability, a filter of system calls and a root that it cannot write" \
    runs_without_rights
refuses "another user cannot read the credential" "Permission denied" \
    as_nobody cat /run/credentials/fanbridge.service/secret_github
refuses "another user cannot look into the spool" "Permission denied" as_nobody ls /var/lib/fanbridge/spool
check "no connection is refused while the bridge restarts" \
    knocks_during 2 systemctl restart fanbridge.service
check "a killed bridge is started again and takes events" comes_back_after_a_kill
check "a reload of an unusable configuration changes nothing" goes_on_after_a_bad_reload
check "a start with an unusable configuration ends with 78 and is not repeated" ends_for_a_person
check "the bridge starts again once the configuration is mended" starts_again_once_mended
check "the bridge stops in order" stops_in_order
finish
