//! What a plan needs of the machines it changes, shown by the facts before anything is planned on them. The executor asks
//! the same of the machines themselves, right before it acts.

use crate::facts::{DataDirs, Snapshot, Storage, shown};
use crate::inventory::{MemberSpec, Service};
use crate::plan::StateSource;

use super::Draft;

/// etcd makes each WAL file this big, and the next one before the first is full.
const WAL_BYTES: u64 = 2 * 64_000_000;
/// What stays free beside all that.
const MARGIN_BYTES: u64 = 64_000_000;

/// Bytes that a member's new data needs on its machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    data: u64,
    wal: u64,
    scratch: u64,
}

impl Room {
    /// For a member's data dir that is restored from a state of this size, sent to its machine before. What is read from
    /// the member's own data is exported there first, from what its log is read on top of.
    pub fn to_restore(state: u64, source: &StateSource, member: &str) -> Self {
        let is_read_there = source.members().any(|from| from == member);
        let copies = match source {
            StateSource::Log { member: own, .. } if own == member => 3,
            _ if is_read_there => 2,
            _ => 1,
        };
        let scratch = state.saturating_mul(copies).saturating_add(MARGIN_BYTES);
        Self { scratch, ..Self::to_replace(state) }
    }

    /// The same once the state is there: that much less is left, and that much less is needed.
    pub fn delivered(self, state: u64) -> Self {
        Self { scratch: self.scratch.saturating_sub(state), ..self }
    }

    /// For a data dir that the leader sends.
    pub fn to_replace(state: u64) -> Self {
        let data = state.saturating_add(state / 10).saturating_add(MARGIN_BYTES);
        Self { data, wal: WAL_BYTES, scratch: 0 }
    }

    /// The file systems that do not have it.
    pub fn lacks(self, member: &str, storage: &Storage) -> Vec<String> {
        storage.lacks_room(member, self.data, self.wal, self.scratch)
    }
}

/// What stands in the way of a member's data being moved aside and written again; else its directories.
///
/// # Errors
/// One sentence each.
pub(crate) fn member(name: &str, spec: &MemberSpec, storage: &Storage) -> Result<DataDirs, Vec<String>> {
    let dirs = storage.dirs(name, spec);
    let program = match (&spec.service, &storage.program) {
        (Service::Unit(unit), None) if storage.unnamed().is_none() => {
            Some(format!("{name}: the program of {unit} does not exist"))
        }
        (_, Some(program)) if !program.version.contains("etcd Version") => {
            Some(format!("{name}: {} does not run: {}", program.path.display(), program.version))
        }
        _ => storage.unknown_flag().map(|why| format!("{name}: {why}")),
    };
    match (dirs, program) {
        (Ok(dirs), None) => Ok(dirs),
        (dirs, program) => Err(dirs.err().into_iter().flatten().chain(program).collect()),
    }
}

/// Why a member could not be told to join a cluster once it is taken out of it.
pub(super) fn joinable(draft: &Draft<'_>, name: &str) -> Result<(), Vec<String>> {
    let storage = draft.facts.members.get(name).and_then(|member| member.storage.as_ref()?.get());
    match storage.and_then(|storage| storage.config_file.as_ref()) {
        None => Ok(()),
        Some(file) => Err(vec![format!(
            "{name}: its etcd reads all settings from {} and ignores flags: replace it by hand, with \
             `initial-cluster-state: existing` and the new member list there",
            file.display()
        )]),
    }
}

/// The size of a state, where it is known.
pub(super) fn state_bytes(draft: &Draft<'_>, source: &StateSource) -> Option<u64> {
    let stored = |name: &str| {
        let member = draft.facts.members.get(name)?;
        let served = member.status.get().map(|status| status.db_size);
        let stored = member.storage.as_ref().and_then(|storage| storage.get()).and_then(stored_bytes);
        served.into_iter().chain(stored).max()
    };
    let snapshot = source.snapshot().and_then(|path| {
        let is_it = |snapshot: &&Snapshot| snapshot.path == *path;
        draft.facts.known_snapshots().iter().find(is_it).map(|snapshot| snapshot.size)
    });
    source
        .members()
        .map(stored)
        .chain(source.snapshot().map(|_| snapshot))
        .try_fold(0, |most: u64, bytes| Some(most.max(bytes?)))
}

