#!/bin/sh
# Lets the machines' own containerd import every archive of a folder into an empty store, in a mount namespace of its
# own. Arguments: the machines' system, the store, the folder.
set -e
root=$1 store=$2 archives=$3

mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mount -t proc proc "$root/proc"
mkdir "$root/tmp/store"
mount --bind "$store" "$root/tmp/store"
mount --bind "$archives" "$root/mnt"
cat > "$root/tmp/config.toml" <<'EOF'
version = 2
root = "/tmp/store"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
EOF

chroot "$root" containerd --config /tmp/config.toml --log-level error > "$root/tmp/log" 2>&1 &
containerd=$!
trap 'kill -9 $containerd 2>/dev/null || true' EXIT
tries=0
until chroot "$root" ctr version > /dev/null 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || { cat "$root/tmp/log" >&2; exit 1; }
    sleep 0.1
done
for archive in "$archives"/*.tar; do
    chroot "$root" ctr --namespace k8s.io images import "/mnt/$(basename "$archive")" >&2
done
kill $containerd
wait $containerd || true
