# Writes a member's data dir, after removing what an earlier try of the same step left half done: copies of our own, which
# no member has ever run on.
#
# Arguments: DATA_DIR WAL_DIR COMMAND...; WAL_DIR is empty where the log is in the data dir.

set -eu
dir=$1 wal=$2
shift 2
for stage in "$dir"/.lifeboat-restoring-*; do
    if ! [ -e "$stage" ]; then continue; fi
    # The data dir is renamed into place before its log is: with the stage still there, the log is not.
    if [ -n "$wal" ] && [ -e "$dir/member" ] && ! [ -e "$wal" ]; then rm -rf -- "$dir/member"; fi
    rm -rf -- "$stage"
done
if [ -n "$wal" ]; then
    for stage in "$wal".lifeboat-restoring-*; do
        if [ -e "$stage" ]; then rm -rf -- "$stage"; fi
    done
fi
if [ -e "$dir/member" ]; then exit 0; fi
exec "$@" </dev/null
