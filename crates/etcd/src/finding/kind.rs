//! Kinds of findings, with their places.

use std::path::PathBuf;

use lifeboat_bbolt::Damage;

use super::WalDefect;
use crate::alarm::Alarm;
use crate::key_value::KeyValueDefect;
use crate::limits::{MAX_COMPARED, MAX_REPLAY_BYTES};
use crate::member::{ClusterId, MemberId};
use crate::origin::{Base, Identity, Uncommitted};
use crate::revision::Revision;
use crate::schema::Bucket;

/// Kind and place of a finding in a source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FindingKind {
    /// The bbolt file is damaged.
    #[error("{0}")]
    Bbolt(Damage),
    /// The bytes differ from those that were saved.
    #[error("sha256 mismatch: computed {found}, the file's last 32 bytes say {expected}")]
    DigestMismatch {
        /// Digest in the tail, hexadecimal.
        expected: String,
        /// Digest of the bytes before it, hexadecimal.
        found: String,
    },
    /// No digest to verify the bytes against.
    #[error(
        "no sha256 at the end (a copy of a db file, not a snapshot): bit rot in values cannot be detected"
    )]
    NoDigest,
    /// The size is that of neither a db nor a snapshot.
    #[error("{bytes} bytes after the last page: a truncated snapshot, or not a snapshot")]
    TrailingBytes {
        /// How many.
        bytes: u64,
    },
    /// A compressed file or an archive whose bytes do not decode.
    #[error("cannot be unpacked: {defect}")]
    Archive {
        /// What its decoder says.
        defect: String,
    },
    /// A bbolt file of another program.
    #[error("a bbolt file, but not an etcd db: no bucket {bucket:?}")]
    NotEtcd {
        /// The bucket that etcd would have.
        bucket: &'static str,
    },
    /// A file holds no etcd data.
    #[error("no etcd data found: no page holds a root or a key revision")]
    NothingToSalvage,
    /// A bucket that etcd does not have; what it holds is neither read nor restored.
    #[error("bucket {} is not an etcd bucket; it is not read", printable(name))]
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
    /// The value of a revision is not a valid KeyValue.
    #[error("revision {revision}: {defect}")]
    KeyValue {
        /// The revision.
        revision: Revision,
        /// What is wrong.
        defect: KeyValueDefect,
    },
    /// A value in a metadata bucket does not decode.
    #[error("bucket {:?}: the value of key {} does not decode", bucket.name(), printable(key))]
    MetadataBucket {
        /// The bucket.
        bucket: Bucket,
        /// The key.
        key: Vec<u8>,
    },
    /// A key of a metadata bucket that etcd does not have there.
    #[error("bucket {:?}: key {} is not an etcd key", bucket.name(), printable(key))]
    UnknownKey {
        /// The bucket.
        bucket: Bucket,
        /// The key.
        key: Vec<u8>,
    },
    /// Revisions above the compact one do not follow each other.
    #[error("{} missing in whole or in part: no revision above the compact revision is ever removed", lost(*first, *last, *ranges))]
    RevisionsMissing {
        /// Main of the first.
        first: i64,
        /// Main of the last before the next that is there.
        last: i64,
        /// How many such ranges there are.
        ranges: u64,
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
    /// A data dir without a db.
    #[error("no db at {}", path.display())]
    DbMissing {
        /// Where it would be.
        path: PathBuf,
    },
    /// The db lacks what a raft snapshot stood for, and the db that came with the snapshot is not there.
    #[error(
        "the db is at raft index {consistent_index}, behind the raft snapshot at {snapshot} that the log continues from, \
         and {snapshot:016x}.snap.db is missing"
    )]
    DbBehindSnapshot {
        /// Index of the last entry the db has.
        consistent_index: u64,
        /// Index the log continues from.
        snapshot: u64,
    },
    /// The member was removed from its cluster.
    #[error("member {member} was removed from its cluster: it lacks everything written since")]
    MemberRemoved {
        /// Its id.
        member: MemberId,
    },
    /// A CORRUPT alarm is raised for the member itself, or for one that etcd could not tell.
    #[error("a CORRUPT alarm is raised for member {member}{}: etcd found that members hold different data",
        if member.0 == 0 { " (unknown)" } else { "" })]
    CorruptAlarm {
        /// Its id; 0 where etcd could not tell which member is wrong.
        member: MemberId,
    },
    /// A data dir without a log.
    #[error("no write-ahead log in {}", dir.display())]
    WalMissing {
        /// Where it would be.
        dir: PathBuf,
    },
    /// A segment of the log is damaged.
    #[error("log segment {segment}: {defect}")]
    Wal {
        /// Name of the segment.
        segment: String,
        /// What is wrong.
        defect: WalDefect,
    },
    /// The segments do not follow each other.
    #[error("log segment {sequence:016x} is missing")]
    WalSegmentMissing {
        /// Its sequence number.
        sequence: u64,
    },
    /// The log lacks entries that are needed to bring the db up to its commit index.
    #[error("the log is missing {}, which the db does not have either", span(*first, *last))]
    WalEntriesMissing {
        /// Index of the first.
        first: u64,
        /// Index of the last.
        last: u64,
    },
    /// The log ends before the db does.
    #[error("the log ends at raft index {last}, the db at {consistent_index}: the end of the log is lost")]
    WalBehindDb {
        /// Index of the last entry in the log.
        last: u64,
        /// Index of the last entry the db has.
        consistent_index: u64,
    },
    /// The log on another base ends before what the data dir's own db has applied.
    #[error(
        "the log ends at raft index {last}, but the data dir's own db has applied entries up to {applied}: those in \
         between are only in that db"
    )]
    BaseBehindDb {
        /// Index of the last entry that is read.
        last: u64,
        /// Index of the last entry that the own db has.
        applied: u64,
    },
    /// The end of the log was not written whole.
    #[error("log segment {segment}: incomplete write at offset {offset}")]
    WalTorn {
        /// Name of the segment.
        segment: String,
        /// Byte offset in it.
        offset: u64,
    },
    /// Entries that are not known to be committed.
    #[error(
        "{} of the log: not known to be committed, and not included; {}", span(.0.first, .0.last), changes(.0)
    )]
    WalUncommitted(Uncommitted),
    /// Entries above the commit index of a member that is the only voter.
    #[error(
        "{} of the log: above the commit index, and included because this member is the only voter. etcd started on \
         this data dir serves them; with --force-new-cluster, it drops them", span(*first, *last)
    )]
    WalOnlyVoter {
        /// Index of the first.
        first: u64,
        /// Index of the last.
        last: u64,
    },
    /// Bad records in the log that are not needed.
    #[error("{first}{}: skipped; the rolling crc proves the records after it", others(*count))]
    WalReadOn {
        /// The first of them.
        first: Box<FindingKind>,
        /// How many there are.
        count: usize,
    },
    /// The first segments of the log are missing, and what they hold is in the db.
    #[error(
        "the log begins at entry {first}, and etcd starts from the raft snapshot at {snapshot}: earlier segments are missing"
    )]
    WalStartMissing {
        /// Index that the first segment begins with.
        first: u64,
        /// Index of the raft snapshot that etcd starts from; 0 without a snapshot.
        snapshot: u64,
    },
    /// The log is replayed on another base than the own db.
    #[error("read as {base} at raft {at} + the log to {replayed_to}{}", not_own(why.as_deref()))]
    OnOtherBase {
        /// What it is read on top of.
        base: Base,
        /// Index of the last entry that the base has.
        at: u64,
        /// Index of the last entry that is included.
        replayed_to: u64,
        /// Why the own db is not used; `None` where a person chose the base.
        why: Option<Box<FindingKind>>,
    },
    /// Evidence that a base and a log belong together.
    #[error("{}: {_0}", evidence(_0))]
    BaseIdentity(Identity),
    /// A db and a log are of different clusters.
    #[error("the log belongs to member {member} of cluster {cluster}, which is not in the db")]
    BaseForeign {
        /// The member whose log it is.
        member: MemberId,
        /// Its cluster.
        cluster: ClusterId,
    },
    /// A log that ends before the base does adds nothing to it.
    #[error("the log ends at raft {last}, before this base (raft {index}): it adds nothing")]
    BaseAhead {
        /// Index of the last entry that the base has.
        index: u64,
        /// Index of the last entry in the log.
        last: u64,
    },
    /// A log that starts after the end of the base.
    #[error(
        "this base ends at raft {index}, and the log starts after raft {after}: the entries in between are missing"
    )]
    BaseTooOld {
        /// Index of the last entry that the base has.
        index: u64,
        /// Index of the entry after which the log starts.
        after: u64,
    },
    /// A db and a log are of different histories of one cluster.
    #[error(
        "entry {index} has term {log} in the log but term {base} in the db: they belong to different histories"
    )]
    BaseTerm {
        /// Index of the last entry that the db has.
        index: u64,
        /// Its term, as the db has it.
        base: u64,
        /// Its term in the log.
        log: u64,
    },
    /// A db lacks what an entry did that it claims to have.
    #[error(
        "the db claims all entries up to raft {claimed}, but lacks what log entry {index} did ({change})"
    )]
    BaseContent {
        /// Index of the last entry that the db claims to have.
        claimed: u64,
        /// Index of the entry that it lacks.
        index: u64,
        /// What that entry did.
        change: String,
    },
    /// An entry of the log is not what etcd writes.
    #[error("log entry {index}: {defect}")]
    WalEntry {
        /// Its raft index.
        index: u64,
        /// What is wrong.
        defect: &'static str,
    },
    /// An entry of the log that is not applied here.
    #[error("log entry {index}: {request} cannot be replayed")]
    UnsupportedRequest {
        /// Its raft index.
        index: u64,
        /// The request, by etcd's name.
        request: String,
    },
    /// Keys of the v2 API, which have a store of their own beside the v3 one.
    #[error(
        "keys of the v2 API are not read and not restored ({stored} in the raft snapshot, {changes} changes in the log)"
    )]
    V2Keys {
        /// Keys in the raft snapshot.
        stored: u64,
        /// Requests in the log after it that may change some.
        changes: u64,
    },
    /// The log adds more to the db, or compares more, than is done in memory.
    #[error(
        "the log is too large to replay: the limits are {MAX_REPLAY_BYTES} bytes in memory and {MAX_COMPARED} compared \
         keys"
    )]
    ReplayTooLarge,
}

