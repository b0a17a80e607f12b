#!/bin/sh
# Checks every shell script, those that run on machines included: they are for any POSIX shell.
set -eu
cd "$(dirname "$0")/.."

# SC2174: -m of mkdir is meant for the deepest directory; those above it exist.
git ls-files -z '*.sh' | xargs -0 shellcheck --shell=sh --severity=warning --exclude=SC2174
shellcheck --severity=warning .ci/run
