# What a data dir holds, read where it lies; src/agent.rs reads the exit code. For any POSIX shell.
#
# Arguments: PROGRAM DATA_DIR FSTAB WAL_DIR (empty: in the data dir)

program=$1 dir=$2 fstab=$3 wal=$4
LC_ALL=C
export LC_ALL
# What cannot be told is unknown: neither gone nor damaged.
fail() {
    printf '%s\n' "$1" >&2
    exit 1
}
# Whether something is at a path. test(1) says no as well where it has no permission, where the disk fails, and where a file
# server is gone.
there() {
    if why=$(ls -dL -- "$1" 2>&1); then return 0; fi
    case $why in
    *'No such file or directory'*) ;;
    *) fail "$why" ;;
    esac
    part=$1
    while [ -n "$part" ]; do
        if [ -L "$part" ] && ! [ -e "$part" ]; then fail "$part is a symbolic link to $(readlink "$part"), which does not exist"; fi
        part=${part%/*}
    done
    return 1
}
for path in "$dir" "$wal"; do
    real=$(readlink -f "$path" 2>/dev/null) || real=$path
    at=$(unmounted "$real" "$fstab")
    if [ -n "$at" ]; then
        printf '%s' "$at"
        exit 92
    fi
done
if ! there "$dir/member"; then
    if [ -n "$wal" ] && there "$wal" && [ -n "$(ls -A "$wal")" ]; then exit 94; fi
    exit 90
fi
if ! [ -d "$dir/member" ]; then fail "$dir/member is not a directory"; fi
# The remaining arguments are those that say where the log is.
if [ -n "$wal" ]; then set -- --wal-dir "$wal"; else wal=$dir/member/wal && set --; fi
db=$dir/member/snap/db
if there "$db"; then
    # Opening a named pipe would block.
    if ! [ -f "$db" ]; then fail "$db is not a regular file"; fi
    flock -n -s -E 91 "$db" true
    case $? in
    0) ;;
    91) "$program" inspect "$dir" --raft --quiet -o json "$@"; exit 91 ;;
    *) exit 1 ;;
    esac
fi
# A db with keys had a log, which may be elsewhere. One without was re-initialized and refused by its cluster before it had any.
if ! there "$wal" && "$program" inspect "$db" --quiet -o json 2>/dev/null | grep -q '"liveKeys": *[1-9]'; then
    exit 93
fi
exec "$program" inspect "$dir" --quiet -o json "$@"
