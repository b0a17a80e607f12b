# The data dirs on a machine, one a line, those that an etcd has open first, the newest of the rest first; before them a
# `=` and what DATA_DIR is, symlinks resolved. src/agent.rs reads it. For any POSIX shell. Nothing is changed.
#
# Arguments: DATA_DIR WHICH UNIT: WHICH is `all` or `open`; UNIT is empty for a static pod

dir=$(readlink -f "$1" 2>/dev/null) || dir=$1
which=$2 unit=$3
parent=${dir%/*}

# Only of the member's own process: a machine may run another etcd in a unit or pod of its own.
opened() {
    machine=$(readlink /proc/1/ns/net) || machine=
    for process in /proc/[0-9]*; do
        name=
        { read -r name <"$process/comm"; } 2>/dev/null
        if [ "$name" != etcd ]; then continue; fi
        if [ -n "$unit" ]; then
            case $(cat "$process/cgroup" 2>/dev/null)/ in */"$unit"/*) ;; *) continue ;; esac
        else
            network=$(readlink "$process/ns/net") || network=
            if [ -n "$machine" ] && [ "$network" != "$machine" ]; then continue; fi
        fi
        for fd in "$process"/fd/*; do readlink "$fd" 2>/dev/null; done
    done | sed -n 's|/member/snap/db$||p'
}

beside() {
    ls -td "$parent"/*/member/snap/db "$dir"/lifeboat-aside-*/member/snap/db 2>/dev/null |
        while IFS= read -r db; do readlink -f "$db"; done | sed -n 's|/member/snap/db$||p'
}

printf '=%s\n' "$dir"
{
    opened
    if [ "$which" = all ]; then beside; fi
} | awk '!seen[$0]++' | head -n 32
