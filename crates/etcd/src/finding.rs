//! What a check found, as data: severity, place, and what to do.

use std::fmt;

use lifeboat_bbolt::Damage;

use crate::key_value::KeyValueDefect;
use crate::revision::Revision;
use crate::schema::Bucket;
use crate::state::Alarm;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing; nothing is wrong.
    Note,
    /// The source can be used, with care.
    Warning,
    /// The source is damaged.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// Something a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was found, and where.
    pub kind: FindingKind,
}

impl From<FindingKind> for Finding {
    fn from(kind: FindingKind) -> Self {
        Self { kind }
    }
}

impl Finding {
    /// How bad it is.
    pub fn severity(&self) -> Severity {
        self.kind.severity()
    }

    /// Its stable name.
    pub fn id(&self) -> &'static str {
        self.kind.id()
    }
}

/// What can be found in a source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FindingKind {
    /// The bbolt file is damaged.
    #[error("{0}")]
    Bbolt(Damage),
    /// The bytes differ from those that were saved.
    #[error("sha256 of the file is {found}, its last 32 bytes say {expected}")]
    DigestMismatch {
        /// Digest in the tail, hexadecimal.
        expected: String,
        /// Digest of the bytes before it, hexadecimal.
        found: String,
    },
    /// No digest to verify the bytes against.
    #[error("no sha256 at the end (a copy of a db file, not a snapshot): bit rot in values cannot be seen")]
    NoDigest,
    /// The size is that of neither a db nor a snapshot.
    #[error("{bytes} bytes behind the last page: a snapshot cut short, or not one")]
    TrailingBytes {
        /// How many.
        bytes: u64,
    },
    /// A bbolt file of another program.
    #[error("a bbolt file, but not etcd's: it has no bucket {bucket:?}")]
    NotEtcd {
        /// The bucket that etcd would have.
        bucket: &'static str,
    },
    /// A bucket that etcd does not have; what it holds is neither read nor restored.
    #[error("bucket {} is none of etcd's: what it holds is not read", printable(name))]
    UnknownBucket {
        /// Its name.
        name: Vec<u8>,
    },
    /// A key of the `key` bucket is not a revision.
    #[error("key {} in bucket \"key\" is not a revision", hex(key))]
    RevisionKey {
        /// The key.
        key: Vec<u8>,
    },
    /// The value of a revision is not a sound KeyValue.
    #[error("revision {revision}: {defect}")]
    KeyValue {
        /// The revision.
        revision: Revision,
        /// What is wrong.
        defect: KeyValueDefect,
    },
    /// A value in a small bucket does not decode.
    #[error("bucket {:?}: the value of key {} does not decode", bucket.name(), printable(key))]
    SmallBucket {
        /// The bucket.
        bucket: Bucket,
        /// The key.
        key: Vec<u8>,
    },
    /// An alarm is raised.
    #[error("{} alarm of member {}", alarm.kind, alarm.member)]
    AlarmRaised {
        /// The alarm.
        alarm: Alarm,
    },
    /// A compaction was asked for and has not finished.
    #[error("the compaction at revision {scheduled} has not finished; etcd resumes it when it starts")]
    CompactionPending {
        /// Its revision.
        scheduled: i64,
    },
}

impl FindingKind {
    /// Stable dotted name, for scripts and documentation.
    pub fn id(&self) -> &'static str {
        match self {
            Self::Bbolt(damage) => match damage {
                Damage::NoValidMeta { .. } => "bbolt.meta.none-valid",
                Damage::Meta { .. } => "bbolt.meta.invalid",
                Damage::Truncated { .. } => "bbolt.truncated",
                Damage::FreedAndReachable { .. } => "bbolt.freelist.reachable",
                Damage::UnreachableUnfreed { .. } => "bbolt.freelist.unreachable",
                Damage::FreedTwice { .. } => "bbolt.freelist.duplicate",
                Damage::FreedOutOfRange { .. } => "bbolt.freelist.out-of-range",
                _ => "bbolt.page",
            },
            Self::DigestMismatch { .. } => "snapshot.digest-mismatch",
            Self::NoDigest => "snapshot.no-digest",
            Self::TrailingBytes { .. } => "snapshot.trailing-bytes",
            Self::NotEtcd { .. } => "etcd.not-etcd",
            Self::UnknownBucket { .. } => "etcd.unknown-bucket",
            Self::RevisionKey { .. } => "etcd.revision-key",
            Self::KeyValue { .. } => "etcd.key-value",
            Self::SmallBucket { .. } => "etcd.small-bucket",
            Self::AlarmRaised { .. } => "etcd.alarm",
            Self::CompactionPending { .. } => "etcd.compaction-pending",
        }
    }

    /// How bad it is.
    pub fn severity(&self) -> Severity {
        match self {
            Self::Bbolt(Damage::UnreachableUnfreed { .. } | Damage::Meta { .. }) => Severity::Warning,
            Self::AlarmRaised { .. } | Self::UnknownBucket { .. } => Severity::Warning,
            Self::NoDigest | Self::CompactionPending { .. } => Severity::Note,
            _ => Severity::Error,
        }
    }

    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Bbolt(Damage::Meta { .. }) => {
                "the other meta page is used: right after a crash that is the state before a write cut short"
            }
            Self::Bbolt(Damage::UnreachableUnfreed { .. }) => {
                "usable: only space is lost; a restore drops it"
            }
            Self::NoDigest => "verify it against a digest kept elsewhere, or save a snapshot instead",
            Self::AlarmRaised { .. } => {
                "a restore drops alarms; on a live cluster find and mend the cause first"
            }
            Self::CompactionPending { .. } => "nothing: a restore finishes it",
            Self::UnknownBucket { .. } => {
                "a damaged name hides a bucket: compare with another copy or member"
            }
            Self::NotEtcd { .. } => "check that this is the file you meant",
            Self::Bbolt(_)
            | Self::DigestMismatch { .. }
            | Self::TrailingBytes { .. }
            | Self::RevisionKey { .. }
            | Self::KeyValue { .. }
            | Self::SmallBucket { .. } => "do not restore from it while another copy or member survives",
        }
    }
}

/// Bytes of a key shown at most: a damaged file may hold keys of 32 KiB.
const MOST_SHOWN: usize = 64;

fn hex(bytes: &[u8]) -> String {
    let shown = bytes.iter().take(MOST_SHOWN);
    let text = shown.fold(String::from("0x"), |text, byte| text + &format!("{byte:02x}"));
    if bytes.len() > MOST_SHOWN { format!("{text}... ({} bytes)", bytes.len()) } else { text }
}

fn printable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if bytes.len() <= MOST_SHOWN && !text.chars().any(char::is_control) => format!("{text:?}"),
        _ => hex(bytes),
    }
}
