//! Replays a data dir's log on its salvaged db.
//!
//! A log continues one exact state: on a state that lacks a key, a transaction that compares it takes the other branch,
//! and every later revision gets another number. So it is replayed on a complete tree only.

use std::path::Path;

use super::as_data;
use super::source::SavedDb;
use super::tree_view::{RootKind, TreeView};
use crate::apply;
use crate::apply::Overlay;
use crate::error::Result;
use crate::finding::{FindingKind, Severity};
use crate::key_list::KeyList;
use crate::key_value::is_bump_mark;
use crate::source::RaftPosition;
use crate::sources::Counted;
use crate::sources::{Replay, v2_keys};
use crate::sources::{counted_over, leads_to_snapshot, notes};
use crate::state::State;
use crate::wal::{Entries, Log, WalDir};

/// How much of a data dir's log was replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogReport {
    /// Number of entries replayed.
    pub replayed: u64,
    /// Committed entries that were not replayed: first and last raft index.
    pub not_replayed: Option<(u64, u64)>,
    /// Number of entries at its end that are not known to be committed, and are not included.
    pub uncommitted: u64,
}

/// The result of replaying a log.
#[derive(Debug, Default)]
pub(super) struct Replayed {
    /// `None` when there is no log.
    pub(super) report: Option<LogReport>,
    pub(super) position: Option<RaftPosition>,
    pub(super) overlay: Overlay,
    /// Damage of the log.
    pub(super) problems: Vec<FindingKind>,
    /// Keys named by entries that were not replayed.
    pub(super) not_replayed_keys: KeyList,
    /// Whether all of it was replayed on a complete tree.
    pub(super) is_whole: bool,
}

impl Replayed {
    /// A log that cannot be read.
    pub(super) fn unusable(kind: FindingKind) -> Self {
        Self { report: Some(LogReport::default()), problems: vec![kind], ..Self::default() }
    }
}

/// Replays a log on the salvaged db, if the log continues it. `snap` is the directory of raft snapshots.
pub(super) fn replay(
    salvaged: &SavedDb,
    snap: &Path,
    wal: &WalDir,
    log: &Log,
    how_far: Replay,
) -> Result<Replayed> {
    let consistent_index = salvaged.consistent_index();
    let Counted { up_to, basis } = counted_over(how_far, snap, wal, log, &salvaged.store.base().state)?;
    let mut problems: Vec<_> = log.damage.iter().cloned().collect();
    let readable = if problems.is_empty() { up_to } else { up_to.min(log.status.last_index) };
    let replayed = if salvaged.store.base().is_clean() {
        as_data(over(salvaged, wal, log, readable, &mut problems))?.unwrap_or_else(|kind| {
            problems.push(kind);
            None
        })
    } else {
        None
    };
    let replayed_to = replayed.as_ref().map_or(consistent_index, |(to, _)| *to);
    let position = RaftPosition::of(log, consistent_index, replayed_to, basis);
    let report = LogReport {
        replayed: replayed_to - consistent_index,
        not_replayed: (replayed_to < up_to).then_some((replayed_to + 1, up_to)),
        uncommitted: log.status.last_index.saturating_sub(up_to.max(consistent_index)),
    };
    let not_replayed_keys = match report.not_replayed {
        Some((first, last)) => apply::keys_named(wal, first, last)?,
        None => KeyList::default(),
    };
    let is_over_all = replayed.is_some() && report.not_replayed.is_none();
    let overlay = replayed.map(|(_, overlay)| overlay).unwrap_or_default();
    // What is not known to be committed is in the report.
    let notes = notes(log, &position, &State::read(salvaged)?, &overlay, None).into_iter();
    let is_read_on = |kind: &FindingKind| matches!(kind, FindingKind::WalReadOn { .. });
    let (read_on, notes): (Vec<_>, Vec<_>) =
        notes.filter(|kind| kind.severity() > Severity::Note).partition(is_read_on);
    problems.extend(notes);
    problems.extend(v2_keys::find(snap, wal, &State::read(salvaged)?)?);
    let is_whole = is_over_all && problems.is_empty();
    if is_whole {
        problems.extend(read_on);
    }
    let (report, position) = (Some(report), Some(position));
    Ok(Replayed { report, position, overlay, problems, not_replayed_keys, is_whole })
}

/// The index replayed to, and the changes; `None` if the log may not continue this state.
fn over(
    salvaged: &SavedDb,
    wal: &WalDir,
    log: &Log,
    up_to: u64,
    problems: &mut Vec<FindingKind>,
) -> Result<Option<(u64, Overlay)>> {
    let (base, consistent_index) = (salvaged.store.base(), salvaged.consistent_index());
    if consistent_index < log.snapshot && !leads_to_snapshot(wal, log, consistent_index)? {
        let snapshot = log.snapshot;
        return Err(FindingKind::DbBehindSnapshot { consistent_index, snapshot }.into());
    }
    let (entries, gap) = Entries::find_to_gap(wal, consistent_index, up_to)?;
    if let Some(gap) = gap {
        problems.extend(log.bad.iter().map(|bad| bad.kind.clone()));
        problems.push(gap);
    }
    if base.kind != RootKind::Newest && already_has(base, &entries)? {
        return Ok(None);
    }
    let replayed_to = entries.up_to().max(consistent_index);
    Ok(Some((replayed_to, apply::replay(salvaged, &State::read(salvaged)?, &entries)?)))
}

/// Whether the newest revision of a state may be by an entry that comes after it. A commit that was cut short may
/// have written over pages of an older state, with what is newer than it: nothing else in its tree would show that.
fn already_has(base: &TreeView, entries: &Entries<'_>) -> Result<bool> {
    let mut newest = None;
    base.revisions(&mut |key, value| {
        if Some(key.revision) == base.key.newest && !is_bump_mark(value) {
            newest = Some((key, value.to_vec()));
        }
        Ok(())
    })?;
    newest.map_or(Ok(false), |(key, value)| apply::may_have_written(entries, key, &value))
}
