//! The raft snapshot file, `.snap` (`server/etcdserver/api/snap/snapshotter.go`).
//!
//! Named `%016x-%016x.snap` (term, index); the bytes are a `snappb.Snapshot { 1: crc32c of data, 2: data }`
//! whose data is a `raftpb.Snapshot { 1: v2 store as JSON, 2: { 1: conf state, 2: index, 3: term } }`. etcd
//! up to 3.5 takes the members from the v2 store in it, 3.6 loads it and takes them from the database,
//! 3.7 no longer reads it.

use std::path::{Path, PathBuf};

use prost::Message;
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::member::Member;
use crate::proto::{ConfState, RaftSnapshot as RaftSnapshotMessage, SnapFile, SnapshotMetadata};

/// A file larger than this is not read: the v2 store has the members, and seldom more.
const MAX_FILE_BYTES: u64 = 512 << 20;

/// A raft snapshot of membership alone: the keyspace lies in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaftSnapshot {
    /// Raft term of the last entry it covers.
    pub term: u64,
    /// Index of the last entry it covers.
    pub index: u64,
    /// Ids of the voting members, ascending.
    pub voters: Vec<u64>,
    /// The v2 store, JSON.
    pub v2_store: Vec<u8>,
}

impl RaftSnapshot {
    /// The snapshot of a cluster whose conf changes of `members` are its only entries.
    pub fn of_members(term: u64, members: &[Member]) -> Self {
        let index = members.len() as u64;
        let voters = members.iter().map(|member| member.id.0).collect();
        Self { term, index, voters, v2_store: v2_store(members).to_string().into_bytes() }
    }

    /// Its file name.
    pub fn file_name(&self) -> String {
        format!("{:016x}-{:016x}.snap", self.term, self.index)
    }

    /// The bytes of the file.
    pub fn encode(&self) -> Vec<u8> {
        let conf_state =
            ConfState { voters: self.voters.clone(), auto_leave: Some(false), ..Default::default() };
        let metadata =
            SnapshotMetadata { conf_state: Some(conf_state), index: Some(self.index), term: Some(self.term) };
        let data = RaftSnapshotMessage { data: Some(self.v2_store.clone()), metadata: Some(metadata) };
        let data = data.encode_to_vec();
        SnapFile { crc: Some(crc32c::crc32c(&data)), data: Some(data) }.encode_to_vec()
    }

    /// Reads the bytes of a file and verifies their crc.
    ///
    /// # Errors
    /// [`Error::Invalid`] when they are not a raft snapshot or the crc differs.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let undecodable = |_| Error::Invalid("not a raft snapshot file".into());
        let file = SnapFile::decode(bytes).map_err(undecodable)?;
        let data = file.data.unwrap_or_default();
        if file.crc != Some(crc32c::crc32c(&data)) {
            return Err(Error::Invalid("crc mismatch in the raft snapshot file".into()));
        }
        let snapshot = RaftSnapshotMessage::decode(data.as_slice()).map_err(undecodable)?;
        let metadata = snapshot.metadata.unwrap_or_default();
        Ok(Self {
            term: metadata.term.unwrap_or(0),
            index: metadata.index.unwrap_or(0),
            voters: metadata.conf_state.unwrap_or_default().voters,
            v2_store: snapshot.data.unwrap_or_default(),
        })
    }
}

/// The newest raft snapshot in `member/snap` up to an index that is whole: one that a crash cut short is passed over,
/// as etcd does (`Snapshotter.loadMatching`).
///
/// # Errors
/// A read that the operating system refused.
pub(crate) fn newest(snap: &Path, up_to: u64) -> Result<Option<RaftSnapshot>> {
    let entries = match fs_err::read_dir(snap) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        entries => entries?,
    };
    let mut found: Vec<(u64, PathBuf)> = Vec::new();
    for entry in entries {
        let entry = entry?;
        let is_file = entry.file_type()?.is_file() && entry.metadata()?.len() <= MAX_FILE_BYTES;
        let index = entry.file_name().to_str().and_then(index_in_name);
        found.extend(index.filter(|index| is_file && *index <= up_to).map(|index| (index, entry.path())));
    }
    found.sort_unstable();
    for (_, path) in found.into_iter().rev() {
        if let Ok(snapshot) = RaftSnapshot::decode(&fs_err::read(path)?) {
            return Ok(Some(snapshot));
        }
    }
    Ok(None)
}

/// The index in the name of a `.snap` file.
fn index_in_name(name: &str) -> Option<u64> {
    let (_, index) = name.strip_suffix(".snap")?.split_once('-')?;
    u64::from_str_radix(index, 16).ok()
}

/// The v2 store (`server/etcdserver/api/v2store/store.go`, `Save`) with `/0/members/<id>/raftAttributes`
/// for every member: what etcd up to 3.5 boots its membership from.
fn v2_store(members: &[Member]) -> Value {
    let children = (1u64..).zip(members).map(|(index, member)| {
        let path = format!("/0/members/{}", member.id);
        let attributes = json!({ "peerURLs": member.peer_urls }).to_string();
        let leaf = node(&format!("{path}/raftAttributes"), index, &attributes, &Value::Null);
        (member.id.to_string(), node(&path, index, "", &json!({ "raftAttributes": leaf })))
    });
    let members_node = node("/0/members", 1, "", &Value::Object(Map::from_iter(children)));
    let cluster = node("/0", 0, "", &json!({ "members": members_node }));
    let root = node("/", 0, "", &json!({ "0": cluster, "1": node("/1", 0, "", &json!({})) }));
    json!({ "Root": root, "CurrentIndex": members.len(), "CurrentVersion": 2 })
}

fn node(path: &str, index: u64, value: &str, children: &Value) -> Value {
    json!({
        "Path": path,
        "CreatedIndex": index,
        "ModifiedIndex": index,
        "ExpireTime": "0001-01-01T00:00:00Z",
        "Value": value,
        "Children": children,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::initial_cluster::InitialCluster;

    #[test]
    fn reads_what_it_writes_and_finds_a_flipped_bit() {
        let cluster = InitialCluster::parse("a=http://h:1,b=http://h:2", "t").unwrap();
        let snapshot = RaftSnapshot::of_members(1, &cluster.members());
        let bytes = snapshot.encode();
        assert_eq!(RaftSnapshot::decode(&bytes).unwrap(), snapshot);
        assert_eq!(snapshot.file_name(), "0000000000000001-0000000000000002.snap");
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x10;
            // A varint has bits beyond the 32 of a crc, which decoders drop.
            assert!(RaftSnapshot::decode(&bad).map_or(true, |found| found == snapshot), "byte {at}");
        }
    }
}
