//! Reads, verifies and writes etcd's state on disk, without an etcd binary.
//!
//! A [`Source`] holds the MVCC history of one etcd keyspace and its metadata buckets: a snapshot file, a db file, or a
//! data dir with its write-ahead log. [`open()`] opens one. All functions work on any source:
//!
//! - [`State`] has members, leases, alarms, auth and versions; [`inspect()`] adds counts of keys and revisions.
//! - [`get()`] reads keys at a revision; [`hash_kv()`] computes the server's HashKV.
//! - [`check()`] verifies a source, [`compare()`](compare::compare) ranks several.
//! - [`salvage()`](salvage::salvage) recovers what a damaged db or data dir still holds.
//! - [`restore()`] writes data dirs that etcd boots; [`export()`] writes a snapshot file.
//!
//! Follows etcd v3.6.16 and, where they differ, v3.4.23, v3.5.35 and v3.7.3; modules name the upstream
//! files, `docs/formats/` describes the bytes.
//!
//! ```
//! use lifeboat_etcd::{NoProgress, Query, get, hash_kv, open};
//! # use lifeboat_bbolt::{Writer, WriterOptions};
//! # use lifeboat_etcd::Revision;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("backup.db");
//! # let mut writer = Writer::new(std::fs::File::create(&path)?, WriterOptions::default())?;
//! # writer.start_bucket(b"key")?;
//! # writer.put(&Revision::main(2).to_bytes(), b"\x0a\x05/pods\x10\x02\x18\x02\x20\x01\x2a\x03pod")?;
//! # writer.start_bucket(b"meta")?;
//! # writer.put(b"consistent_index", &4u64.to_be_bytes())?;
//! # writer.finish()?;
//!
//! let source = open(&path)?;
//! let query = Query { key: b"/pods".to_vec(), prefix: true, ..Query::default() };
//! let (revision, keys) = get(source.as_ref(), &query, &NoProgress)?;
//! assert_eq!((revision, keys.len()), (2, 1));
//!
//! let hash = hash_kv(source.as_ref(), None, None, &NoProgress)?;
//! println!("HashKV at revision {}: {}", hash.hash_revision, hash.hash);
//! # Ok(())
//! # }
//! ```
//!
//! Synchronous; the only I/O is on files. The client for live clusters is a crate of its own.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::host_endian_bytes
    )
)]

mod alarm;
mod apply;
mod archive;
mod check;
pub mod compare;
mod conf_state;
mod error;
mod export;
mod files;
mod finding;
mod initial_cluster;
mod inspect;
mod key_list;
mod key_value;
mod kubernetes;
mod limits;
mod member;
pub mod mvcc;
mod newer_data;
mod origin;
mod progress;
mod proto;
mod raft_snapshot;
mod ranges;
pub mod report;
mod restore;
mod revision;
pub mod salvage;
mod schema;
mod source;
mod sources;
mod state;
mod thread;
mod version;
pub mod wal;

pub use alarm::{Alarm, AlarmKind};
pub use check::{CheckReport, check};
pub use compare::compare;
pub use error::{Error, Result};
pub use export::{Exported, export};
pub use finding::{Finding, FindingKind, Severity};
pub use initial_cluster::{InitialCluster, InitialMember};
pub use inspect::{Inspection, inspect};
pub use key_list::KeyList;
pub use key_value::{KeyValue, KeyValueDefect};
pub use kubernetes::{KubernetesIdentity, uid_of};
pub use member::{ClusterId, Member, MemberId};
pub use mvcc::{HashKv, Query, get, hash_kv};
pub use newer_data::{ContentSummary, LogExtent, NewerData, NewerLog, newer_data};
pub use origin::{Base, Identity, Integrity, Origin, Uncommitted, UncommittedChange};
pub use progress::{NoProgress, Progress};
pub use raft_snapshot::RaftSnapshot;
pub use ranges::Ranges;
pub use restore::{RestoreOptions, RestoreReport, RestoredMember, Target, restore};
pub use revision::{BucketKey, Revision};
pub use salvage::{salvage, salvage_on};
pub use schema::Bucket;
pub use source::{CommitBasis, EntryId, LogPosition, RaftPosition, Source};
pub use sources::{
    Bases, Majority, Replay, SourceDir, SourceFile, is_data_dir, is_in_use, keys_in_log, log_position,
    log_position_past_damage, majorities, open, open_file, open_on, open_with,
};
pub use state::{Auth, Lease, State};
pub use version::EtcdVersion;
