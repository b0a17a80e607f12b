#!/bin/sh
# Runs a program that scripts/portable.sh built in a root of its own with an old C library (Debian 11's glibc 2.31), and nothing
# of this machine's. Needs root.
#
# usage: old-host.sh PROGRAM
set -eu
cd "$(dirname "$0")/.."

program="$1"
release=bullseye
root="${LIFEBOAT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lifeboat}/old-host-$release"

[ "$(id -u)" = 0 ] || { echo "old-host: needs root, for chroot" >&2; exit 1; }
mkdir -p "${root%/*}"
if [ ! -e "$root/lib/x86_64-linux-gnu/libc.so.6" ]; then
    rm -rf "$root.new"
    # The first half is enough: packages are unpacked, nothing of them runs.
    debootstrap --foreign --variant=minbase "$release" "$root.new" >&2
    mv "$root.new" "$root"
fi

work=$(mktemp -d "$root/tmp/lifeboat-XXXXXX")
trap 'rm -rf "$work"' EXIT
cp "$program" "$work/lifeboat"
xz -dc fixtures/kubernetes-1.34-etcd-3.6.db.xz >"$work/backup.db"
inside="/tmp/${work##*/}"
old() { chroot "$root" "$inside/lifeboat" "$@"; }
old --version
old check "$inside/backup.db"
old restore "$inside/backup.db" --data-dir "$inside/m1" --name m1 --initial-cluster m1=https://10.0.0.1:2380 \
    --initial-cluster-token old-host --quiet
old inspect "$inside/m1" --quiet
