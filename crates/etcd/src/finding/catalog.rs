//! What findings are called, how bad they are, and what to do about them.

use lifeboat_bbolt::Damage;

use super::{FindingKind, Severity};
use crate::source::Base;

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

    /// How bad it is.
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
            Self::WalReadOn { .. } | Self::OnOtherBase { .. } | Self::BaseBehindDb { .. } => {
                Severity::Warning
            }
            Self::BaseIdentity(_) if self.is_weak_identity() => Severity::Warning,
            Self::BaseIdentity(_) => Severity::Note,
            // What clients may have been told of and is not taken in.
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

    /// Whether etcd itself does not start where this was read on behind.
    pub fn stops_etcd(&self) -> bool {
        match self {
            Self::WalReadOn { .. } => true,
            // A db that is missing it makes again from a log that begins with its cluster.
            Self::OnOtherBase { base, why, .. } => match why.as_deref() {
                Some(Self::DbMissing { .. }) => *base != Base::Nothing,
                Some(_) => true,
                None => false,
            },
            _ => false,
        }
    }

    /// Whether it says that a base and the log that is read on top of it may be of two histories.
    pub fn is_weak_identity(&self) -> bool {
        matches!(self, Self::BaseIdentity(identity) if identity.is_weak())
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
            Self::AlarmRaised { .. } => "a restore drops alarms; on a live cluster fix the cause first",
            Self::CompactionPending { .. } => "nothing: a restore finishes it",
            Self::RevisionsMissing { .. } => {
                "usable, but changes are lost: take another copy or member while one survives; only what etcdctl migrate \
                 brought over from the v2 store has gaps by nature, until the first compaction"
            }
            Self::UnknownBucket { .. } | Self::UnknownKey { .. } => {
                "a damaged name hides what it names: compare with another copy or member"
            }
            Self::NotEtcd { .. } | Self::NothingToSalvage => "check that this is the file you meant",
            Self::DbMissing { .. } => {
                "check that this is the data dir you meant; a snapshot or db of the same cluster named beside it, or with \
                 --base, is read together with this log where it fits"
            }
            Self::DbBehindSnapshot { .. } => {
                "take another member, or name a snapshot of the same cluster beside it or with --base: the log is read on \
                 top of it where it has all entries between"
            }
            Self::WalEntriesMissing { .. } | Self::WalSegmentMissing { .. } => {
                "take another member, or name a newer snapshot of the same cluster beside it or with --base; else \
                 lifeboat salvage keeps the db and the log up to there"
            }
            Self::MemberRemoved { .. } => "take a member that the cluster still had",
            Self::CorruptAlarm { .. } => {
                "take a member without such an alarm; else compare the two (lifeboat inspect ONE OTHER) before you restore this one"
            }
            Self::WalMissing { .. } => {
                "name the directory of the log where etcd ran with --wal-dir (beside other sources, put a copy of it, or a \
                 link to it, at member/wal); when the log is lost, lifeboat salvage keeps what the db holds"
            }
            Self::Wal { .. } | Self::WalEntry { .. } => {
                "take another member while one survives; else lifeboat salvage keeps the db and the log up to there"
            }
            Self::WalBehindDb { .. } => "usable: the db is read as it is; compare it with another member",
            Self::BaseBehindDb { .. } => {
                "usable without these entries: compare it with another member, and with what lifeboat salvage reads of the db"
            }
            Self::WalTorn { .. } => {
                "usable: etcd drops what a crash left unfinished, and so is done here; compare it with another member"
            }
            Self::WalReadOn { .. } => {
                "usable: nothing that counts is lost; etcd itself does not start on this log"
            }
            Self::OnOtherBase { .. } => {
                "compare the result with another member or snapshot while one survives"
            }
            Self::BaseIdentity(_) => "compare the result with another member or snapshot while one survives",
            Self::BaseAhead { .. } => "take the base by itself",
            Self::BaseTooOld { .. } => "name a newer snapshot of the same cluster with --base",
            Self::BaseForeign { .. } | Self::BaseTerm { .. } | Self::BaseContent { .. } => {
                "use the db or snapshot that belongs to this log; to restore the db without the log, name it by itself"
            }
            Self::WalUncommitted(_) => {
                "read it with the data dirs of a majority of the members (lifeboat inspect A B C), which shows what is \
                 committed; where no other member has a longer log, --uncommitted takes these entries in, since clients \
                 may have been told of them. etcd started together with the other members keeps them if this member \
                 is elected; --force-new-cluster drops them"
            }
            Self::WalOnlyVoter { .. } => "usable: an only voter has committed all that is in its log",
            Self::UnsupportedRequest { .. } => {
                "start etcd of the same version with --force-new-cluster on a copy of the data dir, whose db etcd needs, and \
                 save a snapshot of it"
            }
            Self::V2Keys { .. } => {
                "the v3 store is complete without them; if something still uses them, read them from an etcd 3.5 with \
                 --enable-v2 on a copy of the data dir, and put them into the restored cluster"
            }
            Self::ReplayTooLarge => {
                "start etcd with --force-new-cluster on a copy of the data dir, whose db etcd needs, and save a snapshot of it"
            }
            Self::Bbolt(Damage::Truncated { .. }) => {
                "do not restore from it: copy it again, whole; with no other copy or member left, lifeboat salvage keeps what is there"
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
