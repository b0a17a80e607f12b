//! What the end of a member's log adds to a restore without being known to be committed.

use crate::facts::{DataDirState, Facts, MemberFacts, Uncommitted};
use crate::quorum::majority;

/// The entries at the end of a stopped member's log that no majority is known to hold. A restore contains them: the members
/// that cannot be read may have had them, and then clients were told that they are done.
pub(super) fn uncommitted(facts: &Facts, name: &str) -> Option<Uncommitted> {
    let state = facts.members.get(name)?.readable()?;
    let uncommitted = state.uncommitted.as_ref()?;
    let first = uncommitted.first.max(held_by_majority(facts, state).saturating_add(1));
    match first {
        first if first > uncommitted.last => None,
        first if first == uncommitted.first => Some(uncommitted.clone()),
        // Which of the changes are left is not known here.
        first => Some(Uncommitted {
            first,
            last: uncommitted.last,
            changes: Vec::new(),
            further_changes: 0,
            known: false,
        }),
    }
}

/// The last entry that the logs of a majority of the members hold; 0 when too few are known. Two logs that end in the same
/// term are the same up to the end of the shorter one (raft's log matching property).
fn held_by_majority(facts: &Facts, state: &DataDirState) -> u64 {
    let same = |other: &MemberFacts| {
        let last = other.last_entry()?;
        (other.cluster_id() == Some(&state.cluster_id) && last.term == state.last_term).then_some(last.index)
    };
    let mut ends: Vec<u64> = facts.members.values().filter_map(same).collect();
    ends.sort_unstable_by_key(|end| std::cmp::Reverse(*end));
    let needed = majority(facts.inventory.etcd.members.len());
    needed.checked_sub(1).and_then(|at| ends.get(at)).copied().unwrap_or(0)
}
