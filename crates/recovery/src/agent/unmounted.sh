# For scripts that read a data dir. One on a disk that is not mounted looks gone, and what were written there would lie on
# another disk.

mounted() {
    while read -r _ point _; do
        if [ "$point" = "$1" ]; then return 0; fi
    done </proc/mounts
    return 1
}

# Prints the mount point of a file system that FSTAB ($2) mounts, that the path $1 lies in, and that is not mounted; nothing
# where there is none. Symbolic links in $1 are resolved.
unmounted() {
    if [ -z "$1" ] || ! [ -r "$2" ]; then return; fi
    while read -r disk at _ options _; do
        case $disk in '#'*) continue ;; esac
        case ,$options, in *,noauto,*) continue ;; esac
        at=${at%/}
        case $at in /*) ;; *) continue ;; esac
        case $1/ in "$at"/*) ;; *) continue ;; esac
        if ! mounted "$at"; then
            printf '%s' "$at"
            return
        fi
    done <"$2"
}

