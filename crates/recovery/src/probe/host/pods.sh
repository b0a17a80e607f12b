# Which processes run a static pod. Used by the look (look.sh) and by what changes services (src/execute/service.rs).
# For any POSIX shell.
#
# The program's name alone does not tell: an etcd for events, Calico's etcd and one that systemd runs are all called
# etcd, and another keeper starts them again when they are killed. What tells, the surest first:
#   pod      the cgroup belongs to the manifest's pod, by namespace and name
#   flags    the flags that identify the instance equal the manifest's
#   unclear  nothing to compare
#   other    another pod, another instance, or run by a systemd unit

proc=/proc pod_logs=/var/log/pods

# The value of flag $1 in a list of words, one a line; either form of a flag.
flag_value() {
    sed -n -e "s/^--*$1=//p" -e "/^--*$1\$/{n;p;}" | head -n 1
}

# The words of a manifest, one a line, without quotes, brackets and commas.
manifest_words() {
    sed -e '/^ *#/d' "$1" | tr '\133\135\054\040\042\047' '\n\n\n\n\n\n' | sed -e '/^$/d' -e '/^-$/d'
}

# NAMESPACE_NAME of a manifest's pod, as the kubelet names its logs; nothing where that is not plain to see.
manifest_pod() {
    name='' namespace=default
    while read -r key value; do
        value=$(printf '%s\n' "$value" | sed -e 's/ *#.*$//' -e 's/["'\'']//g')
        case $key in
        name:) name=$value ;;
        namespace:) namespace=$value ;;
        esac
    done <<END
$(sed -n -e '/^metadata:/,/^[^ #]/p' "$1" | sed -n -e '/^  name:/p' -e '/^  namespace:/p')
END
    if [ -n "$name" ]; then printf '%s_%s' "$namespace" "$name"; fi
}

# NAMESPACE_NAME-NODE of the pod that the process in directory $1 of /proc belongs to, if the kubelet keeps its logs.
pod_of() {
    uid=$(sed -n -e 's/^.*[/-]pod\([0-9a-f][0-9a-f_-]*\)\(\.slice\)\{0,1\}\/.*$/\1/p' "$1/cgroup" 2>/dev/null | head -n 1 | tr _ -)
    if [ -z "$uid" ]; then return; fi
    for log in "$pod_logs"/*_"$uid"; do
        if [ -d "$log" ]; then
            log=${log##*/}
            printf '%s' "${log%_*}"
            return
        fi
    done
}

# How the words $2 of a process compare with the words $1 of the manifest.
compare_flags() {
    compared=unclear
    for flag in name data-dir config-file secure-port kubeconfig; do
        ours=$(printf '%s\n' "$1" | flag_value "$flag")
        theirs=$(printf '%s\n' "$2" | flag_value "$flag")
        case $ours in
        '' | *'$'*) continue ;;
        esac
        if [ "$ours" != "$theirs" ]; then
            compared=other
            break
        fi
        compared=flags
    done
    printf '%s' "$compared"
}

# A line for each process of the machine's own network that is called PROCESS: how it is told, its PID, what it is, apart
# by tabs. The kernel cuts a process's name at 15 letters, so the command line decides; it is read only where that fits.
# Arguments: MANIFEST PROCESS KEPT NODE; KEPT is where the manifest lies while it is fenced.
pod_processes() {
    manifest=$1 process=$2 node=$4
    if ! [ -e "$manifest" ]; then manifest=$3; fi
    manifest_read=
    short=$(printf '%.15s' "$process")
    machine=$(readlink "$proc/1/ns/net") || machine=
    for dir in "$proc"/[0-9]*; do
        name=
        { read -r name <"$dir/comm"; } 2>/dev/null || :
        if [ "$name" != "$short" ]; then continue; fi
        words=$(tr '\0' '\n' 2>/dev/null <"$dir/cmdline") || continue
        name=$(printf '%s\n' "$words" | head -n 1)
        if [ "${name##*/}" != "$process" ]; then continue; fi
        network=$(readlink "$dir/ns/net") || network=
        if [ -n "$machine" ] && [ -n "$network" ] && [ "$network" != "$machine" ]; then continue; fi

        if [ -z "$manifest_read" ]; then
            manifest_read=yes expected='' pod=''
            if [ -e "$manifest" ]; then
                expected=$(manifest_words "$manifest")
                pod=$(manifest_pod "$manifest")
            fi
            hostname=
            { read -r hostname <"$proc/sys/kernel/hostname"; } 2>/dev/null || :
            hostname=$(printf '%s' "$hostname" | tr 'A-Z' 'a-z')
        fi
        told='' what=''
        theirs=$(pod_of "$dir")
        if [ -n "$theirs" ]; then
            what="pod $theirs"
            # The kubelet adds the node's name to that of a static pod.
            case $theirs in
            *"-$node") own=${theirs%"-$node"} ;;
            *"-$hostname") own=${theirs%"-$hostname"} ;;
            *) own= ;;
            esac
            case $own,$theirs in
            "$pod",*) told=pod ;;
            ,"$pod"-*) ;;
            *) told=other ;;
            esac
            if [ -z "$pod" ]; then told=; fi
        elif ! grep -q kubepods "$dir/cgroup" 2>/dev/null; then
            unit=$(sed -n -e 's/^.*\/\([^/]*\.service\)$/\1/p' "$dir/cgroup" 2>/dev/null | head -n 1)
            if [ -n "$unit" ]; then told=other what="unit $unit"; fi
        fi
        if [ -z "$told" ]; then told=$(compare_flags "$expected" "$words"); fi
        for flag in name data-dir config-file secure-port; do
            value=$(printf '%s\n' "$words" | flag_value "$flag")
            if [ -n "$value" ]; then what="${what:+$what }--$flag=$value"; fi
        done
        printf '%s\t%s\t%s\n' "$told" "${dir##*/}" "$(printf '%.300s' "$what" | tr '\t\r\n' '   ')"
    done
}

# The PIDs of a static pod, one a line: those told the surest way. Fails, and says so, where several are left that cannot
# be told apart. Arguments as of pod_processes.
pod_pids() {
    all=$(pod_processes "$@")
    for way in pod flags unclear; do
        found=$(printf '%s\n' "$all" | sed -n -e "s/^$way	\([0-9]*\)	.*/\1/p")
        if [ -z "$found" ]; then continue; fi
        if [ "$way" != pod ] && [ "$(printf '%s\n' "$found" | wc -l)" -gt 1 ]; then
            {
                echo "several processes could be $2 of $1, and nothing tells which is:"
                printf '%s\n' "$all" | sed -n -e "s/^$way	\([0-9]*\)	/pid \1: /p"
            } >&2
            return 3
        fi
        printf '%s\n' "$found"
        return
    done
}

