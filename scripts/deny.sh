#!/bin/sh
# Licences, sources, duplicate versions and known vulnerabilities of dependencies.
#
# The database of vulnerabilities is a git repository and comes from no package registry. ADVISORY_DB names a clone of it;
# without, it is fetched; where that cannot be done, this says so, and vulnerabilities are not checked.
set -eu

database=https://github.com/rustsec/advisory-db

# In CI, a check that cannot be made fails: its warning would be overlooked.
need() {
    command -v "$1" >/dev/null && return
    cargo install --quiet --locked --debug "$1@$2" && return
    echo "deny: $1 cannot be installed here: $3 not checked" >&2
    if [ -n "${CI:-}" ]; then exit 1; fi
    exit 0
}

need cargo-deny 0.20.2 "dependencies are"
cargo deny check bans licenses sources

if [ -n "${ADVISORY_DB:-}" ]; then
    need cargo-audit 0.22.2 "vulnerabilities are"
    cargo audit --db "$ADVISORY_DB" --no-fetch --stale --deny warnings
elif timeout 20 git ls-remote --quiet "$database" HEAD >/dev/null 2>&1; then
    cargo deny check advisories
else
    echo "deny: vulnerabilities are not checked: $database cannot be reached; name a clone of it with ADVISORY_DB=DIR" >&2
fi
