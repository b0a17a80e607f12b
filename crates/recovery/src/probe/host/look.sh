# What a machine tells of itself: one line a fact, its parts apart by tabs; src/probe/host/said.rs reads it.
# For any POSIX shell. Nothing is changed, and nothing but what POSIX has is needed: what is missing is left out.
#
# Arguments: DROP_IN FENCED_DIR KUBELET DISK... -- MANIFEST PROCESS ... -- UNIT...

# Not every machine has timeout(1); its caller has a limit for the whole.
within() {
    if command -v timeout >/dev/null 2>&1; then
        timeout "$@"
    else
        shift
        "$@"
    fi
}

clock() {
    printf 'clock\t%s\n' "$(date +%s.%N 2>/dev/null)"
}

# Whether something is at a path: yes, no, or why it cannot be told. test(1) says no as well where it has no permission, where
# the disk fails, and where a file server is gone.
there() {
    if [ -e "$1" ]; then
        echo yes
    elif why=$(within 2 ls -dL -- "$1" 2>&1); then
        echo yes
    else
        case $why in
        *'No such file or directory'*) echo no ;;
        *) printf '%s' "$why" | tr '\t\r\n' '   ' ;;
        esac
    fi
}

# The file system that holds a path, or would hold it: a lost data dir's would be its parent's.
disk() {
    path=$1
    case $path in
    /*) ;;
    *) path=/ ;;
    esac
    while [ -n "$path" ] && [ "$(there "$path")" = no ]; do path=${path%/*}; done
    blocks=$(within 2 df -Pk "${path:-/}" 2>&1 | tail -n 1)
    inodes=$(within 2 df -Pi "${path:-/}" 2>/dev/null | tail -n 1)
    at=${blocks##*% }
    mode=
    # Mounts lie over each other: the last one counts.
    while read -r _ dir _ options _; do
        case $dir in
        *\\*) dir=$(printf '%b' "$dir") ;;
        esac
        if [ "$dir" = "$at" ]; then mode=${options%%,*}; fi
    done </proc/mounts
    printf 'disk\t%s\t%s\t%s\n' "$mode" "$blocks" "$inodes"
}

# The kernel cuts a process's name at 15 letters, so the command line decides; it is read only where that fits. What runs
# in a pod of its own network is an application's.
runs() {
    short=$(printf '%.15s' "$1")
    machine=$(readlink /proc/1/ns/net) || machine=
    for dir in /proc/[0-9]*; do
        name=
        { read -r name <"$dir/comm"; } 2>/dev/null
        if [ "$name" != "$short" ]; then continue; fi
        name=$(tr '\0' '\n' 2>/dev/null <"$dir/cmdline" | head -n 1)
        if [ "${name##*/}" != "$1" ]; then continue; fi
        network=$(readlink "$dir/ns/net") || network=
        if [ -z "$machine" ] || [ -z "$network" ] || [ "$network" = "$machine" ]; then return 0; fi
    done
    return 1
}

pod() {
    manifest=$(there "$1") fenced=$(there "$fenced_dir/${1##*/}") process=no
    if runs "$2"; then process=yes; fi
    printf 'pod\t%s\t%s\t%s\n' "$manifest" "$fenced" "$process"
}

# Every unit's properties, with an empty line between units.
units() {
    within 3 systemctl show -p LoadState -p ActiveState -p SubState -p UnitFileState -p NRestarts -- "$@" 2>&1 |
        while read -r line; do printf 'unit\t%s\n' "$line"; done
    for unit in "$@"; do
        printf 'fence\t%s\n' "$(there "/etc/systemd/system/$unit.d/$drop_in")"
    done
}

kubelet() {
    at=127.0.0.1:10248
    if command -v curl >/dev/null 2>&1; then
        said=$(curl -sS -m 2 --noproxy '*' "http://$at/healthz" 2>&1)
    elif command -v wget >/dev/null 2>&1; then
        said=$(no_proxy='*' within 2 wget -q -O - -T 2 "http://$at/healthz" 2>&1) || said="no answer: $said"
    elif command -v bash >/dev/null 2>&1; then
        said=$(within 2 bash -c 'exec 3<>"/dev/tcp/$1" && printf "GET /healthz HTTP/1.0\r\n\r\n" >&3 && cat <&3' \
            bash "${at%:*}/${at#*:}" 2>&1 | tail -n 1)
    else
        return
    fi
    printf 'kubelet\t%s\n' "$(printf '%s' "$said" | tr '\t\r\n' '   ')"
}

main() {
    drop_in=$1 fenced_dir=$2 kubelet=$3
    shift 3
    printf 'lifeboat-look\n'
    clock
    for file in machine-id:/etc/machine-id boot-id:/proc/sys/kernel/random/boot_id; do
        line=
        { read -r line <"${file#*:}"; } 2>/dev/null
        printf '%s\t%s\n' "${file%%:*}" "$line"
    done
    while [ $# -gt 0 ] && [ "$1" != -- ]; do
        disk "$1"
        shift
    done
    shift
    while [ $# -gt 1 ] && [ "$1" != -- ]; do
        pod "$1" "$2"
        shift 2
    done
    shift
    if [ $# -gt 0 ]; then units "$@"; fi
    if [ "$kubelet" = yes ]; then kubelet; fi
    clock
    printf 'end\n'
}

LC_ALL=C
export LC_ALL
# The shell reads this script from the same place.
main "$@" </dev/null
