# What a data dir holds, read where it lies, unless its disk or its log's is not mounted (92): it is neither gone nor damaged
# then. src/agent.rs reads the exit code. Follows unmounted.sh, for any POSIX shell.
#
# Arguments: FSTAB WAL_DIR (empty: in the data dir) DATA_DIR PROGRAM [ARGUMENT...]

fstab=$1 wal=$2 dir=$3
shift 3
for path in "$dir" "$wal"; do
    real=$(readlink -f "$path" 2>/dev/null) || real=$path
    at=$(unmounted "$real" "$fstab")
    if [ -n "$at" ]; then
        printf '%s' "$at"
        exit 92
    fi
done
exec "$@"
