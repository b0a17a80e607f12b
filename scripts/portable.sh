#!/bin/sh
# Builds the program that is published and sent to machines: x86-64 Linux with glibc 2.17 or newer, whatever the building
# machine has. Zig brings the old glibc's symbols. Prints the program's path on stdout.
#
# usage: portable.sh [PROFILE]
set -eu
cd "$(dirname "$0")/.."

profile="${1:-dist}"
glibc=2.17
target=x86_64-unknown-linux-gnu
tools="$PWD/target/tools/zig"

fail() { echo "portable: $*" >&2; exit 1; }

[ "$(uname -sm)" = "Linux x86_64" ] || fail "builds on x86-64 Linux only"
if ! "$tools/bin/cargo-zigbuild" --version >/dev/null 2>&1; then
    python3 -m venv --clear "$tools" || fail "no Python with venv: install python3-venv"
    # Pinned by version and digest.
    "$tools/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r scripts/portable-requirements.txt >&2
fi
PATH="$tools/bin:$PATH" cargo zigbuild --locked --profile "$profile" --target "$target.$glibc" -p lifeboat >&2

directory="$profile"
[ "$profile" != dev ] || directory=debug
program="target/$target/$directory/lifeboat"

# The newest symbol that the program asks of the C library decides where it can run.
needed=$(LC_ALL=C readelf --wide --version-info "$program" | grep -o 'GLIBC_[0-9][0-9.]*' | sort -uV | tail -n 1)
[ -n "$needed" ] || fail "$program names no version of glibc: is it static?"
newest=$(printf '%s\n' "$needed" "GLIBC_$glibc" | sort -V | tail -n 1)
[ "$newest" = "GLIBC_$glibc" ] || fail "$program needs $needed; at most GLIBC_$glibc is allowed"
echo "portable: $program needs $needed" >&2
echo "$program"
