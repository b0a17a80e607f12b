//! Whether a state holds what a log's entries did, up to the last one that it says it has.
//!
//! The entries are gone through backwards, beside the state's revisions. A revision is the work of one entry, and an entry
//! makes at most one. So each entry either made the newest revision that is not yet accounted for, and then gives just
//! that on top of the state as of the revision before; or it made none, and then has nothing to do on top of the state
//! as of that revision. Where neither is so, the state is not the one that the log led to. Both can be so: a transaction
//! that made a revision often finds nothing to do right after it. So all positions that are left are followed.
//!
//! What cannot be known here counts for the state: users that were not permitted, alarms, leases that are gone, what is
//! compacted, requests of a newer etcd.

use std::collections::{BTreeMap, HashSet, VecDeque};

use prost::bytes::Bytes;

use super::NORMAL;
use super::auth::{Auth, AuthInfo};
use super::lease::Leases;
use super::messages::{Op, TargetUnion};
use super::past::{Answer, Past};
use super::read_set::ReadSet;
use super::request::Request;
use crate::error::{Error, Result};
use crate::finding::{FindingKind, printable};
use crate::limits::MAX_REPLAY_BYTES;
use crate::source::Source;
use crate::state::State;
use crate::wal::Entries;

/// Bytes of entries looked at at most: of more, the last.
const MAX_ENTRY_BYTES: usize = 64 << 20;

/// Entries, the last of the log's before the state ends. Not decoded, as that may take many times the memory.
type Window = VecDeque<(u64, Bytes)>;

/// Compares a state with the entries of a log that it says it has. Tells how many of their writes it is seen to hold.
///
/// # Errors
/// [`FindingKind::BaseContent`] when the state lacks what one of them did.
pub(crate) fn overlap(db: &dyn Source, state: &State, entries: &Entries<'_>) -> Result<Shared> {
    let window = window(entries)?;
    let mut read_set = ReadSet::default();
    for (index, data) in &window {
        let Ok(Some((_, request))) = Request::decode(*index, data) else { continue };
        read_set.add(&request);
        if read_set.bytes() > MAX_REPLAY_BYTES {
            return Ok(Shared::default());
        }
    }
    let past = match Past::load(db, state, &read_set) {
        Err(Error::Unreplayable(FindingKind::ReplayTooLarge)) => return Ok(Shared::default()),
        past => past?,
    };
    let auth = if state.auth.enabled { Auth::load(db, state)? } else { Auth::disabled() };
    let leases = LeasesAfter::new(state);
    Walk { state, past, auth, may_refuse: !state.alarms.is_empty(), leases }.back(&window)
}

fn window(entries: &Entries<'_>) -> Result<Window> {
    let mut window = Window::new();
    let mut bytes = 0;
    entries.each(&mut |entry| {
        let data = entry.data.unwrap_or_default();
        if entry.kind.unwrap_or(NORMAL) == NORMAL && !data.is_empty() {
            bytes += data.len();
            // A copy: the entry shares the bytes of its record, which may be far more than its own.
            window.push_back((entry.index.unwrap_or(0), Bytes::copy_from_slice(&data)));
        }
        while bytes > MAX_ENTRY_BYTES {
            bytes -= window.pop_front().map_or(bytes, |(_, data)| data.len());
        }
        Ok(())
    })?;
    Ok(window)
}

/// The way back through the entries.
struct Walk<'a> {
    state: &'a State,
    past: Past<'a>,
    auth: Auth,
    /// Whether a server may refuse requests for what the state does not tell: alarms, or users as they were before a later
    /// entry changed them.
    may_refuse: bool,
    leases: LeasesAfter,
}

/// Writes of a log that a state is seen to hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Shared {
    /// Those that compare the revision of a key with one that it had: they tell of the state before them as well.
    pub(crate) conditional: u64,
    /// All.
    pub(crate) writes: u64,
}

impl Shared {
    fn and(self, request: &Request) -> Self {
        let conditional = self.conditional + u64::from(is_conditional(request));
        Self { conditional, writes: self.writes + 1 }
    }
}

/// Whether a transaction compares a revision that a key must have had.
fn is_conditional(request: &Request) -> bool {
    let Request::Txn(txn) = request else { return false };
    txn.compare.iter().any(|compare| {
        matches!(
            compare.target_union,
            Some(TargetUnion::CreateRevision(revision) | TargetUnion::ModRevision(revision)) if revision > 0
        )
    })
}

/// Revisions that the state may have been at before an entry, and the writes that are seen on the way back to there.
pub(super) type Positions = BTreeMap<i64, Shared>;