/// Bytes of a member's db; where that is gone, of all that is in its data dir.
pub(crate) fn stored_bytes(storage: &Storage) -> Option<u64> {
    storage.data_dir.db_bytes.or(storage.data_dir.bytes)
}

/// The directories of a member whose data is going to be replaced, once all that this needs is shown; what was shown is
/// listed.
pub(super) fn establish(
    draft: &mut Draft<'_>,
    name: &str,
    room: Option<Room>,
) -> Result<DataDirs, Vec<String>> {
    let unknown = |why: &str| vec![format!("{name}: data location unknown: {why}")];
    let spec = draft.facts.inventory.etcd.members.get(name).ok_or_else(|| unknown("not in the inventory"))?;
    let fact = draft.facts.members.get(name).and_then(|member| member.storage.as_ref());
    let fact = fact.ok_or_else(|| unknown("not asked"))?;
    let storage = fact.get().ok_or_else(|| unknown(fact.why_unknown().unwrap_or_default()))?;
    let dirs = member(name, spec, storage)?;
    let room = room.ok_or_else(|| vec![format!("{name}: size of the new data unknown")])?;
    let short = room.lacks(name, storage);
    if !short.is_empty() {
        return Err(short);
    }
    draft.established.push(established(name, spec, storage, room));
    Ok(dirs)
}

fn established(name: &str, spec: &MemberSpec, storage: &Storage, room: Room) -> String {
    let place = &storage.data_dir;
    let mut parts = vec![format!("{name}: data in {}", shown(&place.path, &place.real))];
    if let Some(wal) = &storage.wal_dir {
        parts.push(format!("WAL in {}", shown(&wal.path, &wal.real)));
    }
    if let (Some(owner), Some(mode)) = (spec.owner.as_ref().or(place.owner.as_ref()), &place.mode) {
        parts.push(format!("{owner}, mode {mode}"));
    }
    let needed = room.data.saturating_add(room.wal).saturating_add(room.scratch);
    parts.push(format!(
        "{} MB free on {}, at most {} MB needed",
        place.available / 1_000_000,
        place.mount.display(),
        needed.div_ceil(1_000_000)
    ));
    if let Some(program) = &storage.program {
        let version = program.version.trim_start_matches("etcd Version:").trim();
        parts.push(format!("{} {version}", program.path.display()));
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: u64 = 1 << 30;

    fn storage(available: u64) -> Storage {
        let place = |path: &str| {
            serde_json::json!({"path": path, "real": path, "kind": "directory", "isMount": false, "mount": "/",
                "available": available})
        };
        serde_json::from_value(serde_json::json!({
            "dataDir": place("/var/lib/etcd"), "scratch": place("/var/lib/lifeboat"), "named": [],
        }))
        .unwrap()
    }

    /// What is sent before the fence takes its room before the fence asks for it.
    #[test]
    fn a_state_that_was_sent_is_not_counted_twice() {
        let source = StateSource::Snapshot("/backups/nightly.db".into());
        let room = Room::to_restore(STATE, &source, "m1");
        let needed = room.data + room.wal + room.scratch;
        assert!(room.lacks("m1", &storage(needed)).is_empty());
        assert!(!room.lacks("m1", &storage(needed - 1)).is_empty());
        let left = storage(needed - STATE);
        assert!(!room.lacks("m1", &left).is_empty());
        assert!(room.delivered(STATE).lacks("m1", &left).is_empty());
    }

    /// A member whose log is read on top of another state has that, what is made of it, and what is sent back.
    #[test]
    fn room_is_asked_for_all_that_lies_there_at_once() {
        let log = StateSource::parse("member:m2+member:m1").unwrap();
        let own = StateSource::Member("m1".into());
        let of = |source: &StateSource, member: &str| {
            (Room::to_restore(STATE, source, member).scratch - MARGIN_BYTES) / STATE
        };
        assert_eq!([of(&log, "m1"), of(&log, "m2"), of(&log, "m3")], [3, 2, 1]);
        assert_eq!([of(&own, "m1"), of(&own, "m2")], [2, 1]);
    }
}
