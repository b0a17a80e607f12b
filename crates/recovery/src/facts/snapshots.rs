//! The snapshots that a restore could start from, as they were read.

use std::path::PathBuf;

use jiff::Timestamp;
use lifeboat_etcd::KubernetesIdentity;
use serde::{Deserialize, Serialize};

use super::Facts;

/// The snapshots that were read, and how many there are besides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshots {
    /// Each is read to its end, the newest first, until enough can be taken.
    pub read: Vec<Snapshot>,
    /// How many older ones were not read.
    pub unread: usize,
    /// The file that `--source` named. No other was looked for then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named: Option<PathBuf>,
}

/// A snapshot file that a restore could start from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Where it is.
    pub path: PathBuf,
    /// When it was written, by the file's time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<Timestamp>,
    /// The most bytes that it takes on a disk: of a packed file also those that are in it.
    pub size: u64,
    /// Its revision, or what is wrong with it.
    #[serde(flatten, with = "RevisionOrError")]
    pub revision: Result<i64, String>,
    /// Index of the last entry of raft's log that it has; absent where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raft_index: Option<u64>,
    /// Whose state it is, as far as it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<SnapshotIdentity>,
}

/// `"revision": 5`, or `"error": "damaged: ..."`.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Result<i64, String>")]
enum RevisionOrError {
    #[serde(rename = "revision")]
    Ok(i64),
    #[serde(rename = "error")]
    Err(String),
}

/// Whose state a snapshot holds. A snapshot carries no cluster id: etcd keeps that in the log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotIdentity {
    /// The Kubernetes cluster.
    pub kubernetes: KubernetesIdentity,
    /// Names of the etcd members.
    pub members: Vec<String>,
    /// Peer URLs of the etcd members.
    pub peer_urls: Vec<String>,
    /// Ids of the etcd members and of those that were removed, in hexadecimal.
    pub member_ids: Vec<String>,
}

impl Facts {
    /// The snapshots that are known: of those that were not read, nothing is.
    pub(crate) fn known_snapshots(&self) -> &[Snapshot] {
        self.snapshots.as_ref().map_or(&[], |snapshots| &snapshots.read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_and_an_error_have_keys_of_their_own() {
        let sound = Snapshot {
            path: "/backups/nightly.db".into(),
            written: Some("2026-11-09T03:00:00Z".parse().unwrap()),
            size: 80 << 20,
            revision: Ok(400),
            raft_index: Some(5_500),
            identity: Some(SnapshotIdentity { members: vec!["e1".into()], ..SnapshotIdentity::default() }),
        };
        let torn = Snapshot {
            revision: Err("damaged: the end is missing".into()),
            raft_index: None,
            identity: None,
            ..sound.clone()
        };
        let json = |snapshot: &Snapshot| serde_json::to_value(snapshot).unwrap();
        assert_eq!(json(&sound)["revision"], 400);
        assert_eq!(
            json(&torn),
            serde_json::json!({"path": "/backups/nightly.db", "written": "2026-11-09T03:00:00Z",
                "size": 80 << 20, "error": "damaged: the end is missing"})
        );
        for snapshot in [sound, torn] {
            assert_eq!(serde_json::from_value::<Snapshot>(json(&snapshot)).unwrap(), snapshot);
        }
        let neither = serde_json::json!({"path": "/backups/nightly.db", "size": 1});
        assert!(serde_json::from_value::<Snapshot>(neither).is_err());
    }
}
