//! What `lifeboat inspect -o json` answers on a machine, read as facts.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lifeboat_etcd::KubernetesIdentity;
use serde::Deserialize;

use crate::facts::{Alarm, Damage, DataDir, DataDirState, KeyChange, LogState, Readable, Uncommitted};

/// What `lifeboat inspect -o json` tells of a data dir, as far as it decides anything.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Inspection {
    integrity_error: Option<String>,
    undecodable: Vec<String>,
    /// What Lifeboat reads behind and etcd does not start on.
    #[serde(default)]
    stops_etcd: Vec<String>,
    /// What it is read as without its own db.
    combination: Option<String>,
    revision: i64,
    /// After the replay, or of the db where the log ends before it.
    raft_term: Option<u64>,
    live_keys: u64,
    raft: Option<Raft>,
    uncommitted: Option<UncommittedEntries>,
    #[serde(default)]
    alarms: Vec<StoredAlarm>,
    #[serde(default)]
    notes: Vec<Note>,
    kubernetes: Option<KubernetesIdentity>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredAlarm {
    member_id: String,
    alarm: String,
}

#[derive(Deserialize)]
struct Note {
    id: String,
}

/// The id of the note that a data dir holds keys of the v2 API.
const V2_KEYS: &str = "etcd.v2-keys";

/// Changes that are kept of those that entries which are not known to be committed make.
const MAX_CHANGES: usize = 100;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UncommittedEntries {
    first: u64,
    last: u64,
    changes: Vec<UncommittedChange>,
    further_changes: u64,
    known: bool,
}

#[derive(Deserialize)]
struct UncommittedChange {
    /// Key in base64.
    key: String,
    deleted: bool,
}

impl From<UncommittedEntries> for Uncommitted {
    fn from(entries: UncommittedEntries) -> Self {
        let UncommittedEntries { first, last, changes, further_changes, known } = entries;
        let unlisted = u64::try_from(changes.len().saturating_sub(MAX_CHANGES)).unwrap_or(u64::MAX);
        let changes = changes.into_iter().take(MAX_CHANGES).map(|change| {
            let key = STANDARD.decode(&change.key).unwrap_or_default();
            KeyChange { key: String::from_utf8_lossy(&key).into_owned(), deleted: change.deleted }
        });
        let further_changes = further_changes.saturating_add(unlisted);
        Self { first, last, changes: changes.collect(), further_changes, known }
    }
}

