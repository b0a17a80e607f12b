#!/bin/sh
# Fails where a text uses a word that docs/glossary.md's "Words we do not use" replaces.
set -eu
cd "$(dirname "$0")/.."

words='anew|for ever|whoever|mended|amiss|lest|is none of'
if git grep -nwiIE "$words" -- . ':!scripts/words.sh' ':!docs/glossary.md' ':!*.json' ':!*.snap'; then
    echo "words: see \"Words we do not use\" in docs/glossary.md" >&2
    exit 1
fi
