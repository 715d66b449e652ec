#!/bin/sh
# Makes the root of the image in /out/root: the binary of /out/fanbridge, the libraries that it is linked
# with and the trusted authorities, out of Debian's packages. It has no shell and no package manager, but
# names its packages where scanners look for them (/var/lib/dpkg/status.d). /out/data has what goes to
# /var/lib beside it, and belongs to the bridge.
#
#   root.sh ARCHITECTURE
set -eu

case $1 in
amd64) loader=lib64/ld-linux-x86-64.so.2 ;;
arm64) loader=lib/ld-linux-aarch64.so.1 ;;
*) echo "root.sh: no root for $1: expected amd64 or arm64" >&2; exit 64 ;;
esac
root=/out/root
packages=$(mktemp -d)
mkdir -p "$root/etc/fanbridge" "$root/etc/ssl/certs" "$root/tmp" "$root/usr/bin" \
    "$root/usr/share/doc/fanbridge" "$root/var/lib/dpkg/status.d" /out/data/fanbridge
chmod 1777 "$root/tmp"
chmod 700 /out/data/fanbridge

cd "$packages"
# The lists of a layer that was built long ago name packages that were replaced since.
apt-get -q update
apt-get -q -o APT::Sandbox::User=root download "libc6:$1" "libgcc-s1:$1" ca-certificates
for package in *.deb; do
    name=${package%%_*}
    dpkg-deb -x "$package" "$name"
    dpkg-deb -f "$package" >"$root/var/lib/dpkg/status.d/$name"
    mkdir -p "$root/usr/share/doc/$name"
done
for name in libc6 ca-certificates; do
    cp "$name/usr/share/doc/$name/copyright" "$root/usr/share/doc/$name/"
done
# The package of the compiler's library has a link to the one of the compiler.
cp /usr/share/doc/gcc-12-base/copyright "$root/usr/share/doc/libgcc-s1/"
# As update-ca-certificates does it.
cat ca-certificates/usr/share/ca-certificates/mozilla/*.crt >"$root/etc/ssl/certs/ca-certificates.crt"

# What the binary is linked with, and what the C library loads by itself to look up names and to end a thread.
linked=$(readelf -d /out/fanbridge | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
for library in $linked libresolv.so.2 libgcc_s.so.1; do
    found=$(find libc6 libgcc-s1 -name "$library" -type f | head -n 1)
    if [ -z "$found" ]; then
        echo "root.sh: the binary is linked with $library: expected none but those of libc6 and libgcc-s1" >&2
        exit 1
    fi
    mkdir -p "$root/$(dirname "${found#*/}")"
    cp "$found" "$root/${found#*/}"
done
mkdir -p "$root/$(dirname "$loader")"
cp "$(find libc6 -name "${loader##*/}" -type f | head -n 1)" "$root/$loader"

echo 'root:x:0:0:root:/:/usr/sbin/nologin
fanbridge:x:10001:10001:fanbridge:/var/lib/fanbridge:/usr/sbin/nologin' >"$root/etc/passwd"
echo 'root:x:0:
fanbridge:x:10001:' >"$root/etc/group"
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
install -m 755 /out/fanbridge "$root/usr/bin/fanbridge"
install -m 644 /build/LICENSE "$root/usr/share/doc/fanbridge/copyright"
rm -rf "$packages"
