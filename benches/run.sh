#!/usr/bin/env bash
# Builds the bridge, the floors and the load for release and runs the bench; arguments go to it
# (--quick, --only intake, --check, …).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
cargo build --release --locked --bin fanbridge --example load --example floor --example bench
exec "${CARGO_TARGET_DIR:-target}/release/examples/bench" "$@"
