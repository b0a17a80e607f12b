//! Single messages.

use lifeboat_etcd::{KeyValue, RaftSnapshot};
use prost::Message;

/// `snappb.Snapshot`.
#[derive(Message)]
struct SnapFile {
    #[prost(uint32, optional, tag = "1")]
    crc: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "2")]
    data: Option<Vec<u8>>,
}

/// Reads a raft snapshot file, and one with the right crc that holds the bytes.
pub fn raft_snapshot(bytes: &[u8]) {
    let sound = SnapFile { crc: Some(crc32c::crc32c(bytes)), data: Some(bytes.to_vec()) };
    for file in [bytes, &sound.encode_to_vec()] {
        if let Ok(snapshot) = RaftSnapshot::decode(file) {
            assert_eq!(RaftSnapshot::decode(&snapshot.encode()).as_ref().ok(), Some(&snapshot));
        }
    }
}

/// Reads the value of a revision.
pub fn key_value(bytes: &[u8]) {
    if let Ok(kv) = KeyValue::decode(bytes) {
        let _ = kv.verify(kv.mod_revision, false);
        let _ = kv.verify(1, true);
    }
}
