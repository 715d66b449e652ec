#!/bin/sh
# Makes the secrets of the laptop's picture, each of 24 random bytes, unless they are there. DIRECTORY has a
# directory, perhaps a volume, for each who reads them: bridge, prometheus and grafana.
#
#   make-secrets.sh DIRECTORY
#
# Each container reads them as a user of its own, so everybody who reaches the volume may read them.
set -eu

cd "$1"
umask 022
for name in bridge/admin-token bridge/metrics-token bridge/signing-secret grafana/grafana-password; do
    if [ ! -s "$name" ]; then
        head -c 24 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >"$name.new"
        mv "$name.new" "$name"
    fi
done
# Prometheus shows it to the bridge, and has no other: not the admin token, which it may have had before.
cp bridge/metrics-token prometheus/metrics-token
rm -f prometheus/admin-token
