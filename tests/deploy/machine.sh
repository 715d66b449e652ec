# shellcheck shell=bash
# For the scripts of this folder, behind lib.sh: a Debian of its own, with systemd as its first process and a
# network that is a loopback device alone.
#
#   machine_starts       makes the root directory `$machine`, and boots it
#   inside COMMAND…      runs a command in it
#   inside_sh SCRIPT     runs a script in it
#
# The root directory is made once by mmdebstrap, and kept in the user's cache directory.
machine_packages=systemd,systemd-sysv,dbus,ca-certificates,libssl3,zlib1g,adduser,libstdc++6,man-db
machine_packages+=,bash-completion,curl,procps,iproute2
machine_cache=${XDG_CACHE_HOME:-${HOME:?}/.cache}/fanbridge-tests
machine=$scratch/machine

# The keys of Debian are not there on a machine that is an Ubuntu.
needs systemd-nspawn=systemd-container mmdebstrap pgrep=procps nsenter=util-linux objcopy=binutils \
    /usr/share/keyrings/debian-archive-keyring.gpg=debian-archive-keyring

# Prints the archive of the root directory; its name changes with the list of packages.
machine_archive() {
    local archive
    archive=$machine_cache/machine-$(echo "$machine_packages" | sha256sum | head -c 12).tar
    mkdir -p "$machine_cache"
    (
        flock 9
        [ -e "$archive" ] || {
            mmdebstrap --quiet --variant=minbase --include="$machine_packages" bookworm \
                "$archive.new.tar" >&2 &&
                mv "$archive.new.tar" "$archive"
        }
    ) 9>"$archive.lock" || return 1
    echo "$archive"
}

machine_starts() {
    local archive nspawn
    archive=$(machine_archive) || { echo "mmdebstrap could not make a Debian" >&2; return 1; }
    mkdir -p "$machine"
    tar -C "$machine" -xf "$archive"
    systemd-nspawn --boot --directory="$machine" --register=no --keep-unit --machine="fanbridge-$$" --quiet \
        --private-network --console=pipe >"$scratch/console" 2>&1 </dev/null &
    nspawn=$!
    ends_with_us "$nspawn"
    await 60 machine_leader "$nspawn" || { cat "$scratch/console" >&2; return 1; }
    await 60 inside systemctl is-system-running --quiet ||
        { inside systemctl --failed --no-pager >&2; return 1; }
}

machine_leader() { leader=$(pgrep -P "$1" | head -1) && [ -n "$leader" ]; }

# As nobody who is logged in: without this machine's environment.
inside() {
    nsenter --target "$leader" --all --root --wd \
        env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin HOME=/root \
        FANBRIDGE_CONFIG=/etc/fanbridge/fanbridge.yaml DEBIAN_FRONTEND=noninteractive "$@"
}

inside_sh() { inside bash -euo pipefail -c "$1"; }

is_ready() { [ "$(inside curl -s --max-time 2 http://127.0.0.1:9090/readyz)" = ok ]; }
main_pid() { inside systemctl show -p MainPID --value fanbridge.service; }
events_in_topics() { cat "$machine"/var/lib/fanbridge/topics/*/*.jsonl | wc -l; }

# Knocks while a command of the machine runs, and until SECONDS later: none of the connections may be refused
# or broken (000). Any answer is good, also the 401 of a delivery without a signature.
knocks_during() { # SECONDS COMMAND…
    local later=$1 knocker status=0
    shift
    inside rm -f /root/enough
    # shellcheck disable=SC2016 # the machine's shell expands it
    inside_sh 'while [ ! -e /root/enough ]; do
            curl -s -o /dev/null --max-time 30 -w "%{http_code}\n" -d {} localhost:8080/in/github || true
        done >/root/knocks' &
    knocker=$!
    sleep 1
    inside "$@" || status=$?
    sleep "$later"
    inside touch /root/enough
    wait "$knocker"
    sort "$machine/root/knocks" | uniq -c
    [ "$status" -eq 0 ] && [ -s "$machine/root/knocks" ] && ! grep -q '^000' "$machine/root/knocks"
}
