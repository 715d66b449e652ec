#!/usr/bin/env bash
# Feeds each fuzz target with whatever the fuzzer thinks of, and ends with an error if one of them panics.
#
#   tests/fuzz/run.sh [SECONDS]    SECONDS for each target; by default 60
#
# Needs a nightly tool chain of Rust; FUZZ_TOOLCHAIN names another one than `nightly`. cargo-fuzz comes by
# tests/servers/tools.sh. What it found is in tests/fuzz/artifacts, and what it learnt in tests/fuzz/corpus.
set -euo pipefail
cd "$(dirname "$0")/../.."

seconds=${1:-60}
toolchain=${FUZZ_TOOLCHAIN:-nightly}
fuzz=$(tests/servers/tools.sh cargo cargo-fuzz)
# A subcommand is found through PATH.
PATH=$(dirname "$fuzz"):$PATH
for target in tests/fuzz/fuzz_targets/*.rs; do
    cargo "+$toolchain" fuzz run --fuzz-dir tests/fuzz -s none "$(basename "$target" .rs)" -- \
        -max_total_time="$seconds" -print_final_stats=1
done
