//! The db of a restored member: what goes into it, and the pass that writes it. All members' dbs are the
//! same bytes, so one pass writes them all.

use std::collections::{BTreeMap, HashSet};
use std::io::{Seek, Write};

use fs_err::File;
use lifeboat_bbolt::{Writer, WriterOptions};

use crate::error::{Error, Result};
use crate::finding::FindingKind;
use crate::key_value::{KeyValue, is_bump_mark};
use crate::member::Member;
use crate::mvcc::{Hasher, KeepSet};
use crate::progress::Progress;
use crate::restore::RestoreOptions;
use crate::restore::fan_out::FanOut;
use crate::restore::raft_log;
use crate::revision::{BucketKey, Revision};
use crate::schema::{Bucket, cluster, meta};
use crate::source::Source;
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
    /// Keys and values of the buckets written anew.
    meta: BTreeMap<&'static str, Vec<u8>>,
    cluster: BTreeMap<&'static str, Vec<u8>>,
    members: BTreeMap<String, Vec<u8>>,
    /// Whether the new cluster starts above the source's revisions.
    bumped: bool,
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
    /// crc32c of all revisions written.
    pub(super) crc: u32,
    /// HashKV of the new cluster before its first change; differs when superseded revisions are written,
    /// which it does not count.
    pub(super) hash_kv: u32,
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
            Ok(bump) => Some(current.checked_add(bump).ok_or_else(|| too_far(current))?),
            Err(_) => return Err(too_far(current)),
        };
        let version = options.version.unwrap_or_else(|| state.written_by());
        let members = options.cluster.members();
        Ok(Self {
            keep,
            up_to,
            history: marks.is_none() || options.keep_history,
            leases: state.leases.iter().map(|lease| lease.id).collect(),
            meta: meta_bucket(state, marks, version, &members),
            cluster: cluster_bucket(state, version),
            members: members_bucket(&members)?,
            bumped: marks.is_some(),
            compact_revision: marks.or(state.compact_revision()),
            revision: marks.unwrap_or(current.min(up_to)),
            version,
        })
    }

    /// Whether a revision of the source goes in. The marks of an earlier bump do not: ours replace them.
    fn takes(&self, ordinal: u64, key: BucketKey, value: &[u8]) -> bool {
        if self.bumped && is_bump_mark(value) {
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
            match bucket {
                Bucket::Key => self.write_revisions(source, writer, &mut digest, progress)?,
                Bucket::Meta => put_all(writer, &self.meta)?,
                Bucket::Cluster => put_all(writer, &self.cluster)?,
                Bucket::Members => put_all(writer, &self.members)?,
                // Alarms and removed members belonged to the old members.
                Bucket::Alarm | Bucket::MembersRemoved => {}
                Bucket::Lease | Bucket::Auth | Bucket::AuthUsers | Bucket::AuthRoles => {
                    source.small_bucket(bucket, &mut |key, value| Ok(writer.put(key, value)?))?;
                }
            }
        }
        Ok(digest)
    }

    fn write_revisions<W: Write + Seek>(
        &self,
        source: &dyn Source,
        writer: &mut Writer<W>,
        digest: &mut Digest,
        progress: &dyn Progress,
    ) -> Result<()> {
        let [mut all, mut hash_kv] = [Hasher::new(), Hasher::new()];
        let compact_revision = self.compact_revision.unwrap_or(-1);
        let mut ordinal = 0;
        source.revisions(&mut |key, value| {
            let taken = self.takes(ordinal, key, value);
            let live = self.keep.contains(ordinal);
            let hashed = self.keep.is_hashed(ordinal, key, compact_revision);
            ordinal += 1;
            progress.advance(value.len() as u64);
            if !taken {
                return Ok(());
            }
            let revision = key.revision;
            if live {
                let kv =
                    KeyValue::decode(value).map_err(|defect| FindingKind::KeyValue { revision, defect })?;
                digest.keys_without_lease += u64::from(kv.lease != 0 && !self.leases.contains(&kv.lease));
            }
            digest.revisions += 1;
            all.add(key, value);
            if hashed {
                hash_kv.add(key, value);
            }
            let bytes = revision.to_bytes();
            match key.tombstone {
                false => writer.put(&bytes, value)?,
                true => writer.put(&[&bytes[..], b"t"].concat(), value)?,
            }
            Ok(())
        })?;
        digest.crc = all.finish();
        digest.hash_kv = hash_kv.finish();
        if ordinal != self.keep.revisions {
            // A db file that a running etcd writes to: two reads of it need not agree.
            return Err(Error::ReadBack {
                what: "revisions in the source, which changed while it was read",
                expected: self.keep.revisions.to_string(),
                found: ordinal.to_string(),
            });
        }
        Ok(())
    }
}

fn too_far(current: i64) -> Error {
    Error::Invalid(format!("--bump-revision goes past the highest revision there is (current: {current})"))
}

fn put_all<W: Write + Seek>(
    writer: &mut Writer<W>,
    pairs: &BTreeMap<impl AsRef<[u8]>, Vec<u8>>,
) -> Result<()> {
    pairs.iter().try_for_each(|(key, value)| Ok(writer.put(key.as_ref(), value)?))
}

/// The `meta` bucket of a member whose log holds the conf changes of `members` and nothing else.
///
/// With `marks`, the store is compacted at that revision and the compaction is finished: a booting server
/// takes it as its current revision too (`mvcc/kvstore.go`, `restore`), so no dummy revision is needed,
/// and it has nothing to do.
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
    put(meta::SCHEDULED_COMPACT, marks.or(state.scheduled_compact).map(mark));
    put(meta::FINISHED_COMPACT, marks.or(state.finished_compact).map(mark));
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
    members.iter().map(|member| Ok((member.id.to_string(), raft_log::member_json(member)?))).collect()
}
