# What a data dir holds, read where it lies; src/ship.rs reads the exit code. For any POSIX shell.
#
# Arguments: PROGRAM DATA_DIR FSTAB

program=$1 dir=$2 fstab=$3
real=$(readlink -f "$dir" 2>/dev/null) || real=$dir
mounted() {
    while read -r _ at _; do
        if [ "$at" = "$1" ]; then return 0; fi
    done </proc/mounts
    return 1
}
# A data dir on a disk that is not mounted looks gone, and what were restored there would lie on another one.
if [ -r "$fstab" ]; then
    while read -r disk at _ options _; do
        case $disk in '#'*) continue ;; esac
        case ,$options, in *,noauto,*) continue ;; esac
        at=${at%/}
        case $at in /*) ;; *) continue ;; esac
        case $real/ in "$at"/*) ;; *) continue ;; esac
        if ! mounted "$at"; then printf '%s' "$at"; exit 92; fi
    done <"$fstab"
fi
if ! [ -e "$dir/member" ]; then exit 90; fi
db=$dir/member/snap/db
if [ -e "$db" ]; then
    flock -n -s -E 91 "$db" true
    case $? in
    0) ;;
    91) "$program" inspect "$dir" --raft --quiet -o json; exit 91 ;;
    *) exit 1 ;;
    esac
fi
# A db with keys had a log, which may be elsewhere. One without was begun anew and refused by its cluster before it had any.
if ! [ -e "$dir/member/wal" ] && "$program" inspect "$db" --quiet -o json 2>/dev/null | grep -q '"liveKeys": *[1-9]'; then
    exit 93
fi
exec "$program" inspect "$dir" --quiet -o json
