# Prints kernel and architecture; `noexec MOUNT` where the file system of $1 runs no programs, else `exec`; and the SHA-256 of
# $1 if it is there. $2 is the table of mounts.
uname -sm
at=${1%/*}
while [ -n "$at" ] && [ ! -d "$at" ]; do
    at=${at%/*}
done
at=$(cd "${at:-/}" && pwd -P) || exit 1
mount='' options=''
# The longest mount point above the file counts; of several on one directory, the last.
while read -r _ point _ these _; do
    case "${at%/}/" in
    "${point%/}"/*) if [ "${#point}" -ge "${#mount}" ]; then mount=$point options=$these; fi ;;
    esac
done <"$2"
case ",$options," in
*,noexec,*) echo "noexec $mount" ;;
*) echo exec ;;
esac
if [ -x "$1" ]; then sha256sum <"$1"; fi
