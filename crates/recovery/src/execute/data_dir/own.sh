# Gives a new data dir owner, mode, SELinux label and ACL of the old one, and proves that the service's user can open it.
# Where there was no old one, it goes to the inventory's owner, else to the user of the unit.
#
# Arguments: DATA_DIR ASIDE INSIDE WAL_DIR WAL_ASIDE OWNER UNIT; the last three may be empty.

set -eu
dir=$1 aside=$2 inside=$3 wal=$4 wal_aside=$5 owner=$6 unit=$7
user='' group=''
if [ -n "$unit" ]; then
    user=$(systemctl show -p User "$unit" | sed -n 's/^User=//p')
    group=$(systemctl show -p Group "$unit" | sed -n 's/^Group=//p')
fi
# A data dir that is a mount point has stayed where it is.
if [ -e "$inside" ]; then aside=$dir; fi

carry() {
    new=$1 old=$2 whose=$owner
    if ! [ -e "$new" ]; then return; fi
    if ! [ -d "$old" ] || [ -e "$old/lifeboat-was-absent" ]; then old=''; fi
    if [ -z "$whose" ] && [ -n "$old" ]; then whose=$(stat -c %u:%g "$old"); fi
    if [ -z "$whose" ] && [ -n "$user" ]; then whose=$user:${group:-$(id -gn "$user")}; fi
    if [ -n "$whose" ]; then chown -R -h "$whose" "$new"; fi
    if [ -n "$old" ] && [ "$old" != "$new" ]; then
        chmod "$(stat -c %a "$old")" "$new"
        if command -v getfacl >/dev/null && command -v setfacl >/dev/null; then
            getfacl -p --omit-header "$old" | setfacl --set-file=- "$new"
        fi
    fi
    if command -v selinuxenabled >/dev/null && selinuxenabled; then
        if [ -n "$old" ]; then chcon -R --reference="$old" "$new"; else restorecon -R "$new"; fi
    fi
}
carry "$dir" "$aside"
if [ -n "$wal" ]; then carry "$wal" "$wal_aside"; fi

# Whether the service's user can read and write a path; BusyBox has no runuser.
can_open() {
    if command -v runuser >/dev/null; then
        runuser -u "$user" -- test -r "$1" -a -w "$1"
    else
        # shellcheck disable=SC2016 # the user's shell expands it
        OPENED=$1 su -s /bin/sh "$user" -c 'test -r "$OPENED" -a -w "$OPENED"'
    fi
}
if [ -n "$user" ] && [ "$user" != root ] && [ "$user" != 0 ]; then
    log=${wal:-$dir/member/wal}
    for path in "$dir" "$dir/member" "$dir/member/snap" "$dir/member/snap/db" "$log"; do
        if [ -e "$path" ] && ! can_open "$path"; then
            echo "$user, the user of $unit, cannot read and write $path" >&2
            exit 1
        fi
    done
fi