/// Bytes of a key shown at most: a damaged file may hold keys of 32 KiB.
const MAX_SHOWN: usize = 64;

/// Changes shown at most in one line.
const MAX_SHOWN_CHANGES: usize = 5;

fn evidence(identity: &Identity) -> &'static str {
    match identity.is_weak() {
        true => "little shows that the base and the log are of one history",
        false => "the base and the log are of one history",
    }
}

fn span(first: u64, last: u64) -> String {
    if first == last { format!("entry {first}") } else { format!("entries {first} to {last}") }
}

fn changes(uncommitted: &Uncommitted) -> String {
    let Uncommitted { changes, further, is_known, .. } = uncommitted;
    if !is_known {
        return "the effect cannot be computed".into();
    }
    if changes.is_empty() {
        return "no key is changed".into();
    }
    let shown = changes.iter().take(MAX_SHOWN_CHANGES).map(|change| {
        let verb = if change.deleted { "delete" } else { "put" };
        format!("{verb} {} (revision {})", printable(&change.key), change.revision)
    });
    let mut text = shown.collect::<Vec<_>>().join(", ");
    let more = changes.len().saturating_sub(MAX_SHOWN_CHANGES) as u64 + further;
    if more > 0 {
        text += &format!(", and {more} more changes");
    }
    text
}

fn others(count: usize) -> String {
    if count > 1 { format!(", and {} more bad records", count - 1) } else { String::new() }
}

fn not_own(why: Option<&FindingKind>) -> String {
    why.map_or_else(String::new, |why| format!(", because the data dir's own db cannot be used ({why})"))
}

fn lost(first: i64, last: i64, ranges: u64) -> String {
    let one =
        if first == last { format!("revision {first}") } else { format!("revisions {first} to {last}") };
    match ranges {
        0 | 1 if first == last => format!("{one} is"),
        0 | 1 => format!("{one} are"),
        _ => format!("{one} and others, in {ranges} ranges, are"),
    }
}

fn hex(bytes: &[u8]) -> String {
    let shown = bytes.iter().take(MAX_SHOWN);
    let text = shown.fold(String::from("0x"), |text, byte| text + &format!("{byte:02x}"));
    if bytes.len() > MAX_SHOWN { format!("{text}... ({} bytes)", bytes.len()) } else { text }
}

/// Bytes as text; in hexadecimal where they are long or none.
pub(crate) fn printable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if bytes.len() <= MAX_SHOWN && !text.chars().any(char::is_control) => format!("{text:?}"),
        _ => hex(bytes),
    }
}
