//! The faults of the campaign: how each is injected, and what may be expected of a recovery afterwards.

use std::fmt;

use anyhow::{Context, Result};
use fastrand::Rng;
use lifeboat_client::Client;
use lifeboat_client::messages::{AlarmMember, AlarmType};

use crate::harness::Harness;

/// What can go wrong on a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Shut down in order.
    PowerOff,
    /// Power cut.
    PowerCut,
    /// The NIC is gone, and the cloud does not know.
    NicDetached,
    /// The cable is pulled.
    CableUnplugged,
    /// etcd killed and not started again.
    Killed,
    /// etcd halted: it holds its ports and answers nothing.
    Frozen,
    /// Every second page of the db overwritten.
    DbPages,
    DbTruncated,
    /// Pages of the db zeroed.
    DbZeroed,
    DbDeleted,
    /// Everything in the data dir deleted.
    DataDeleted,
    LogDeleted,
    /// The log cut off before its end.
    LogCut,
    /// The end of the log zeroed, as after a torn write.
    LogZeroed,
    /// One byte in the middle of the log changed.
    LogFlipped,
    DiskFull,
    /// The peer ports of the other members cannot be reached, nor this one's by them.
    PeersDropped,
    /// No packet from the machines of the other members arrives.
    Isolated,
    NospaceAlarm,
    CorruptAlarm,
    UnitMasked,
    UnitBadFlag,
    /// The unit runs etcd on another, empty data dir.
    UnitOtherDataDir,
}

/// How a data dir is laid out on its machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `/var/lib/etcd` is a symbolic link.
    Symlink,
    /// `member/wal` is one.
    WalSymlink,
    /// A file system of its own is mounted on the data dir, by `/etc/fstab`.
    Mount,
    /// One is mounted on `member/wal`.
    WalMount,
    /// etcd runs with `--wal-dir`.
    WalDir,
    /// The data dir was moved and the unit changed since the inventory was written.
    Moved,
}

pub const LAYOUTS: [Layout; 6] =
    [Layout::Symlink, Layout::WalSymlink, Layout::Mount, Layout::WalMount, Layout::WalDir, Layout::Moved];

/// Each is drawn as often as it is listed: this campaign is mostly about data.
const FAULTS: [Fault; 30] = [
    Fault::PowerOff,
    Fault::PowerCut,
    Fault::PowerCut,
    Fault::NicDetached,
    Fault::CableUnplugged,
    Fault::Killed,
    Fault::Killed,
    Fault::Frozen,
    Fault::DbPages,
    Fault::DbPages,
    Fault::DbTruncated,
    Fault::DbTruncated,
    Fault::DbZeroed,
    Fault::DbDeleted,
    Fault::DbDeleted,
    Fault::DataDeleted,
    Fault::DataDeleted,
    Fault::LogDeleted,
    Fault::LogCut,
    Fault::LogCut,
    Fault::LogZeroed,
    Fault::LogFlipped,
    Fault::DiskFull,
    Fault::PeersDropped,
    Fault::Isolated,
    Fault::NospaceAlarm,
    Fault::CorruptAlarm,
    Fault::UnitMasked,
    Fault::UnitBadFlag,
    Fault::UnitOtherDataDir,
];

/// A fault on a machine, with what was drawn for it.
#[derive(Debug, Clone)]
pub struct Injection {
    pub machine: String,
    pub fault: Fault,
    /// Where in a file, in thousandths.
    at: u32,
    /// Whether etcd was started again.
    started_again: bool,
}

impl fmt::Display for Injection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { machine, fault, at, started_again } = self;
        write!(f, "{machine}: {fault:?}")?;
        match fault {
            Fault::DbTruncated | Fault::DbZeroed | Fault::LogCut | Fault::LogZeroed | Fault::LogFlipped => {
                write!(f, " at {at}/1000")?;
            }
            _ => {}
        }
        if *started_again && fault.stops_etcd() { write!(f, ", started again") } else { Ok(()) }
    }
}

