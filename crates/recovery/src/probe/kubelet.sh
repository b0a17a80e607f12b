# How the kubelet of this machine connects to the API: one line a fact, its parts apart by tabs; src/probe/kubelet.rs reads
# it. Behind reach.sh. The key beside a certificate is not read.
#
# Arguments: UNIT

pid=$(systemctl show -p MainPID -- "$1" 2>/dev/null)
pid=${pid#MainPID=}
config=
if [ -r "/proc/$pid/cmdline" ]; then
    config=$(tr '\0' '\n' <"/proc/$pid/cmdline" |
        awk 'next_one { print; exit } /^--?kubeconfig=/ { sub(/^[^=]*=/, ""); print; exit } /^--?kubeconfig$/ { next_one = 1 }')
fi
for file in "$config" /etc/kubernetes/kubelet.conf /var/lib/kubelet/kubeconfig; do
    if [ -n "$file" ] && [ -r "$file" ]; then
        config=$file
        break
    fi
done
if [ ! -r "$config" ]; then exit 0; fi

value() {
    sed -n "s/^[[:space:]-]*$1:[[:space:]]*[\"']\{0,1\}\([^\"']*\)[\"']\{0,1\}[[:space:]]*\$/\1/p" "$config" | head -n 1
}
first_certificate() {
    awk '/BEGIN CERTIFICATE/ { inside = 1; next } /END CERTIFICATE/ { exit } inside' | tr -d ' \r\n' | head -c 65536
}

server=$(value server)
at=${server#*://}
at=${at%%/*}
case $at in
\[*\]:*) host=${at%]:*} host=${host#[} port=${at##*:} ;;
*:*) host=${at%:*} port=${at##*:} ;;
*) host=$at port=443 ;;
esac
answer=$(reach "$host" "$port")
# A load balancer takes connections with nothing behind it.
if [ "$answer" = connected ] && command -v curl >/dev/null 2>&1; then
    status=$(curl -s -k -o /dev/null -m 3 --noproxy '*' -w '%{http_code}' "${server%/}/livez" 2>/dev/null)
    case $status in
    '' | 000) answer='it takes connections and does not answer' ;;
    esac
fi
printf 'server\t%s\n' "$server"
printf 'reach\t%s\n' "$answer"
file=$(value client-certificate)
case $file in
'') ;;
/*) ;;
*) file=${config%/*}/$file ;;
esac
if [ -n "$file" ] && [ -r "$file" ]; then
    printf 'certificate\t%s\n' "$(first_certificate <"$file")"
else
    printf 'certificate\t%s\n' "$(value client-certificate-data | base64 -d 2>/dev/null | first_certificate)"
fi
