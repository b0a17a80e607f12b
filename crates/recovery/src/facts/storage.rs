//! Where a member's data lies on its machine, and where its service says it is.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::inventory::MemberSpec;

/// Where a member's data lies on its machine, and where its service says it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// The inventory's `dataDir`.
    pub data_dir: Place,
    /// The inventory's `walDir`, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wal_dir: Option<Place>,
    /// Where Lifeboat keeps what it sends to the machine.
    pub scratch: Place,
    /// Where the service, and the process that runs, keep their data.
    pub named: Vec<NamedDirs>,
    /// Why the service does not say where, in the machine's words; empty when it does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<String>,
    /// The user the service runs as; absent for root and for static pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The config file that the unit's etcd takes all its settings from: flags beside it count for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_file: Option<PathBuf>,
    /// The etcd program of a unit, and the first line of its `--version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<Program>,
}

/// A directory, resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// The path as it is written in the inventory.
    pub path: PathBuf,
    /// Where it leads, with symbolic links resolved.
    pub real: PathBuf,
    /// What is there.
    pub kind: PlaceKind,
    /// Whether a file system is mounted at it.
    pub is_mount: bool,
    /// Mounts and symbolic links below it that its content goes through.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub below: Vec<PathBuf>,
    /// `user:group`, where it is a directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Permission bits in octal, where it is a directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Bytes of its content, where they could be counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Bytes of the db in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub db_bytes: Option<u64>,
    /// The mount point of the file system that holds it, or would.
    pub mount: PathBuf,
    /// Bytes that can still be written there.
    pub available: u64,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PlaceKind {
    /// A directory is there.
    Directory,
    /// Nothing is there.
    Absent,
    /// Something that is not a directory.
    Other,
    /// This symbolic link on the way leads nowhere: its disk may not be mounted.
    Dangling(PathBuf),
    /// `/etc/fstab` mounts a file system here that holds it, and that is not mounted.
    Unmounted(PathBuf),
    /// It cannot be looked at, and why.
    Unreadable(String),
}

/// Directories that a service or process names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NamedDirs {
    /// Who: a unit, a manifest, a process id.
    pub by: String,
    /// Its data dir on the machine, as written.
    pub data_dir: PathBuf,
    /// The same with symbolic links resolved.
    pub real: PathBuf,
    /// Its `--wal-dir`, resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wal_dir: Option<PathBuf>,
    /// Whether there is a `member` in the data dir; asked where it is not the inventory's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holds_member: Option<bool>,
}

/// An etcd program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Program {
    /// Where it is.
    pub path: PathBuf,
    /// The first line of what `--version` prints.
    pub version: String,
    /// A flag of its unit that it does not know, with which it does not start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown_flag: Option<String>,
}

/// The directories a member's data is read from and written to, with symbolic links resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DataDirs {
    /// The data dir.
    pub data: PathBuf,
    /// The WAL dir, where it is not in the data dir.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wal: Option<PathBuf>,
}

impl Storage {
    /// Where the service keeps its data, if that is somewhere else than the inventory says, in one sentence.
    pub fn conflict(&self, member: &str, spec: &MemberSpec) -> Option<String> {
        // Where a link leads nowhere, only what is written can be compared.
        let is_dangling = matches!(self.data_dir.kind, PlaceKind::Dangling(_));
        let data = |named: &&NamedDirs| {
            named.real != self.data_dir.real && !(is_dangling && named.data_dir == self.data_dir.path)
        };
        if let Some(named) = self.named.iter().find(data) {
            let (theirs, ours) = (shown(&named.data_dir, &named.real), spec.data_dir.display());
            return Some(format!(
                "{} keeps {member}'s data in {theirs}; the inventory says {ours}",
                named.by
            ));
        }
        let wal = self.wal_dir.as_ref().map(|wal| &wal.real);
        let inside = self.data_dir.real.join("member/wal");
        let differs = |named: &&NamedDirs| {
            named.wal_dir.as_ref().filter(|wal| **wal != inside) != wal.filter(|wal| **wal != inside)
        };
        let named = self.named.iter().find(differs)?;
        let theirs = named.wal_dir.as_ref().map_or_else(|| inside.clone(), PathBuf::clone);
        let ours = spec
            .wal_dir
            .as_ref()
            .map_or_else(|| inside.display().to_string(), |wal| wal.display().to_string());
        Some(format!("{} keeps {member}'s WAL in {}; the inventory says {ours}", named.by, theirs.display()))
    }

    /// What is known to keep the member's data out of reach, in one sentence. An etcd that is started meanwhile would begin
    /// with nothing.
    pub fn out_of_reach(&self, member: &str) -> Option<String> {
        let places = [Some(&self.data_dir), self.wal_dir.as_ref()];
        let why = places.into_iter().flatten().find_map(Place::out_of_reach)?;
        Some(format!("{member}'s data dir: {why}"))
    }

