#!/bin/sh
# Installs what building and testing need beyond Rust and Go, or says the command that would. With the argument `demo` only
# what the demo needs, with `lab` also what the lab's machines need, with `dist` and `old-host` what these need.
set -eu

fail() { echo "setup: $*" >&2; exit 1; }

command -v cargo >/dev/null || fail "no cargo: install Rust 1.95 or newer with rustup"
[ "${1:-}" = dist ] || command -v go >/dev/null || fail "no go: install Go 1.26 or newer; real etcd members are built with it"

missing=""
command -v cc >/dev/null || missing="$missing gcc libc6-dev"
command -v bash >/dev/null || missing="$missing bash"
if [ "${1:-}" != demo ] && [ "${1:-}" != dist ]; then
    command -v ssh >/dev/null || missing="$missing openssh-client"
    command -v shellcheck >/dev/null || missing="$missing shellcheck"
    command -v strace >/dev/null || missing="$missing strace"
    command -v busybox >/dev/null || missing="$missing busybox-static"
    [ -x /usr/sbin/sshd ] || missing="$missing openssh-server"
fi

case "${1:-}" in dist | old-host)
    command -v readelf >/dev/null || missing="$missing binutils"
    command -v xz >/dev/null || missing="$missing xz-utils"
    python3 -c "import ensurepip, venv" 2>/dev/null || missing="$missing python3-venv"
    ;;
esac
if [ "${1:-}" = old-host ]; then
    command -v debootstrap >/dev/null || missing="$missing debootstrap"
fi

if [ "${1:-}" = lab ]; then
    [ "$(uname)" = Linux ] || fail "the lab's machines need Linux"
    [ "$(id -u)" = 0 ] || fail "the lab's machines need root: run it with sudo"
    # Program and package of each; the same list is in crates/lab/src/machines/requirements.rs.
    for need in systemd-nspawn:systemd-container debootstrap:debootstrap ip:iproute2 nsenter:util-linux \
        setsid:util-linux unshare:util-linux mount:mount mkfs.ext4:e2fsprogs ssh:openssh-client tar:tar find:findutils; do
        command -v "${need%%:*}" >/dev/null || missing="$missing ${need#*:}"
    done
fi

# Installs packages as root; says the command to anybody else.
apt_get() {
    command -v apt-get >/dev/null || fail "install with your package manager:$missing"
    if [ "$(id -u)" = 0 ]; then
        DEBIAN_FRONTEND=noninteractive apt-get "$@" >&2
    else
        fail "run: sudo apt-get $*"
    fi
}

# etcd 3.4 comes from Debian's own package, which is unpacked into the cache, not installed.
if command -v apt-cache >/dev/null && ! apt-cache show etcd-server >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ]; then
        apt-get update -qq >&2 || echo "setup: apt-get update failed; tests with etcd 3.4 are skipped" >&2
    else
        echo "setup: tests with etcd 3.4 are skipped until you run: sudo apt-get update" >&2
    fi
fi

# shellcheck disable=SC2086 # a list of packages
[ -z "$missing" ] || apt_get install -y -qq $missing