impl Inspection {
    /// What a data dir holds, and how far its log goes.
    fn state(self) -> Option<(DataDirState, LogState)> {
        let raft = self.raft?;
        let db_index = raft.consistent_index;
        let db_term = self.raft_term.filter(|_| db_index.is_some_and(|db| db > raft.last_index));
        let log = LogState { db_term, ..raft.log() };
        let state = DataDirState {
            cluster_id: log.cluster_id.clone(),
            member_id: log.member_id.clone(),
            last_term: log.last_term.unwrap_or_default(),
            last_index: log.last_index,
            revision: self.revision,
            keys: self.live_keys,
            db_index,
            db_term,
            kubernetes: self.kubernetes,
            uncommitted: self.uncommitted.map(Uncommitted::from),
            alarms: self
                .alarms
                .into_iter()
                .map(|StoredAlarm { member_id, alarm }| Alarm { member_id, kind: alarm })
                .collect(),
            v2_keys: self.notes.iter().any(|note| note.id == V2_KEYS),
        };
        Some((state, log))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raft {
    cluster_id: String,
    member_id: String,
    last_term: u64,
    last_index: u64,
    first_index: Option<u64>,
    /// Index of the last entry in the db; with `--raft` it is `dbIndex`.
    #[serde(alias = "dbIndex")]
    consistent_index: Option<u64>,
    db_term: Option<u64>,
}

impl Raft {
    fn log(self) -> LogState {
        let Self { cluster_id, member_id, last_term, last_index, first_index, consistent_index, db_term } =
            self;
        let (last_term, db_index) = (Some(last_term), consistent_index);
        LogState { cluster_id, member_id, last_index, last_term, first_index, db_index, db_term }
    }
}

/// What `lifeboat inspect --raft -o json` tells. A log that is written to while it is read may look damaged.
pub(super) fn read_log(stdout: &[u8]) -> Option<LogState> {
    #[derive(Deserialize)]
    struct Inspection {
        raft: Raft,
    }
    Some(serde_json::from_slice::<Inspection>(stdout).ok()?.raft.log())
}

/// What `inspect` answers of a data dir; `None` where its answer is not understood.
pub(super) fn read(stdout: &[u8], stderr: &[u8]) -> Option<DataDir> {
    let said = String::from_utf8_lossy(stderr);
    let inspection: Inspection = if stdout.is_empty() {
        // Too damaged for more than an error; warnings may stand above it, and below it what to do.
        let line = said.lines().find(|line| !line.starts_with("warning: ")).unwrap_or_default();
        let error = line.trim_start_matches("error: ").trim_start_matches("damaged: ");
        return (!error.is_empty()).then(|| DataDir::Damaged(vec![error.to_owned()].into()));
    } else {
        serde_json::from_slice(stdout).ok()?
    };
    let Inspection { integrity_error, undecodable, stops_etcd, combination, .. } = &inspection;
    let wrong: Vec<String> = integrity_error.iter().chain(undecodable).cloned().collect();
    let why = [wrong.as_slice(), stops_etcd].concat();
    if !wrong.is_empty() || (!why.is_empty() && inspection.raft.is_none()) {
        return Some(DataDir::Damaged(why.into()));
    }
    let combination = combination.clone();
    let (state, log) = inspection.state()?;
    Some(match why.is_empty() {
        true => DataDir::Sound(state),
        false => {
            let readable = Some(Readable { state, combination });
            DataDir::Damaged(Damage { why, readable, log: Some(log) })
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inspection_tells_sound_from_damaged() {
        let sound = br#"{"schemaVersion":1,"integrity":"none","integrityError":null,"undecodable":[],"revision":7,
            "liveKeys":3,"alarms":[{"memberId":"b","alarm":"CORRUPT"}],"raft":{"clusterId":"a","memberId":"b","term":3,"commit":8,"lastTerm":2,"lastIndex":9},
            "notes":[{"id":"etcd.v2-keys","severity":"warning","message":"","remedy":""}],
            "uncommitted":{"first":9,"last":9,"furtherChanges":2,"known":true,
            "changes":[{"revision":8,"key":"L2H/","deleted":true}]}}"#;
        let state = DataDirState {
            cluster_id: "a".into(),
            member_id: "b".into(),
            last_term: 2,
            last_index: 9,
            revision: 7,
            keys: 3,
            db_index: None,
            db_term: None,
            kubernetes: None,
            uncommitted: Some(Uncommitted {
                first: 9,
                last: 9,
                changes: vec![KeyChange { key: "/a\u{fffd}".into(), deleted: true }],
                further_changes: 2,
                known: true,
            }),
            alarms: vec![Alarm { member_id: "b".into(), kind: "CORRUPT".into() }],
            v2_keys: true,
        };
        assert_eq!(read(sound, b""), Some(DataDir::Sound(state.clone())));
        let text = String::from_utf8_lossy(sound);
        let mismatch = text.replace("\"integrityError\":null", "\"integrityError\":\"bad\"");
        assert_eq!(read(mismatch.as_bytes(), b""), Some(DataDir::Damaged(vec!["bad".into()].into())));
        // What Lifeboat can read is not sound where etcd does not start on it.
        let read_on = text.replace("\"undecodable\"", "\"stopsEtcd\":[\"bad record\"],\"undecodable\"");
        let Some(DataDir::Damaged(damage)) = read(read_on.as_bytes(), b"") else { panic!("{read_on}") };
        assert_eq!(damage.why, ["bad record"]);
        // A restore can take it all the same.
        assert_eq!(damage.readable, Some(Readable { state, combination: None }));
        assert_eq!(damage.log.and_then(|log| log.last()).map(|last| (last.term, last.index)), Some((2, 9)));
        for said in ["error: damaged: x\n    y\n", "warning: the log is torn\nerror: x\n    y\n"] {
            assert_eq!(read(b"", said.as_bytes()), Some(DataDir::Damaged(vec!["x".into()].into())));
        }
        assert_eq!(read(b"", b""), None);
        assert_eq!(read(b"{}", b""), None);
    }
}