impl Walk<'_> {
    fn back(&mut self, window: &Window) -> Result<Shared> {
        let mut positions = Positions::from([(self.past.newest(), Shared::default())]);
        for (index, data) in window.iter().rev() {
            let before = match Request::decode(*index, data) {
                Ok(None) => continue,
                Ok(Some((info, request))) => {
                    let is_refusable = self.is_refusable(&info, &request);
                    if !self.leases.agree(&request, is_refusable) {
                        return Err(self.lacks(*index, &request));
                    }
                    if !writes_keys(&request) {
                        self.may_refuse |= changes_what_is_refused(&request);
                        continue;
                    }
                    match self.before(&request, is_refusable, &positions) {
                        Some(before) if before.is_empty() => return Err(self.lacks(*index, &request)),
                        before => before,
                    }
                }
                // It may have done anything.
                Err(_) => {
                    (self.may_refuse, self.leases.is_unknown) = (true, true);
                    self.past.before_any(&positions)
                }
            };
            // What is before cannot be told.
            let Some(before) = before else { break };
            positions = before;
        }
        Ok(positions.into_values().max().unwrap_or_default())
    }

    /// Where the state may have been before a request; `None` where that cannot be told.
    fn before(&mut self, request: &Request, is_refusable: bool, after: &Positions) -> Option<Positions> {
        let is_known = is_known(request);
        let mut read_set = ReadSet::default();
        read_set.add(request);
        let is_sure = is_known && !is_refusable && leases(request).into_iter().all(|id| self.leases.has(id));
        let mut before = Positions::new();
        for (&revision, &seen) in after {
            let made = match is_known {
                true => self.past.is_made_by(revision, request, &read_set),
                false => self.past.may_be_made_by(revision, request),
            };
            match made {
                Answer::Yes => note(&mut before, revision.saturating_sub(1), seen.and(request)),
                Answer::No => {}
                Answer::Unknown => return None,
            }
            let made_none = match is_sure {
                true => self.past.is_unchanged_by(revision, request, &read_set),
                false => Answer::Yes,
            };
            match made_none {
                Answer::Yes => note(&mut before, revision, seen),
                Answer::No => {}
                Answer::Unknown => return None,
            }
        }
        Some(before)
    }

    /// Whether a server may have refused a request.
    fn is_refusable(&self, info: &AuthInfo, request: &Request) -> bool {
        // Who puts a key on a lease, or revokes one, must be permitted to write all keys that were on it then.
        let asks_more = || !leases(request).is_empty() || matches!(request, Request::LeaseRevoke(_));
        let permits = || self.auth.permits(info, request, &Leases::default()) == Ok(true);
        self.may_refuse || (self.state.auth.enabled && (asks_more() || !permits()))
    }

    fn lacks(&self, index: u64, request: &Request) -> Error {
        let claimed = self.state.consistent_index.unwrap_or(0);
        FindingKind::BaseContent { claimed, index, change: described(request) }.into()
    }
}

/// Notes a position, with the most writes seen on a way to it.
pub(super) fn note(positions: &mut Positions, revision: i64, seen: Shared) {
    let most = positions.entry(revision).or_default();
    *most = seen.max(*most);
}

/// What later entries tell of leases: there is one if the state has it, unless it was granted later.
struct LeasesAfter {
    now: HashSet<i64>,
    granted: HashSet<i64>,
    revoked: HashSet<i64>,
    /// Whether there is an entry that cannot be read, or the state may have leases of entries behind its last one: etcd 3.4
    /// does not write down the index of an entry that grants or revokes one.
    is_unknown: bool,
}

impl LeasesAfter {
    fn new(state: &State) -> Self {
        let now = state.leases.iter().map(|lease| lease.id).collect();
        Self { now, granted: HashSet::new(), revoked: HashSet::new(), is_unknown: state.term.is_none() }
    }

    fn has(&self, id: i64) -> bool {
        self.now.contains(&id) && !self.granted.contains(&id) && !self.is_unknown
    }

    /// Takes a request in that is before all others so far; whether the state has what it did.
    fn agree(&mut self, request: &Request, is_refusable: bool) -> bool {
        let is_unsure = is_refusable || self.is_unknown;
        match request {
            Request::LeaseGrant(grant) => {
                self.granted.insert(grant.id);
                let is_granted = Leases::default().grant(grant.id, grant.ttl);
                let is_there = self.now.contains(&grant.id) || self.revoked.contains(&grant.id);
                is_unsure || !is_granted || is_there
            }
            Request::LeaseRevoke(id) => {
                self.revoked.insert(*id);
                is_unsure || !self.now.contains(id) || self.granted.contains(id)
            }
            _ => true,
        }
    }
}

fn writes_keys(request: &Request) -> bool {
    matches!(request, Request::Put(_) | Request::DeleteRange(_) | Request::Txn(_) | Request::LeaseRevoke(_))
}

fn changes_what_is_refused(request: &Request) -> bool {
    match request {
        // Health checks ask for the alarms through the log.
        Request::Alarm(alarm) => !alarm.is_get(),
        Request::Auth(_) => true,
        _ => false,
    }
}

/// Whether what a request does follows from the keys alone: not from the keys that were on a lease, nor from how far the
/// store was compacted.
fn is_known(request: &Request) -> bool {
    match request {
        Request::LeaseRevoke(_) => false,
        Request::Txn(txn) => {
            let mut is_known = true;
            txn.each_operation(&mut |operation| {
                is_known &= !matches!(operation, Op::Range(range) if range.revision != 0);
            });
            is_known
        }
        _ => true,
    }
}

/// The leases that a request puts keys on.
pub(super) fn leases(request: &Request) -> Vec<i64> {
    let mut leases = Vec::new();
    match request {
        Request::Put(put) => leases.push(put.lease),
        Request::Txn(txn) => txn.each_operation(&mut |operation| {
            if let Op::Put(put) = operation {
                leases.push(put.lease);
            }
        }),
        _ => {}
    }
    leases.retain(|id| *id != 0);
    leases
}

fn described(request: &Request) -> String {
    let first = || printable(request.keys().first().copied().unwrap_or_default());
    match request {
        Request::Put(_) => format!("put {}", first()),
        Request::DeleteRange(_) => format!("delete {}", first()),
        Request::Txn(_) => format!("transaction on {}", first()),
        Request::LeaseGrant(grant) => format!("grant lease {:x}", grant.id),
        Request::LeaseRevoke(id) => format!("revoke lease {id:x}"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests;
