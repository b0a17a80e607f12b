# Locks for scripts that change a machine. They need flock(1) of util-linux, or /proc: that of BusyBox neither waits nor tells
# a lock that is taken from another failure.
has_flock() {
    flock --version 2>/dev/null | grep -q util-linux
}

# Whether another process has the file open, by its path. It is not one that this shell starts here.
open_elsewhere() {
    (
        exec 9>&-
        for process in /proc/[0-9]*; do
            if [ "$process" != "/proc/$$" ]; then ls -l "$process/fd" 2>/dev/null || :; fi
        done | sed -n 's/^.* -> //p' | grep -Fqx -- "$(readlink -f "$1")"
    )
}

# Waits for the lock of the file $1 for $2 seconds. It is inherited: it is held until the last process ends that this one
# leaves behind. Without flock, the first one that has the file open alone has the lock.
lock() {
    exec 9>>"$1" || return
    if has_flock; then
        flock -w "$2" 9
        return
    fi
    waited=0
    while open_elsewhere "$1"; do
        exec 9>&-
        if [ "$waited" -ge "$2" ]; then return 1; fi
        # Two that wait for each other must not wait equally long.
        pause=$((1 + $(od -An -N1 -tu1 /dev/urandom) % 3))
        sleep "$pause"
        waited=$((waited + pause))
        exec 9>>"$1" || return
    done
}

# Whether an etcd has this db open: bbolt locks it as long as it runs. A file system without locks cannot tell. A container
# may have the file under another path, so that without flock(1) the kernel's list of locks decides, by inode.
in_use() {
    if ! has_flock; then
        inode=$(stat -L -c %i -- "$1") && grep -q "FLOCK .*:$inode 0 EOF" /proc/locks
        return
    fi
    code=0
    flock -n -E 9 "$1" true || code=$?
    [ "$code" = 9 ]
}
