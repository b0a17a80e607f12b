# What a machine tells of itself: one line a fact, its parts apart by tabs; src/probe/host/parse.rs reads it.
# For any POSIX shell. Nothing is changed, and nothing but what POSIX has is needed: what is missing is left out.
#
# pods.sh stands before it.
#
# Arguments: DROP_IN FENCED_DIR KUBELET NODE DISK... -- MANIFEST PROCESS ... -- UNIT...

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

pod() {
    kept=$fenced_dir/${1##*/}
    manifest=$(there "$1") fenced=$(there "$kept") process=no
    all=$(pod_processes "$1" "$2" "$kept" "$node")
    case $all in
    pod* | flags* | unclear* | *"
pod"* | *"
flags"* | *"
unclear"*) process=yes ;;
    esac
    printf 'pod\t%s\t%s\t%s\n' "$manifest" "$fenced" "$process"
    if [ -n "$all" ]; then printf '%s\n' "$all" | sed -e "s/^/process	$pod_number	/"; fi
    pod_number=$((pod_number + 1))
}

# What recoveries left: what they sent, which has a directory with the plan's id, and what they moved aside.
left() {
    if [ -s /var/lib/lifeboat/operator.lock ] || [ -s /run/lifeboat/operator.lock ]; then printf 'left\tlock\t\n'; fi
    for dir in /var/lib/lifeboat/[0-9]*-[0-9]*-*; do
        if [ -d "$dir" ] && [ -n "$(ls -A "$dir" 2>/dev/null)" ]; then printf 'left\tsent\t%s\n' "$dir"; fi
    done
}

left_aside() {
    for dir in "$1".lifeboat-* "$1"/lifeboat-aside-*; do
        if [ -d "$dir" ]; then printf 'left\taside\t%s\n' "$dir"; fi
    done
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
    drop_in=$1 fenced_dir=$2 kubelet=$3 node=$4 pod_number=0
    shift 4
    printf 'lifeboat-look\n'
    clock
    for file in machine-id:/etc/machine-id boot-id:/proc/sys/kernel/random/boot_id; do
        line=
        { read -r line <"${file#*:}"; } 2>/dev/null
        printf '%s\t%s\n' "${file%%:*}" "$line"
    done
    printf 'platform\t%s\n' "$(uname -sm)"
    left
    while [ $# -gt 0 ] && [ "$1" != -- ]; do
        disk "$1"
        case $1 in
        / | /var/log) ;;
        /*) left_aside "$1" ;;
        esac
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
