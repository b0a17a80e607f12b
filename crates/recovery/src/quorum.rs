//! Quorum arithmetic: whether a cluster keeps its quorum while some of its members are away.
//!
//! Rules, planner and executor share this one answer, so that what is planned is what is checked again right before
//! anything is stopped. A member counts only if it is known to serve: one that is not in the inventory, hides its
//! status, or is accused of corrupt data may be fine, and is not relied on.

use std::collections::BTreeMap;
use std::fmt;

use crate::facts::{MemberEntry, MemberFacts, MemberStatus, has_corrupt_alarm};
use crate::inventory::Inventory;

/// An entry of the cluster's member list, with what is known of the process behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    /// Its id, in hexadecimal.
    pub id: String,
    /// The inventory's name of the member; absent for one that the inventory does not list.
    pub member: Option<String>,
    /// Whether it has a vote: not a learner.
    pub votes: bool,
    /// Whether it is known to serve the cluster.
    pub serves: bool,
    /// Whether etcd accuses it of corrupt data: it counts for raft, and nothing is rebuilt from it.
    pub doubted: bool,
}

/// The member list as the cluster with a quorum reports it.
///
/// `None` when no member has a quorum, or when members of different clusters do and neither is the majority.
pub fn seats(inventory: &Inventory, members: &BTreeMap<String, MemberFacts>) -> Option<Vec<Seat>> {
    let cluster = serving_cluster(members)?;
    let of_cluster = |member: &&MemberFacts| {
        member.sees_quorum() && member.status.get().is_some_and(|status| status.cluster_id == cluster)
    };
    let rank = |status: &MemberStatus| (status.raft_term, status.raft_index);
    let best = members
        .values()
        .filter(of_cluster)
        .filter(|member| member.member_list.get().is_some())
        .max_by_key(|member| member.status.get().map(rank))?;
    let doubted =
        |id: &str| has_corrupt_alarm(members.values().filter_map(|member| member.alarms.get()).flatten(), id);
    let seat = |entry: &MemberEntry| {
        let by_id = members.iter().find(|(_, member)| {
            member
                .status
                .get()
                .is_some_and(|status| status.cluster_id == cluster && status.member_id == entry.id)
        });
        let serves = by_id.is_some_and(|(_, member)| {
            let follows = member.status.get().is_some_and(|status| status.leader.is_some());
            follows && member.sees_quorum()
        });
        let by_url = || {
            let all = inventory.etcd.members.iter();
            all.filter(|(_, spec)| entry.peer_urls.contains(&spec.peer_url)).map(|(name, _)| name).next()
        };
        Seat {
            id: entry.id.clone(),
            member: by_id.map(|(name, _)| name).or_else(by_url).cloned(),
            votes: !entry.learner,
            serves,
            doubted: doubted(&entry.id),
        }
    };
    best.member_list.get().map(|list| list.iter().map(seat).collect())
}

/// The cluster through which most members read linearizably; a tie has no answer.
fn serving_cluster(members: &BTreeMap<String, MemberFacts>) -> Option<&str> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for member in members.values().filter(|member| member.sees_quorum()) {
        if let Some(status) = member.status.get() {
            *counts.entry(status.cluster_id.as_str()).or_default() += 1;
        }
    }
    let most = counts.values().copied().max()?;
    let mut with_most = counts.into_iter().filter(|(_, count)| *count == most);
    match (with_most.next(), with_most.next()) {
        (Some((cluster, _)), None) => Some(cluster),
        _ => None,
    }
}

/// What is left of a quorum while some members are away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Margin {
    /// The members that are away, as people name them.
    pub away: Vec<String>,
    /// Members with a vote in today's list.
    pub voters: usize,
    /// How many of those that stay have a vote and serve.
    pub serving: usize,
    /// How many must serve: the most that today's list, the list without those that are away, and the list with
    /// their successors ask for.
    pub needed: usize,
    /// Members with a vote that stay and do not serve, or are not known to.
    pub missing: Vec<String>,
}

impl Margin {
    /// The margin while these members of the inventory are stopped for a moment: the list stays as it is.
    pub fn stopping(seats: &[Seat], away: &[&str]) -> Self {
        Self::of(seats, away, |seat| seat.serves, |voters, _| majority(voters))
    }

    /// The margin while a member of the inventory is replaced: stopped, taken out of the list, and added again.
    pub fn replacing(seats: &[Seat], member: &str) -> Self {
        Self::of(
            seats,
            &[member],
            |seat| seat.serves && !seat.doubted,
            |voters, gone| {
                let without = voters.saturating_sub(gone);
                majority(voters).max(majority(without)).max(majority(without.saturating_add(1)))
            },
        )
    }

    fn of(
        seats: &[Seat],
        away: &[&str],
        counts: impl Fn(&Seat) -> bool,
        needed: impl Fn(usize, usize) -> usize,
    ) -> Self {
        let is_away = |seat: &&Seat| seat.member.as_deref().is_some_and(|member| away.contains(&member));
        let voters = || seats.iter().filter(|seat| seat.votes);
        let gone = voters().filter(is_away).count();
        let stays = || voters().filter(|seat| !is_away(seat));
        let name = |seat: &Seat| {
            seat.member.clone().unwrap_or_else(|| format!("{} (not in the inventory)", seat.id))
        };
        Self {
            away: away.iter().map(|name| (*name).to_owned()).collect(),
            voters: voters().count(),
            serving: stays().filter(|seat| counts(seat)).count(),
            needed: needed(voters().count(), gone),
            missing: stays().filter(|seat| !counts(seat)).map(name).collect(),
        }
    }

