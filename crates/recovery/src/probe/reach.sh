# Whether a TCP connection to HOST PORT can be made within 2 s: `connected`, or why not. For any POSIX shell.
reach() {
    if command -v bash >/dev/null 2>&1 && command -v timeout >/dev/null 2>&1; then
        why=$(LC_ALL=C timeout 2 bash -c 'exec 3<>"/dev/tcp/$1/$2"' bash "$1" "$2" 2>&1)
        case $? in
        0) printf connected ;;
        124) printf 'no answer within 2 s' ;;
        *) printf '%s' "${why##*: }" | head -n 1 | tr '\t' ' ' ;;
        esac
    elif command -v curl >/dev/null 2>&1; then
        case $1 in
        *:*) at=[$1]:$2 ;;
        *) at=$1:$2 ;;
        esac
        took=$(LC_ALL=C curl -s -k -o /dev/null -m 2 --noproxy '*' -w '%{time_connect}' "https://$at/" 2>/dev/null)
        code=$?
        case $took in
        *[1-9]*) printf connected ;;
        *) if [ "$code" = 28 ]; then printf 'no answer within 2 s'; else printf 'no connection (curl %s)' "$code"; fi ;;
        esac
    elif nc --help 2>&1 | grep -q BusyBox; then
        if why=$(nc -w 2 "$1" "$2" -e true 2>&1); then
            printf connected
        else
            case $why in
            *'timed out'*) printf 'no answer within 2 s' ;;
            *) printf '%s' "${why##*: }" | head -n 1 | tr '\t' ' ' ;;
            esac
        fi
    else
        printf 'unknown'
    fi
}
