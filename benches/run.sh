#!/usr/bin/env bash
# Runs the bench, which builds the bridge, the floors and the load as they are handed out; arguments go
# to it (--quick, --only intake, --check, …).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec cargo bench --locked --profile dist --bench bench -- "$@"