    /// Whether those that stay are a quorum.
    pub fn holds(&self) -> bool {
        self.serving >= self.needed
    }
}

impl fmt::Display for Margin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { away, voters, serving, needed, missing } = self;
        write!(
            f,
            "without {}, {serving} of {voters} voting members serve, {needed} needed",
            away.join(", ")
        )?;
        if !self.holds() && !missing.is_empty() {
            write!(f, " (not serving, or in doubt: {})", missing.join(", "))?;
        }
        Ok(())
    }
}

/// Why a member is not replaced, and what to do, in one sentence.
pub fn keep(member: &str, margin: Option<&Margin>) -> String {
    let why = match margin {
        Some(margin) => margin.to_string(),
        None => "the member list of a quorum is not known".into(),
    };
    let first = match margin {
        Some(margin) if margin.voters <= 2 => {
            "save a snapshot of each member with `lifeboat save` and decide by hand which data to keep".into()
        }
        Some(margin) if !margin.missing.is_empty() => {
            format!("bring back {} first, then plan again", margin.missing.join(", "))
        }
        _ => "bring the other members back first, then plan again".to_owned(),
    };
    format!(
        "{member} is needed for the quorum and is not replaced: {why}; do not stop it, remove it or delete its data; {first}"
    )
}

/// The least number of voters that are a quorum of so many.
pub(crate) fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a` serves, `A` does not; `(a)` is a learner; `?` is a voter that the inventory does not list.
    fn list(text: &str) -> Vec<Seat> {
        let mut seats = Vec::new();
        let mut votes = true;
        for letter in text.chars() {
            match letter {
                '(' => votes = false,
                ')' => votes = true,
                '?' => {
                    seats.push(Seat { id: "f00".into(), member: None, votes, serves: false, doubted: false });
                }
                letter => seats.push(Seat {
                    id: letter.to_string(),
                    member: Some(letter.to_ascii_lowercase().to_string()),
                    votes,
                    serves: letter.is_ascii_lowercase(),
                    doubted: false,
                }),
            }
        }
        seats
    }

    #[test]
    fn a_member_is_replaced_only_by_others_that_are_a_quorum() {
        let holds = |text: &str, member: &str| Margin::replacing(&list(text), member).holds();
        // Three members: the other two must serve.
        assert!(holds("abc", "b") && holds("aBc", "b"));
        assert!(!holds("abC", "b"), "a and b are the quorum");
        // One and two members: nothing can be taken.
        assert!(!holds("a", "a") && !holds("A", "a") && !holds("ab", "b") && !holds("aB", "b"));
        // Four members need three, so that one can be away, and five need three.
        assert!(holds("abcd", "d") && holds("abcD", "d") && !holds("abCd", "d"));
        assert!(holds("abcDe", "e") && !holds("abCDe", "e"));
        // A learner has no vote: it neither helps nor is needed.
        assert!(!holds("ab(c)", "b") && holds("abc(d)", "b") && holds("ab(c)", "c"));
        // A voter that is not in the inventory counts for what is needed and not for what serves.
        assert!(!holds("abc?", "c") && holds("abcd?", "d") && !holds("abC?", "c"));
    }

    #[test]
    fn a_member_outside_of_the_list_is_added_only_where_its_vote_does_no_harm() {
        let holds = |text: &str| Margin::replacing(&list(text), "x").holds();
        assert!(holds("ab") && holds("abc") && holds("abcd"));
        // Three voters of which two serve still decide; four of which two serve do not.
        assert!(!holds("abC"));
        // Two voters need both, and so do three.
        assert!(!holds("aB"));
        // A cluster of one becomes one of two, which needs the new member too.
        assert!(!holds("a"));
    }

    #[test]
    fn members_are_stopped_only_beside_a_quorum() {
        let holds = |text: &str, away: &[&str]| Margin::stopping(&list(text), away).holds();
        assert!(holds("abC", &["c"]) && !holds("abC", &["b"]));
        assert!(holds("abcDE", &["d", "e"]) && !holds("abcDe", &["d", "e", "c"]));
        assert!(!holds("a", &["a"]) && holds("(x)a", &["x"]));
    }

    /// It takes part in raft all the same, and a new member may be sent its data.
    #[test]
    fn a_member_under_an_alarm_counts_while_others_are_stopped_and_not_while_one_is_replaced() {
        let mut seats = list("abc");
        seats[2].doubted = true;
        assert!(Margin::stopping(&seats, &["a"]).holds() && !Margin::replacing(&seats, "a").holds());
        assert!(Margin::replacing(&seats, "c").holds());
    }

    #[test]
    fn a_margin_says_who_is_missing() {
        let margin = Margin::replacing(&list("abC?"), "b");
        assert_eq!(
            margin.to_string(),
            "without b, 1 of 4 voting members serve, 3 needed (not serving, or in doubt: c, f00 (not in the inventory))"
        );
        assert_eq!(
            Margin::replacing(&list("abc"), "b").to_string(),
            "without b, 2 of 3 voting members serve, 2 needed"
        );
    }
}
