//! An NFS server in user space (NFS-Ganesha), since a container cannot run the kernel's.

use anyhow::Result;

use super::guest::Guest;

const CONFIG: &str = include_str!("../../../../lab/guest/ganesha.conf");
/// Debian's unit requires the port mapper and the lock manager of older protocols.
const UNIT: &str = "[Unit]\nDescription=NFS server\nAfter=network.target\n\n[Service]\nRuntimeDirectory=ganesha\n\
     ExecStart=/usr/bin/ganesha.nfsd -F -L STDERR -f /etc/ganesha/ganesha.conf -p /run/ganesha/pid\n\
     Restart=always\nRestartSec=5\nLimitNOFILE=65536\n\n[Install]\nWantedBy=multi-user.target\n";

/// Writes the server's files; it exports `/srv/export`.
pub(crate) fn install(guest: &Guest) -> Result<()> {
    guest.write("/etc/ganesha/ganesha.conf", CONFIG)?;
    guest.unit("nfs-ganesha.service", UNIT)
}
