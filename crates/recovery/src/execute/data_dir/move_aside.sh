# Moves a member's old data aside; follows lock.sh. Leaves a directory with the new name even where nothing was there to
# move, since its being there is what shows that the move is over: a data dir that is found later is the new one.
#
# Arguments: DATA_DIR TO INSIDE WAL_DIR WAL_TO; INSIDE is the place for what is in a data dir that is a mount point, and
# WAL_DIR is empty where the log is in the data dir. Paths have no symbolic links in them.

# BusyBox may have no mountpoint(1).
is_mount_point() {
    while read -r _ point _; do
        if [ "$(printf '%b' "$point")" = "$1" ]; then return 0; fi
    done </proc/self/mounts
    return 1
}

set -eu
dir=$1 to=$2 inside=$3 wal=$4 wal_to=$5
if [ -e "$to" ] || [ -e "$inside" ]; then exit 0; fi
if [ "$(readlink -f "$dir")" != "$dir" ]; then
    echo "$dir is a symbolic link now: plan again" >&2
    exit 1
fi
db=$dir/member/snap/db
if [ -e "$db" ] && in_use "$db"; then
    echo "a process still has $db open: an etcd that is not the inventory's service runs here" >&2
    exit 1
fi
# The log first: with the data dir still in its place, a move that was cut short is seen not to be over.
if [ -n "$wal" ] && [ -e "$wal" ] && ! [ -e "$wal_to" ]; then mv -T "$wal" "$wal_to"; fi
if ! [ -e "$dir" ]; then
    mkdir -p -m 0700 "$to.moving"
    : >"$to.moving/lifeboat-was-absent"
    mv -T "$to.moving" "$to"
elif is_mount_point "$dir"; then
    mkdir -p -m 0700 "$inside.moving"
    for entry in "$dir/member" "$dir"/.lifeboat-restoring-*; do
        if [ -e "$entry" ]; then mv "$entry" "$inside.moving/"; fi
    done
    mv -T "$inside.moving" "$inside"
else
    mv -T "$dir" "$to"
fi
sync
