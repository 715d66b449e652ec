#!/usr/bin/env bash
# Runs the bridge as its container in a pod does, without a container: a root file system that holds nothing
# but /usr/bin/fanbridge and its libraries and is read-only, the user 10001, and a network of its own.
#
#   pod.sh MOUNTS ARGUMENTS…    MOUNTS is a file; each line: DIRECTORY MOUNT-PATH ro|rw
#
# FANBRIDGE names the binary. NETWORK_OF, if it is set, is a process whose network is shared, and NAMES are
# the host names that stand for its loopback address. The process that is started becomes the bridge, so a
# signal to it reaches the bridge.
set -euo pipefail

if [ "${1:-}" != inside ]; then
    self=$(readlink -f "$0")
    if [ -n "${NETWORK_OF:-}" ]; then
        exec nsenter --target "$NETWORK_OF" --net unshare --mount "$self" inside "$@"
    fi
    exec unshare --mount --net "$self" inside "$@"
fi

mounts=$2
shift 2
ip link set lo up
new=$(mktemp -d)
mount -t tmpfs -o mode=755 none "$new"
mkdir -p "$new/usr/bin" "$new/usr/lib" "$new/etc/ssl" "$new/dev" "$new/proc"
for link in /lib /lib64; do
    if [ -L "$link" ]; then
        cp -P "$link" "$new$link"
    elif [ -d "$link" ]; then
        mkdir "$new$link"
        mount --rbind "$link" "$new$link"
    fi
done
touch "$new/usr/bin/fanbridge"
mount --bind "$FANBRIDGE" "$new/usr/bin/fanbridge"
mount --rbind /usr/lib "$new/usr/lib"
[ ! -d /usr/lib64 ] || { mkdir -p "$new/usr/lib64" && mount --rbind /usr/lib64 "$new/usr/lib64"; }
mount --rbind /etc/ssl "$new/etc/ssl"
mount --rbind /dev "$new/dev"
mount --bind /proc "$new/proc"
cp /etc/ld.so.cache "$new/etc/"
echo "fanbridge:x:10001:10001::/nonexistent:/none" >"$new/etc/passwd"
echo "127.0.0.1 localhost ${NAMES:-}" >"$new/etc/hosts"
while read -r directory path mode; do
    mkdir -p "$new$path"
    mount --bind "$directory" "$new$path"
    [ "$mode" = rw ] || mount -o remount,bind,ro "$new$path"
done <"$mounts"
mount -o remount,ro "$new"
# A process that changes its user and then its program keeps its number.
exec chroot --userspec=10001:10001 --groups=10001 "$new" /usr/bin/fanbridge "$@"
