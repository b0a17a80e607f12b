#!/bin/sh
# Fails if a text uses a word or phrase of "Words we do not use" in docs/glossary.md.
set -eu
cd "$(dirname "$0")/.."

words='anew|for ever|whoever|mended|amiss|lest|is none of'
words="$words|is no more|are no more|not any more|whosoever|thereof|therein|whence"
words="$words|is no data dir|no terminal|meant from|so already|for people to do|can be logged in to"
if git grep -nwiIE "$words" -- . ':!scripts/words.sh' ':!docs/glossary.md' ':!LICENSE' ':!*.json' ':!*.snap'; then
    echo "words: see \"Words we do not use\" in docs/glossary.md" >&2
    exit 1
fi
