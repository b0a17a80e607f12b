# Puts a member's old data back in its place, and what was restored there beside it. Can be run again after it was cut short.
# Follows lock.sh.
#
# Arguments: DATA_DIR TO INSIDE WAL_DIR WAL_TO; as for move_aside.sh, which made TO and INSIDE. One of these that is empty only
# says that there was no data dir. What was restored gets their names with -undone at the end.

set -eu
dir=$1 to=$2 inside=$3 wal=$4 wal_to=$5
free() {
    if [ -e "$1" ]; then echo "$1 is in the way: move it elsewhere by hand" >&2; exit 1; fi
}
moved=no
if [ -e "$to" ] || [ -e "$inside" ]; then moved=yes; fi
db=$dir/member/snap/db
if [ $moved = yes ] && [ -e "$db" ] && in_use "$db"; then
    echo "a process has $db open: stop the etcd that runs on it first" >&2
    exit 1
fi
# A log that was restored where there was none.
if [ -n "$wal" ] && [ $moved = yes ] && [ -e "$dir/member" ] && [ -e "$wal" ] && ! [ -e "$wal_to" ]; then
    free "$wal_to-undone"
    mv -T "$wal" "$wal_to-undone"
fi
if [ -e "$inside" ]; then
    undone=$inside-undone
    for entry in "$dir/member" "$dir"/.lifeboat-restoring-*; do
        if [ -e "$entry" ]; then
            mkdir -p -m 0700 "$undone"
            mv -n "$entry" "$undone/"
        fi
    done
    # From here on, what is in $dir is not what was restored.
    mv -T "$inside" "$inside.moving"
fi
# Left by a move in either direction that was cut short: what is in it belongs in $dir.
if [ -e "$inside.moving" ]; then
    if [ -e "$inside.moving/member" ]; then
        free "$dir/member"
        mv "$inside.moving/member" "$dir/member"
    fi
    # What interrupted restores left is kept beside what was restored.
    rmdir "$inside.moving" 2>/dev/null || {
        mkdir -p -m 0700 "$inside-undone"
        mv -T "$inside.moving" "$inside-undone/leftovers"
    }
elif [ -e "$to.moving" ]; then
    rm -f "$to.moving/lifeboat-was-absent"
    rmdir "$to.moving"
elif [ -e "$to" ]; then
    if [ -e "$dir" ] && ! rmdir "$dir" 2>/dev/null; then
        free "$to-undone"
        mv -T "$dir" "$to-undone"
    fi
    if [ -e "$to/lifeboat-was-absent" ] || [ -z "$(ls -A "$to")" ]; then
        rm -f "$to/lifeboat-was-absent"
        rmdir "$to" 2>/dev/null || mv -T "$to" "$to-undone.leftovers"
    else
        mv -T "$to" "$dir"
    fi
fi
if [ -n "$wal" ] && [ -e "$wal_to" ]; then
    if [ -e "$wal" ]; then
        free "$wal_to-undone"
        mv -T "$wal" "$wal_to-undone"
    fi
    mv -T "$wal_to" "$wal"
fi
sync
