//! The db of a restored member: what goes into it, and the pass that writes it. All members' dbs are the
//! same bytes, so one pass writes them all.

use std::collections::{BTreeMap, HashSet};
use std::io::{Seek, Write};

use fs_err::File;
use lifeboat_bbolt::{Writer, WriterOptions};

use crate::error::{Error, Result};
use crate::finding::FindingKind;
use crate::key_value::{BUMP_MARK, KeyValue, is_bump_mark};
use crate::member::Member;
use crate::mvcc::{HashKv, Hashed, Hasher, KeepSet};
use crate::progress::Progress;
use crate::restore::RestoreOptions;
use crate::restore::fan_out::FanOut;
use crate::restore::raft_log;
use crate::restore::verify::DbCrc;
use crate::revision::{BucketKey, Revision};
use crate::schema::{Bucket, cluster, meta};
use crate::source::{Source, VisitPair};
use crate::state::State;
use crate::version::EtcdVersion;

/// What the new db will hold.
pub(super) struct Contents<'a> {
    keep: &'a KeepSet,
    /// Newest revision to take from the source.
    up_to: i64,
    /// Whether superseded revisions are written too.
    history: bool,
    leases: HashSet<i64>,
    /// Keys and values of the buckets rewritten.
    meta: BTreeMap<&'static str, Vec<u8>>,
    cluster: BTreeMap<&'static str, Vec<u8>>,
    members: BTreeMap<String, Vec<u8>>,
    /// The revision that the new cluster is bumped to, if it starts above the source's revisions.
    bumped_to: Option<i64>,
    /// The revision up to which the new cluster answers "compacted"; `None` when it was never compacted.
    pub(super) compact_revision: Option<i64>,
    /// The revision the new cluster starts at.
    pub(super) revision: i64,
    pub(super) version: EtcdVersion,
}

/// What was written, to compare with what is read back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Digest {
    pub(super) revisions: u64,
    /// Marks of a bump, beside these.
    pub(super) marks: u64,
    /// Of everything written.
    pub(super) crc: DbCrc,
    /// HashKV of the new cluster before its first change; differs when superseded revisions are written,
    /// which it does not count.
    pub(super) hash_kv: HashKv,
    /// Bytes of the file.
    pub(super) bytes: u64,
    pub(super) keys_without_lease: u64,
}

impl<'a> Contents<'a> {
    /// Decides what goes in.
    pub(super) fn plan(state: &State, keep: &'a KeepSet, options: &RestoreOptions) -> Result<Self> {
        let current = state.current_revision(keep.newest);
        if let Some(revision) = options.revision {
            if revision > current {
                return Err(Error::Future { revision, current });
            }
            if let Some(oldest) = state.compact_revision().filter(|oldest| revision < *oldest) {
                return Err(Error::Compacted { revision, oldest });
            }
        }
        let up_to = options.revision.unwrap_or(i64::MAX);
        let marks = match i64::try_from(options.bump_revision) {
            Ok(0) => None,
            Ok(bump) => Some(current.checked_add(bump).ok_or(Error::BumpOverflow { current })?),
            Err(_) => return Err(Error::BumpOverflow { current }),
        };
        let version = match options.version {
            Some(version) => version,
            None => state.written_by().ok_or_else(|| unknown_version(state))?,
        };
        let members = options.cluster.members();
        Ok(Self {
            keep,
            up_to,
            history: marks.is_none() || options.keep_history,
            leases: state.leases.iter().map(|lease| lease.id).collect(),
            meta: meta_bucket(state, marks, version, &members),
            cluster: cluster_bucket(state, version),
            members: members_bucket(&members)?,
            bumped_to: marks,
            compact_revision: marks.or(state.compact_revision()),
            revision: marks.unwrap_or(current.min(up_to)),
            version,
        })
    }

    /// Whether a revision of the source goes in. The mark of an earlier bump does not: ours supersedes it.
    fn takes(&self, ordinal: u64, key: BucketKey, value: &[u8]) -> bool {
        if self.bumped_to.is_some() && is_bump_mark(value) {
            return false;
        }
        if self.history { key.revision.main <= self.up_to } else { self.keep.contains(ordinal) }
    }

    /// Writes the db into every file at once. Nothing is promised about the disk yet.
    pub(super) fn write(
        &self,
        source: &dyn Source,
        files: &[File],
        progress: &dyn Progress,
    ) -> Result<Digest> {
        progress.start("write", Some(self.keep.bytes));
        std::thread::scope(|scope| {
            let mut writer = Writer::new(FanOut::start(scope, files), WriterOptions::default())?;
            let mut digest = self.write_buckets(source, &mut writer, progress)?;
            let (out, written) = writer.finish()?;
            out.finish()?;
            digest.bytes = written.bytes;
            Ok(digest)
        })
    }

    fn write_buckets<W: Write + Seek>(
        &self,
        source: &dyn Source,
        writer: &mut Writer<W>,
        progress: &dyn Progress,
    ) -> Result<Digest> {
        let mut digest = Digest::default();
        for bucket in Bucket::ALL {
            writer.start_bucket(bucket.name().as_bytes())?;
            let mut put = |key: &[u8], value: &[u8]| -> Result<()> {
                digest.crc.add(bucket, key, value);
                Ok(writer.put(key, value)?)
            };
            match bucket {
                Bucket::Meta => put_all(&self.meta, &mut put)?,
                Bucket::Cluster => put_all(&self.cluster, &mut put)?,
                Bucket::Members => put_all(&self.members, &mut put)?,
                // Alarms and removed members belonged to the old members.
                Bucket::Alarm | Bucket::MembersRemoved => {}
                Bucket::Lease | Bucket::Auth | Bucket::AuthUsers | Bucket::AuthRoles => {
                    source.metadata_bucket(bucket, &mut put)?;
                }
                Bucket::Key => {
                    let written = self.write_revisions(source, &mut put, progress)?;
                    digest = Digest { crc: digest.crc, ..written };
                }
            }
        }
        Ok(digest)
    }

