echo "hostname $(uname -n)"
if [ -r /etc/machine-id ]; then echo "machine-id $(cat /etc/machine-id)"; fi
if command -v ip >/dev/null; then
    ip -o addr show scope global | while read -r _ _ _ address _; do echo "address ${address%%/*}"; done
else
    for address in $(hostname -I); do echo "address $address"; done
fi
for dir in /proc/[0-9]*; do
    read -r name < "$dir/comm" || continue
    case $name in
        # The kernel cuts names at 15 letters.
        etcd | kube-apiserver | kube-controller | kube-scheduler | kubelet | hyperkube | k3s* | rke2*) ;;
        nfsd | ganesha.nfsd | unfsd) echo "role nfs"; continue ;;
        *) continue ;;
    esac
    echo "process ${dir#/proc/}"
    tr '\0' '\n' < "$dir/cmdline" | sed 's/^/argument /'
    # Nothing else of an environment: it may hold secrets.
    tr '\0' '\n' < "$dir/environ" | sed -n \
        -e '/^ETCD_\(NAME\|DATA_DIR\|WAL_DIR\|CONFIG_FILE\|TRUSTED_CA_FILE\|CERT_FILE\|KEY_FILE\)=/s/^/variable /p' \
        -e '/^ETCD_\(INITIAL_ADVERTISE_PEER_URLS\|ADVERTISE_CLIENT_URLS\)=/s/^/variable /p'
    sed 's/^[0-9]*:[^:]*:/cgroup /' "$dir/cgroup"
    echo "directory $(readlink "$dir/cwd")"
done
systemctl list-unit-files --no-legend 'etcd*.service' 'kube*.service' | while read -r name _; do echo "unit $name"; done
for file in /etc/kubernetes/*.conf /etc/kubernetes/*.kubeconfig /root/.kube/config; do
    if grep -q '^kind: *Config' "$file"; then echo "kubeconfig $file"; fi
done
exit 0
