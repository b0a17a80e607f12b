//! The raft side of a restored member: a WAL and a raft snapshot of a cluster that has done nothing but
//! take in its members, committed and applied (`etcdutl/snapshot/v3_snapshot.go`, `saveWALAndSnap`).

use std::path::Path;

use prost::Message;

use crate::error::{Error, Result};
use crate::member::Member;
use crate::proto::conf_change::ADD_NODE;
use crate::proto::{ConfChange, ConfState, Entry, HardState, WalMetadata, WalSnapshot};
use crate::raft_snapshot::RaftSnapshot;
use crate::restore::RestoreOptions;
use crate::restore::staging::Staging;
use crate::wal::{self, Record, RecordKind};

/// Raft term of all the entries.
pub(super) const TERM: u64 = 1;

const CONF_CHANGE_ENTRY: i32 = 1;

/// Writes the WAL segment and the raft snapshot of a member. `members` are ascending by id.
pub(super) fn write(stage: &mut Staging, options: &RestoreOptions, members: &[Member]) -> Result<()> {
    let records = records(stage.member_name(), options, members)?;
    stage.write_preallocated(&segment_path(stage), &wal::encode(&records), wal::SEGMENT_SIZE)?;
    let snapshot = RaftSnapshot::of_members(TERM, members);
    stage.write_file(&stage.snap_dir().join(snapshot.file_name()), &snapshot.encode())
}

/// Reads both back and compares.
pub(super) fn verify(stage: &Staging, options: &RestoreOptions) -> Result<()> {
    let members = &options.cluster.members();
    let differs = |what, path: &Path, found: &dyn std::fmt::Debug| Error::ReadBack {
        what,
        expected: format!("what was written to {}", path.display()),
        found: format!("{found:?}"),
    };
    let path = segment_path(stage);
    let expected = records(stage.member_name(), options, members)?;
    // The zeros after the records are not read: a segment is 64 MB of them.
    let mut segment = vec![0; wal::encode(&expected).len() + 8];
    lifeboat_bbolt::ReadAt::read_exact_at(fs_err::File::open(&path)?.file(), &mut segment, 0)?;
    let found = wal::decode(&segment);
    if found.as_ref() != Ok(&expected) {
        return Err(differs("write-ahead log", &path, &found));
    }
    let expected = RaftSnapshot::of_members(TERM, members);
    let path = stage.snap_dir().join(expected.file_name());
    let found = RaftSnapshot::decode(&fs_err::read(&path)?);
    if !found.as_ref().is_ok_and(|found| *found == expected) {
        return Err(differs("raft snapshot", &path, &found));
    }
    Ok(())
}

fn segment_path(stage: &Staging) -> std::path::PathBuf {
    stage.wal_dir().join(wal::segment_name(0, 0))
}

fn records(name: &str, options: &RestoreOptions, members: &[Member]) -> Result<Vec<Record>> {
    let own = members
        .iter()
        .find(|member| member.name == name)
        .ok_or_else(|| Error::Invalid(format!("no member named {name:?}")))?;
    let first = members.first().map(|member| member.id.0);
    let commit = members.len() as u64;
    let record = |kind, message: Vec<u8>| Record { kind, data: message.into() };

    let metadata = WalMetadata { node_id: Some(own.id.0), cluster_id: Some(options.cluster.id().0) };
    let start = WalSnapshot { index: Some(0), term: Some(0), conf_state: None };
    let mut records = vec![
        record(RecordKind::Metadata, metadata.encode_to_vec()),
        record(RecordKind::Snapshot, start.encode_to_vec()),
    ];
    for (index, member) in (1..).zip(members) {
        let change = ConfChange {
            id: Some(0),
            kind: Some(ADD_NODE),
            node_id: Some(member.id.0),
            context: Some(member.to_json().map_err(|error| Error::encoding(&error))?),
        };
        let entry = Entry {
            kind: Some(CONF_CHANGE_ENTRY),
            term: Some(TERM),
            index: Some(index),
            data: Some(change.encode_to_vec().into()),
        };
        records.push(record(RecordKind::Entry, entry.encode_to_vec()));
    }
    let hard_state = HardState { term: Some(TERM), vote: first, commit: Some(commit) };
    records.push(record(RecordKind::State, hard_state.encode_to_vec()));
    let voters = members.iter().map(|member| member.id.0).collect();
    let conf_state = ConfState { voters, auto_leave: Some(false), ..Default::default() };
    let applied = WalSnapshot { index: Some(commit), term: Some(TERM), conf_state: Some(conf_state) };
    records.push(record(RecordKind::Snapshot, applied.encode_to_vec()));
    Ok(records)
}