impl Fault {
    /// Whether lifeboat alone can bring the cluster back from it.
    pub fn is_repairable(self) -> bool {
        match self {
            Self::PowerOff
            | Self::PowerCut
            | Self::Killed
            | Self::Frozen
            | Self::DbPages
            | Self::DbTruncated
            | Self::DbZeroed
            | Self::DbDeleted
            | Self::DataDeleted
            | Self::LogDeleted
            | Self::LogCut
            | Self::LogZeroed
            | Self::LogFlipped
            | Self::NospaceAlarm => true,
            // These need manual work or a decision.
            Self::NicDetached
            | Self::CableUnplugged
            | Self::DiskFull
            | Self::PeersDropped
            | Self::Isolated
            | Self::CorruptAlarm
            | Self::UnitMasked
            | Self::UnitBadFlag
            | Self::UnitOtherDataDir => false,
        }
    }

    /// Whether it can take acknowledged writes from a member's disk.
    pub fn destroys_data(self) -> bool {
        matches!(
            self,
            Self::DbPages
                | Self::DbTruncated
                | Self::DbZeroed
                | Self::DbDeleted
                | Self::DataDeleted
                | Self::LogDeleted
                | Self::LogCut
                | Self::LogZeroed
                | Self::LogFlipped
        )
    }

    fn stops_etcd(self) -> bool {
        self.destroys_data() || matches!(self, Self::UnitMasked)
    }

    /// Whether nothing can be done to the machine from inside afterwards.
    fn takes_the_machine(self) -> bool {
        matches!(self, Self::PowerOff | Self::PowerCut)
    }

    /// The shell commands that damage the data, with the data dir in `$dir`, the log's in `$wal` and the place in
    /// `$at`.
    fn script(self) -> Option<&'static str> {
        Some(match self {
            Self::DbPages => {
                r#"perl -e 'open F, "+<", $ARGV[0] or die $!; for ($p = 3; $p * 4096 < -s F; $p += 2) {
                     seek F, $p * 4096, 0; print F "\xaa" x 64 }' "$dir/member/snap/db""#
            }
            Self::DbTruncated => {
                r#"size=$(stat -c %s "$dir/member/snap/db"); truncate -s $((size / 4096 * at / 1000 * 4096)) "$dir/member/snap/db""#
            }
            Self::DbZeroed => {
                r#"pages=$(($(stat -c %s "$dir/member/snap/db") / 4096))
                   dd if=/dev/zero of="$dir/member/snap/db" bs=4096 count=8 seek=$((2 + (pages - 10) * at / 1000)) conv=notrunc status=none"#
            }
            Self::DbDeleted => r#"rm "$dir/member/snap/db""#,
            Self::DataDeleted => r#"rm -rf "$dir"/member/snap/* "$wal"/*; rm -rf "$dir"/* 2>/dev/null || :"#,
            Self::LogDeleted => r#"rm -rf "$wal"/*; rmdir "$wal" 2>/dev/null || :"#,
            // The last file of the log is allocated ahead: what is written of it ends before its zeros.
            Self::LogCut => r#"truncate -s "$place" "$log""#,
            Self::LogZeroed => {
                r#"dd if=/dev/zero of="$log" bs=1 count=$((used - place)) seek="$place" conv=notrunc status=none"#
            }
            Self::LogFlipped => {
                r#"perl -e 'open F, "+<", $ARGV[0] or die $!; seek F, $ARGV[1], 0; read F, $b, 1;
                     seek F, $ARGV[1], 0; print F $b ^ "\x10"' "$log" "$place""#
            }
            _ => return None,
        })
    }
}

