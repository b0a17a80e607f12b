# Runs while a machine is on: creates its network and NIC, boots it, and boots it again when it reboots. Ends when
# the machine is off. Arguments: the machine's cgroup in every hierarchy.

remove_groups() {
    for group in "$@"; do
        [ ! -d "$group" ] || find "$group" -depth -type d -exec rmdir {} + 2>/dev/null
    done
}

make_groups() {
    for group in "$@"; do
        mkdir -p "$group" || return 1
        if [ -e "$group/cpuset.cpus" ] && [ -e "$group/cgroup.clone_children" ]; then
            # In cgroup version 1, a new cpuset is empty, and nothing can run in an empty one.
            cat "${group%/*}/cpuset.cpus" > "$group/cpuset.cpus"
            cat "${group%/*}/cpuset.mems" > "$group/cpuset.mems"
            echo 1 > "$group/cgroup.clone_children"
        fi
    done
}

boot() (
    for group in "$@"; do
        echo 0 > "$group/cgroup.procs" || exit 1
    done
    container
)

while :; do
    remove_groups "$@"
    make_groups "$@" && network && boot "$@"
    code=$?
    network_off
    # systemd-nspawn's exit code when the machine reboots.
    [ "$code" = 133 ] || break
done
remove_groups "$@"
