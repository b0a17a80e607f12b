//! The output of `inspect --raft`.

use std::io::{self, Write};
use std::path::Path;

use lifeboat_etcd::LogPosition;
use lifeboat_etcd::wal::LogStatus;
use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LogView {
    source: String,
    raft: LogPositionView,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LogPositionView {
    cluster_id: String,
    member_id: String,
    term: u64,
    commit: u64,
    last_index: u64,
    last_term: u64,
    first_index: u64,
    /// Index of the last entry in the db; null if it cannot be read.
    db_index: Option<u64>,
    /// Raft term of that entry; null before etcd 3.5.
    db_term: Option<u64>,
}

impl From<LogPosition> for LogPositionView {
    fn from(position: LogPosition) -> Self {
        let LogPosition { log, first_index, applied } = position;
        let LogStatus { cluster_id, member_id, term, commit, last_index, last_term } = log;
        let (cluster_id, member_id) = (cluster_id.to_string(), member_id.to_string());
        let db_index = applied.map(|entry| entry.index);
        let db_term = applied.map(|entry| entry.term).filter(|term| *term > 0);
        Self { cluster_id, member_id, term, commit, last_index, last_term, first_index, db_index, db_term }
    }
}

impl LogView {
    pub(super) fn new(dir: &Path, position: LogPosition) -> Self {
        Self { source: dir.display().to_string(), raft: position.into() }
    }

    pub(super) fn table(&self, out: &mut dyn Write) -> io::Result<()> {
        let LogPositionView {
            cluster_id, member_id, term, commit, last_index, last_term, first_index, ..
        } = &self.raft;
        writeln!(out, "source   {}", self.source)?;
        writeln!(out, "cluster  {cluster_id}")?;
        writeln!(out, "member   {member_id}")?;
        writeln!(
            out,
            "log      entries {first_index} to {last_index}, last term {last_term}; committed up to {commit}, term {term}"
        )?;
        match self.raft.db_index {
            Some(index) => writeln!(out, "db       up to entry {index}"),
            None => writeln!(out, "db       cannot be read"),
        }
    }
}
