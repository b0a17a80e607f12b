# The last errors logged by services, by their number among the arguments: NUMBER, a tab, the line. src/probe/logs.rs reads it.
# Follows pods.sh; for any POSIX shell. Nothing is changed, at most 256 KiB of a log are read, and values that look like
# secrets are replaced.
#
# Arguments: NODE, then `unit` and its name or `pod` and its manifest for each service

redact() {
    sed -E -e 's/(([Pp]assword|[Pp]asswd|[Ss]ecret|[Tt]oken|[Aa]uthorization|[Kk]ey)"?[=:] ?"?)(Bearer |Basic )?[^", ]+/\1***/g' \
        -e 's/(Bearer|Basic) [A-Za-z0-9._~+\/=-]+/\1 ***/g' -e 's#://[^/@ ]*:[^/@ ]*@#://***@#g'
}

# The last three errors, or the last line where it has none: of etcd's and of the control plane's forms, and of others.
last_errors() {
    tail -c 262144 | awk '
        NF == 0 { next }
        { last = $0 }
        # Information, warnings, and the end of an etcd that was stopped; and systemd repeats what a service has said.
        /^[IW][0-9][0-9][0-9][0-9] / || /"level":"(info|warn|debug)"/ || /use of closed network connection/ ||
            /Failed with result .exit-code|^Failed to start / { next }
        /"level":"(fatal|panic|error)"/ || /^[EF][0-9][0-9][0-9][0-9] / || / [CE] \| / ||
            /panic:|[Ee]rror:|fatal|[Ff]ailed|oom-kill|code=(killed|dumped)/ { kept[count++ % 3] = $0 }
        END {
            for (i = count > 3 ? count - 3 : 0; i < count; i++) print kept[i % 3]
            if (count == 0 && last != "") print last
        }' | sed 's/,"stacktrace":".*$/}/' | redact | cut -c 1-600 | tr '\t\r' '  '
}

# Of its last start, where systemd tells it apart.
unit_log() {
    start=$(systemctl show -p InvocationID -- "$1" 2>/dev/null)
    start=${start#InvocationID=}
    if [ -n "$start" ]; then
        timeout 2 journalctl -q --no-pager -o cat -n 300 "_SYSTEMD_INVOCATION_ID=$start" + "INVOCATION_ID=$start" 2>/dev/null
    else
        timeout 2 journalctl -q --no-pager -o cat -b -n 100 -u "$1" 2>/dev/null
    fi
}

# As the container runtime writes it, which needs neither it nor the kubelet: time, stream, whether the line is whole.
pod_log() {
    if ! [ -e "$1" ]; then return; fi
    # shellcheck disable=SC2154 # pods.sh has it
    file=$(ls -t "$pod_logs/$(manifest_pod "$1")-$node"_*/*/*.log 2>/dev/null | head -n 1)
    if [ -n "$file" ]; then tail -c 262144 "$file" | sed 's/^[^ ]* std[a-z]* [FP] //'; fi
}

node=$1 number=0
shift
LC_ALL=C
export LC_ALL
printf 'lifeboat-logs\n'
while [ $# -gt 1 ]; do
    case $1 in
    unit) unit_log "$2" ;;
    pod) pod_log "$2" ;;
    esac | last_errors | sed "s/^/$number	/"
    number=$((number + 1))
    shift 2
done
