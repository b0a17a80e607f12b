#!/bin/sh
# What a container keeps from a kubelet: cgroup controllers it may write to, and kernel settings it insists on. The
# settings are files with the wanted values mounted over the real ones, so the host's own stay as they are.
set -e

for controller in /sys/fs/cgroup/*/; do
    if mountpoint -q "$controller"; then
        mount -o remount,bind,rw "${controller%/}"
    fi
done

mkdir -p /run/lab-settings
setting() {
    file=/run/lab-settings/$(echo "$1" | tr / _)
    echo "$2" > "$file"
    mountpoint -q "/proc/sys/$1" || mount --bind "$file" "/proc/sys/$1"
}
setting vm/overcommit_memory 1
setting vm/panic_on_oom 0
setting kernel/panic 10
setting kernel/panic_on_oops 1
setting kernel/keys/root_maxkeys 1000000
setting kernel/keys/root_maxbytes 25000000