    fn write_revisions(
        &self,
        source: &dyn Source,
        put: VisitPair<'_>,
        progress: &dyn Progress,
    ) -> Result<Digest> {
        let mut digest = Digest::default();
        let compact_revision = self.compact_revision.unwrap_or(-1);
        let hashed = Hashed::new(self.keep, self.revision, compact_revision);
        let mut hash_kv =
            Hasher::new(if self.bumped_to.is_some() { hashed.with_bump_mark() } else { hashed });
        let mut ordinal = 0;
        source.revisions(&mut |key, value| {
            let taken = self.takes(ordinal, key, value);
            let live = self.keep.contains(ordinal);
            ordinal += 1;
            progress.advance(value.len() as u64);
            if !taken {
                hash_kv.skip();
                return Ok(());
            }
            if live {
                let kv = KeyValue::decode(value)
                    .map_err(|defect| FindingKind::KeyValue { revision: key.revision, defect })?;
                digest.keys_without_lease += u64::from(kv.lease != 0 && !self.leases.contains(&kv.lease));
            }
            digest.revisions += 1;
            hash_kv.add(key, value);
            put(&key.to_bytes(), value)
        })?;
        if let Some(main) = self.bumped_to {
            let mark = BucketKey { revision: Revision::main(main), tombstone: false };
            hash_kv.add_bump_mark(mark);
            digest.marks += 1;
            put(&mark.to_bytes(), BUMP_MARK)?;
        }
        digest.hash_kv = hash_kv.finish();
        // The second read must have met what the first one counted.
        if ordinal == self.keep.revisions { Ok(digest) } else { Err(Error::Changed) }
    }
}

/// Whether an undecodable value is of those that a restore takes over or acts on. The rest belongs to the
/// old members, and is rewritten or not at all.
pub(super) fn carries_over(kind: &FindingKind) -> bool {
    let FindingKind::MetadataBucket { bucket, key } = kind else { return true };
    match bucket {
        Bucket::Alarm | Bucket::Members | Bucket::MembersRemoved => false,
        Bucket::Meta => key != meta::CONF_STATE.as_bytes(),
        Bucket::Cluster => key != cluster::DOWNGRADE.as_bytes(),
        _ => true,
    }
}

fn put_all(pairs: &BTreeMap<impl AsRef<[u8]>, Vec<u8>>, put: VisitPair<'_>) -> Result<()> {
    pairs.iter().try_for_each(|(key, value)| put(key.as_ref(), value))
}

fn unknown_version(state: &State) -> Error {
    let stored = state.storage_version.as_deref().or(state.cluster_version.as_deref()).unwrap_or_default();
    Error::UnknownVersion { stored: stored.into() }
}

/// The `meta` bucket of a member whose log holds the conf changes of `members` and nothing else.
///
/// With `marks`, the store is compacted at that revision and the compaction is finished, so that a server has nothing to do
/// when it starts. It does not resume a compaction of the source either: the next compaction deletes what that one would
/// have, and cannot lose the keys that this one's revision deleted and put again ([`KeepRule`](crate::mvcc::KeepRule)).
fn meta_bucket(
    state: &State,
    marks: Option<i64>,
    version: EtcdVersion,
    members: &[Member],
) -> BTreeMap<&'static str, Vec<u8>> {
    let mut pairs = BTreeMap::new();
    let mut put = |key, value: Option<Vec<u8>>| {
        if let Some(value) = value {
            pairs.insert(key, value);
        }
    };
    let mark = |revision: i64| Revision::main(revision).to_bytes().to_vec();
    put(meta::CONSISTENT_INDEX, Some((members.len() as u64).to_be_bytes().to_vec()));
    let compact_revision = marks.or(state.compact_revision()).map(mark);
    put(meta::SCHEDULED_COMPACT, compact_revision.clone());
    put(meta::FINISHED_COMPACT, compact_revision);
    if version >= EtcdVersion::V3_5 {
        let voters: Vec<_> = members.iter().map(|member| member.id.0).collect();
        let conf_state = serde_json::json!({ "voters": voters, "auto_leave": false });
        put(meta::CONF_STATE, Some(conf_state.to_string().into_bytes()));
        put(meta::TERM, Some(raft_log::TERM.to_be_bytes().to_vec()));
    }
    if version >= EtcdVersion::V3_6 {
        put(meta::STORAGE_VERSION, at_most(state.storage_version.as_deref(), version));
    }
    pairs
}

/// The `cluster` bucket: the version agreed on, lowered to the one that will run. A server refuses to
/// start below it (`api/membership/downgrade.go`, `mustDetectDowngrade`). A downgrade under way is
/// dropped.
fn cluster_bucket(state: &State, version: EtcdVersion) -> BTreeMap<&'static str, Vec<u8>> {
    at_most(state.cluster_version.as_deref(), version)
        .map(|value| (cluster::CLUSTER_VERSION, value))
        .into_iter()
        .collect()
}

/// A stored version such as `3.6.0`, but not above `version`.
fn at_most(stored: Option<&str>, version: EtcdVersion) -> Option<Vec<u8>> {
    let stored = stored?;
    Some(if version.is_below(stored) { version.stored().into_bytes() } else { stored.as_bytes().to_vec() })
}

fn members_bucket(members: &[Member]) -> Result<BTreeMap<String, Vec<u8>>> {
    members
        .iter()
        .map(|member| Ok((member.id.to_string(), member.to_json().map_err(|error| Error::encoding(&error))?)))
        .collect()
}
