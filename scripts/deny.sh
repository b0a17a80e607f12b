#!/bin/sh
# Licences, sources and duplicate versions of dependencies. Advisories need a database from the network:
# run `cargo deny check advisories` where there is one.
set -eu

if ! command -v cargo-deny >/dev/null; then
    cargo install --quiet --locked cargo-deny@0.20.2 || {
        echo "deny: cargo-deny cannot be installed here; not checked" >&2
        exit 0
    }
fi
cargo deny check bans licenses sources
