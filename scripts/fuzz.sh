#!/bin/sh
# Lets libFuzzer look for bytes that a target of fuzz/ fails on, for so many minutes each. Without a sanitizer stable
# Rust will do: the crates under test have no unsafe code.
#
#   scripts/fuzz.sh MINUTES [TARGET...]
set -eu
cd "$(dirname "$0")/.."

minutes=$1
shift
[ $# -gt 0 ] || set -- bbolt wal raft_snapshot key_value requests restore salvage

if ! command -v cargo-fuzz >/dev/null; then
    cargo install --quiet --locked cargo-fuzz@0.13.2
fi
for target in "$@"; do
    # What is found on the way is kept there, for the next run; what fails, beside it.
    found=target/fuzz/$target
    mkdir -p "$found/corpus"
    cargo fuzz run --sanitizer=none --features libfuzzer "$target" "$found/corpus" "fuzz/seeds/$target" -- \
        -max_total_time=$((minutes * 60)) -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$found/"
done
