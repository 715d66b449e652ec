#!/bin/sh
# Makes the secrets of the laptop's picture in a directory, each of 24 random bytes, unless they are there.
#
#   make-secrets.sh DIRECTORY
#
# Each container reads them as a user of its own, so everybody who reaches the volume may read them.
set -eu

cd "$1"
umask 022
for name in admin-token signing-secret grafana-password; do
    if [ ! -s "$name" ]; then
        head -c 24 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >"$name.new"
        mv "$name.new" "$name"
    fi
done