    /// Where a service would begin with nothing, since it names another data dir than the inventory and no member is seen
    /// there, in one sentence.
    pub fn begins_empty(&self) -> Option<String> {
        let is_empty =
            |named: &&NamedDirs| named.real != self.data_dir.real && named.holds_member != Some(true);
        let named = self.named.iter().find(is_empty)?;
        Some(format!("{} would start on {}, which has no member data", named.by, named.data_dir.display()))
    }

    /// A flag of the unit that keeps its etcd from starting, in one sentence.
    pub fn unknown_flag(&self) -> Option<String> {
        let Program { path, version, unknown_flag } = self.program.as_ref()?;
        let version = version.trim_start_matches("etcd Version:").trim();
        let flag = unknown_flag.as_ref()?;
        Some(format!(
            "{} {version} does not know the flag {flag}: correct the unit, then `systemctl daemon-reload`",
            path.display()
        ))
    }

    /// Why it is not known where the service keeps its data.
    pub fn unnamed(&self) -> Option<String> {
        self.named.is_empty().then(|| {
            let why = self.unread.join("; ");
            format!(
                "its service does not say where its data is{}",
                if why.is_empty() { why } else { format!(": {why}") }
            )
        })
    }

    /// The directories a member's data can be moved aside from and written to.
    ///
    /// # Errors
    /// What stands in the way, one sentence each.
    pub fn dirs(&self, member: &str, spec: &MemberSpec) -> Result<DataDirs, Vec<String>> {
        let mut wrong: Vec<String> = self.conflict(member, spec).into_iter().collect();
        wrong.extend(self.unnamed().map(|why| format!("{member}: {why}")));
        wrong.extend(self.data_dir.unfit(member));
        if let Some(wal) = &self.wal_dir {
            wrong.extend(wal.unfit(member));
            if wal.is_mount {
                wrong.push(format!(
                    "{member}: its WAL dir {} is a mount point, which cannot be renamed: give etcd a directory below it",
                    wal.real.display()
                ));
            }
            if wal.real.starts_with(&self.data_dir.real) {
                wrong.push(format!(
                    "{member}: its WAL dir {} lies in its data dir {}",
                    wal.real.display(),
                    self.data_dir.real.display()
                ));
            }
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        Ok(DataDirs {
            data: self.data_dir.real.clone(),
            wal: self.wal_dir.as_ref().map(|wal| wal.real.clone()),
        })
    }

    /// The file systems without room for so many bytes in the data dir, the WAL dir and the scratch directory.
    pub fn lacks_room(&self, member: &str, data: u64, wal: u64, scratch: u64) -> Vec<String> {
        let places: Vec<(&Place, u64)> = [(&self.data_dir, data), (&self.scratch, scratch)]
            .into_iter()
            .chain([(self.wal_dir.as_ref().unwrap_or(&self.data_dir), wal)])
            .collect();
        let mounts: BTreeSet<&Path> = places.iter().map(|(place, _)| place.mount.as_path()).collect();
        let short = mounts.into_iter().filter_map(|mount| {
            let on = || places.iter().filter(|(place, _)| place.mount == mount);
            let needed: u64 = on().map(|(_, bytes)| *bytes).fold(0, u64::saturating_add);
            let available = on().map(|(place, _)| place.available).min()?;
            (available < needed).then(|| {
                format!(
                    "{member}: {} has {} MB left and {} MB are needed",
                    mount.display(),
                    available / 1_000_000,
                    needed.div_ceil(1_000_000)
                )
            })
        });
        short.collect()
    }
}

impl Place {
    /// The link or mount that is missing on the way to what lies here, in one sentence.
    pub fn out_of_reach(&self) -> Option<String> {
        match &self.kind {
            PlaceKind::Dangling(link) => Some(format!(
                "{} is a symbolic link to {}, which does not exist",
                link.display(),
                self.real.display()
            )),
            PlaceKind::Unmounted(at) => Some(format!(
                "/etc/fstab mounts {}, which holds {}, and it is not mounted",
                at.display(),
                shown(&self.path, &self.real)
            )),
            _ => None,
        }
    }

    fn unfit(&self, member: &str) -> Vec<String> {
        let path = shown(&self.path, &self.real);
        let out_of_reach = self.out_of_reach().map(|why| format!("{member}: {why}: mount its disk first"));
        let mut wrong: Vec<String> = out_of_reach.into_iter().collect();
        match &self.kind {
            PlaceKind::Other => wrong.push(format!("{member}: {path} is not a directory")),
            PlaceKind::Unreadable(why) => wrong.push(format!("{member}: {path} cannot be read: {why}")),
            _ => {}
        }
        wrong.extend(self.below.iter().map(|below| {
            format!(
                "{member}: {} is a mount point or symbolic link inside {path}: Lifeboat does not move or restore such a \
                 data dir; give etcd --wal-dir for a disk of its own, or restore this member by hand (lifeboat restore)",
                below.display()
            )
        }));
        wrong
    }
}

/// `/var/lib/etcd (-> /data/etcd)`.
pub(crate) fn shown(path: &Path, real: &Path) -> String {
    let same = path.components().eq(real.components());
    if same { path.display().to_string() } else { format!("{} (-> {})", path.display(), real.display()) }
}