/// Kills etcd, then finds the data dir and its log, wherever a layout has put them.
const STOPPED: &str = r#"
set -eu
at=$1
systemctl kill -s KILL etcd 2>/dev/null || :
systemctl stop etcd
dir=/var/lib/etcd
if [ ! -e $dir/member ] && [ -e /data/etcd/member ]; then dir=/data/etcd; fi
wal=$dir/member/wal
if [ -d /data/etcd-wal ]; then wal=/data/etcd-wal; fi
log=$(ls "$wal"/*.wal 2>/dev/null | tail -n 1) used=0 place=0
if [ -n "$log" ]; then
    used=$(perl -0777 -ne 's/\0+\z//; print length' "$log")
    place=$((used * (600 + at * 2 / 5) / 1000))
fi
"#;

impl Injection {
    /// A fault that is not drawn.
    pub fn of(machine: &str, fault: Fault) -> Self {
        Self { machine: machine.into(), fault, at: 500, started_again: true }
    }

    fn draw(rng: &mut Rng, machines: &[String]) -> Self {
        Self {
            machine: machines[rng.usize(..machines.len())].clone(),
            fault: FAULTS[rng.usize(..FAULTS.len())],
            at: rng.u32(..1000),
            started_again: rng.bool(),
        }
    }

    /// Draws one fault of the data for every machine, each of another kind: what is left decides between a restore
    /// and more.
    pub fn draw_damage(rng: &mut Rng, machines: &[String]) -> Vec<Self> {
        let mut machines = machines.to_vec();
        rng.shuffle(&mut machines);
        let damage = |machine: &String| loop {
            let fault = Self::draw(rng, std::slice::from_ref(machine));
            if fault.fault.destroys_data() {
                return fault;
            }
        };
        machines.iter().map(damage).collect()
    }

    /// Draws this many faults that can be injected one after the other: what happens to a machine that is off, or to a
    /// data dir that is gone, is no further fault.
    pub fn draw_all(rng: &mut Rng, machines: &[String], count: usize) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        while all.len() < count {
            let next = Self::draw(rng, machines);
            let fits = |earlier: &Self| {
                let again = earlier.fault == next.fault && !next.fault.destroys_data();
                earlier.machine != next.machine
                    || !(earlier.fault.takes_the_machine()
                        || again
                        || (earlier.fault.destroys_data() && next.fault.destroys_data())
                        || next.fault == Fault::UnitOtherDataDir
                        || earlier.fault == Fault::UnitOtherDataDir)
            };
            if all.iter().all(fits) {
                all.push(next);
            }
        }
        all
    }

    pub fn inject(&self, harness: &Harness) -> Result<()> {
        let machine = harness.lab.machine(&self.machine)?;
        let sh = |script: &str| machine.exec(&["sh", "-c", script, "sh", &self.at.to_string()]).map(drop);
        match self.fault {
            Fault::PowerOff => machine.power_off()?,
            Fault::PowerCut => machine.kill()?,
            Fault::NicDetached => machine.detach_nic()?,
            Fault::CableUnplugged => machine.unplug()?,
            Fault::Killed => sh("systemctl kill -s KILL etcd; systemctl stop etcd")?,
            Fault::Frozen => machine.freeze_unit("etcd")?,
            Fault::DiskFull => machine.fill_disk()?,
            Fault::PeersDropped => sh(
                "iptables -I INPUT -p tcp --dport 2380 -j DROP; iptables -I OUTPUT -p tcp --dport 2380 -j DROP",
            )?,
            Fault::Isolated => {
                for other in harness.etcd_machines().iter().filter(|other| **other != self.machine) {
                    let address = harness.lab.machine(other)?.spec().ip;
                    sh(&format!("iptables -I INPUT -s {address} -j DROP"))?;
                }
            }
            Fault::NospaceAlarm => self.raise(harness, AlarmType::Nospace)?,
            Fault::CorruptAlarm => self.raise(harness, AlarmType::Corrupt)?,
            Fault::UnitMasked => sh("systemctl stop etcd
                mv /etc/systemd/system/etcd.service /root/etcd.service.unmasked
                ln -s /dev/null /etc/systemd/system/etcd.service
                systemctl daemon-reload")?,
            Fault::UnitBadFlag => {
                sh("sed -i 's/--snapshot-count=/--snapshots-count=/' /etc/systemd/system/etcd.service
                systemctl daemon-reload; systemctl restart --no-block etcd")?;
            }
            Fault::UnitOtherDataDir => {
                sh("sed -i 's#--data-dir=/var/lib/etcd#&-new#' /etc/systemd/system/etcd.service
                systemctl daemon-reload; systemctl restart --no-block etcd")?;
            }
            data => {
                let damage = data.script().context("a fault of the data has a script")?;
                let start = if self.started_again { "systemctl start --no-block etcd" } else { ":" };
                sh(&format!("{STOPPED}{damage}\n{start}\n"))?;
            }
        }
        Ok(())
    }

    /// Raises an alarm for the machine's member through any member that answers; without a quorum there is none.
    fn raise(&self, harness: &Harness, alarm: AlarmType) -> Result<()> {
        let own = format!("https://{}:2379", harness.lab.machine(&self.machine)?.spec().ip);
        let options = super::observe::quick(harness);
        harness.lab.inside(|| {
            crate::harness::runtime().block_on(async {
                for endpoint in harness.lab.blueprint().etcd_endpoints() {
                    let Ok(client) = Client::connect(&options, &endpoint).await else { continue };
                    let Ok(list) = client.member_list(false).await else { continue };
                    let Some(member) = list.members.iter().find(|member| member.client_urls.contains(&own))
                    else {
                        continue;
                    };
                    let alarm = AlarmMember { member_id: member.id, alarm: alarm.into() };
                    if client.activate(alarm).await.is_ok() {
                        return;
                    }
                }
            });
        })
    }
}

impl Layout {
    /// Changes the layout of a member that runs, and starts it again.
    pub fn apply(self, harness: &Harness, machine: &str) -> Result<()> {
        let change = match self {
            Self::Symlink => "mv /var/lib/etcd /data/etcd; ln -s /data/etcd /var/lib/etcd",
            Self::WalSymlink => {
                "mv /var/lib/etcd/member/wal /data/etcd-wal; ln -s /data/etcd-wal /var/lib/etcd/member/wal"
            }
            Self::Mount => {
                "mv /var/lib/etcd /data/etcd; mkdir -m 0700 /var/lib/etcd
                 echo '/data/etcd /var/lib/etcd none bind 0 0' >> /etc/fstab; mount /var/lib/etcd"
            }
            Self::WalMount => {
                "mv /var/lib/etcd/member/wal /data/etcd-wal; mkdir -m 0700 /var/lib/etcd/member/wal
                 echo '/data/etcd-wal /var/lib/etcd/member/wal none bind 0 0' >> /etc/fstab
                 mount /var/lib/etcd/member/wal"
            }
            Self::WalDir => {
                "mv /var/lib/etcd/member/wal /data/etcd-wal
                 sed -i 's#--data-dir=#--wal-dir=/data/etcd-wal &#' /etc/systemd/system/etcd.service"
            }
            Self::Moved => {
                "mv /var/lib/etcd /data/etcd; mkdir -m 0700 /var/lib/etcd
                 sed -i 's#--data-dir=/var/lib/etcd#--data-dir=/data/etcd#' /etc/systemd/system/etcd.service"
            }
        };
        let script = format!(
            "set -eu; systemctl stop etcd; mkdir -p /data; {change}\nsystemctl daemon-reload; systemctl start etcd"
        );
        harness.lab.machine(machine)?.exec(&["sh", "-c", &script]).map(drop)
    }

    /// Whether lifeboat recovers a cluster with it automatically.
    pub fn is_supported(self) -> bool {
        matches!(self, Self::Symlink | Self::Mount)
    }
}
