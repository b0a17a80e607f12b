//! Id, severity and remedy of each finding.

use lifeboat_bbolt::Damage;

use super::{FindingKind, Severity};
use crate::origin::Base;

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
            Self::Archive { .. } => "snapshot.archive",
            Self::NotEtcd { .. } => "etcd.not-etcd",
            Self::NothingToSalvage => "etcd.nothing-to-salvage",
            Self::UnknownBucket { .. } => "etcd.unknown-bucket",
            Self::RevisionKey { .. } => "etcd.revision-key",
            Self::KeyValue { .. } => "etcd.key-value",
            Self::MetadataBucket { .. } => "etcd.small-bucket",
            Self::AlarmRaised { .. } => "etcd.alarm",
            Self::CompactionPending { .. } => "etcd.compaction-pending",
            Self::UnknownKey { .. } => "etcd.unknown-key",
            Self::RevisionsMissing { .. } => "etcd.revisions-missing",
            Self::DbMissing { .. } => "etcd.db-missing",
            Self::DbBehindSnapshot { .. } => "etcd.db-behind-snapshot",
            Self::MemberRemoved { .. } => "etcd.member-removed",
            Self::CorruptAlarm { .. } => "etcd.alarm-corrupt",
            Self::WalMissing { .. } => "wal.missing",
            Self::Wal { .. } => "wal.damaged",
            Self::WalSegmentMissing { .. } => "wal.segment-missing",
            Self::WalEntriesMissing { .. } => "wal.entries-missing",
            Self::WalBehindDb { .. } => "wal.behind-db",
            Self::WalTorn { .. } => "wal.torn",
            Self::WalUncommitted(_) => "wal.uncommitted",
            Self::WalOnlyVoter { .. } => "wal.only-voter",
            Self::WalReadOn { .. } => "wal.read-on",
            Self::WalStartMissing { .. } => "wal.start-missing",
            Self::OnOtherBase { .. } => "etcd.other-base",
            Self::BaseIdentity(_) => "etcd.base-identity",
            Self::BaseForeign { .. } => "etcd.base-foreign",
            Self::BaseAhead { .. } => "etcd.base-ahead",
            Self::BaseTooOld { .. } => "etcd.base-too-old",
            Self::BaseTerm { .. } => "etcd.base-term",
            Self::BaseContent { .. } => "etcd.base-content",
            Self::BaseBehindDb { .. } => "etcd.base-behind-db",
            Self::WalEntry { .. } => "wal.entry",
            Self::UnsupportedRequest { .. } => "wal.unsupported-request",
            Self::V2Keys { .. } => "etcd.v2-keys",
            Self::ReplayTooLarge => "wal.too-large",
        }
    }

    /// Severity of the finding.
    pub fn severity(&self) -> Severity {
        match self {
            Self::Bbolt(Damage::UnreachableUnfreed { .. } | Damage::Meta { .. }) => Severity::Warning,
            Self::AlarmRaised { .. }
            | Self::UnknownBucket { .. }
            | Self::UnknownKey { .. }
            | Self::RevisionsMissing { .. }
            | Self::V2Keys { .. } => Severity::Warning,
            Self::MemberRemoved { .. } | Self::CorruptAlarm { .. } => Severity::Warning,
            Self::WalBehindDb { .. } | Self::WalTorn { .. } => Severity::Warning,
            Self::WalReadOn { .. }
            | Self::WalStartMissing { .. }
            | Self::OnOtherBase { .. }
            | Self::BaseBehindDb { .. } => Severity::Warning,
            Self::BaseIdentity(_) if self.is_weak_identity() => Severity::Warning,
            Self::BaseIdentity(_) => Severity::Note,
            // May have been acknowledged to clients, and is not included.
            Self::WalUncommitted(uncommitted) if !uncommitted.changes.is_empty() || !uncommitted.is_known => {
                Severity::Warning
            }
            Self::NoDigest
            | Self::CompactionPending { .. }
            | Self::WalUncommitted(_)
            | Self::WalOnlyVoter { .. } => Severity::Note,
            _ => Severity::Error,
        }
    }

    /// Whether etcd itself fails to start with this damage.
    pub fn stops_etcd(&self) -> bool {
        match self {
            Self::WalReadOn { .. } | Self::WalStartMissing { .. } => true,
            // A db that is missing it makes again from a log that begins with its cluster.
            Self::OnOtherBase { base, why, .. } => match why.as_deref() {
                Some(Self::DbMissing { .. }) => *base != Base::Nothing,
                Some(_) => true,
                None => false,
            },
            _ => false,
        }
    }

    /// Whether it says that a base and the log replayed on it may belong to different histories.
    pub fn is_weak_identity(&self) -> bool {
        matches!(self, Self::BaseIdentity(identity) if identity.is_weak())
    }

    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Bbolt(Damage::Meta { .. }) => {
                "the other meta page is used: after a crash, it holds the state before the interrupted write"
            }
            Self::Bbolt(Damage::UnreachableUnfreed { .. }) => {
                "usable: only space is lost; a restore reclaims it"
            }
            Self::NoDigest => "verify it against a digest stored elsewhere, or save a snapshot instead",
            Self::AlarmRaised { .. } => "a restore drops alarms; on a live cluster fix the cause first",
            Self::CompactionPending { .. } => "no action needed: a restore finishes it",
            Self::RevisionsMissing { .. } => {
                "usable, but changes are lost: use another copy or member if one survives; only a store migrated from v2 with \
                 etcdctl migrate has such gaps by design, until its first compaction"
            }
            Self::UnknownBucket { .. } | Self::UnknownKey { .. } => {
                "the name may be damaged: compare with another copy or member"
            }
            Self::NotEtcd { .. } | Self::NothingToSalvage => "check that this is the right file",
            Self::DbMissing { .. } => {
                "check that this is the right data dir; to use its log, pass a snapshot or db of the same cluster along with it, \
                 or with --base"
            }
            Self::DbBehindSnapshot { .. } => {
                "use another member, or pass a snapshot of the same cluster along with it or with --base: the log is replayed \
                 on it if no entry in between is missing"
            }
            Self::WalEntriesMissing { .. } | Self::WalSegmentMissing { .. } => {
                "use another member, or pass a newer snapshot of the same cluster along with it or with --base; otherwise \
                 lifeboat salvage keeps the db and the log up to the gap"
            }
            Self::MemberRemoved { .. } => "use a member that is still in the cluster",
            Self::CorruptAlarm { .. } => {
                "use a member without a CORRUPT alarm; otherwise compare the two (lifeboat inspect ONE OTHER) before restoring this one"
            }
            Self::WalMissing { .. } => {
                "if etcd ran with --wal-dir, pass that directory (with several sources, copy or link it to member/wal); if the \
                 log is lost, lifeboat salvage keeps what the db holds"
            }
            Self::Wal { .. } | Self::WalEntry { .. } => {
                "use another member if one survives; otherwise lifeboat salvage keeps the db and the log up to the damage"
            }
            Self::WalBehindDb { .. } => "usable: the db is read as it is; compare it with another member",
            Self::BaseBehindDb { .. } => {
                "usable without these entries: compare it with another member, and with what lifeboat salvage reads from the db"
            }
            Self::WalTorn { .. } => {
                "usable: the incomplete write is dropped, as etcd does after a crash; compare it with another member"
            }
            Self::WalReadOn { .. } => {
                "usable: no entry that is included is lost; etcd itself does not start on this log"
            }
            Self::WalStartMissing { .. } => {
                "usable: the db has what the missing segments held; etcd itself does not start on this log"
            }
            Self::OnOtherBase { .. } => "compare the result with another member or snapshot if one survives",
            Self::BaseIdentity(_) => "compare the result with another member or snapshot if one survives",
            Self::BaseAhead { .. } => "use the base alone",
            Self::BaseTooOld { .. } => "pass a newer snapshot of the same cluster with --base",
            Self::BaseForeign { .. } | Self::BaseTerm { .. } | Self::BaseContent { .. } => {
                "use the db or snapshot that belongs to this log; to restore the db without the log, pass the db file alone"
            }
            Self::WalUncommitted(_) => {
                "inspect it together with the data dirs of a majority of the members (lifeboat inspect A B C) to see what is \
                 committed; if no other member has a longer log, --uncommitted includes these entries, which may have \
                 been acknowledged to clients. etcd started together with the other members keeps them if this member \
                 is elected; --force-new-cluster drops them"
            }
            Self::WalOnlyVoter { .. } => "usable: everything in the log of the only voter is committed",
            Self::UnsupportedRequest { .. } => {
                "start etcd of the same version with --force-new-cluster on a copy of the data dir (etcd needs its db), and \
                 save a snapshot of it"
            }
            Self::V2Keys { .. } => {
                "the v3 store is complete without them; if an application still uses them, read them with etcd 3.5 and \
                 --enable-v2 on a copy of the data dir, and write them to the restored cluster"
            }
            Self::ReplayTooLarge => {
                "start etcd with --force-new-cluster on a copy of the data dir (etcd needs its db), and save a snapshot of it"
            }
            Self::Bbolt(Damage::Truncated { .. }) => {
                "do not restore from it: copy the complete file again; if no other copy or member is left, lifeboat salvage keeps what is there"
            }
            Self::Bbolt(Damage::NoValidMeta { .. }) => {
                "check that it is an etcd snapshot, db or data dir; if it is, do not restore from it while another copy or member survives"
            }
            Self::Bbolt(_)
            | Self::DigestMismatch { .. }
            | Self::TrailingBytes { .. }
            | Self::Archive { .. }
            | Self::RevisionKey { .. }
            | Self::KeyValue { .. }
            | Self::MetadataBucket { .. } => "do not restore from it while another copy or member survives",
        }
    }
}
