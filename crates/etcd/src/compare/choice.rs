//! Chooses the source for a restore, if the choice is unambiguous.

use std::collections::BTreeSet;

use super::{Comparison, RankedSource, Relation};

/// Why no source can be chosen automatically.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoChoice {
    /// No source is eligible.
    NoneEligible,
    /// The freshest diverges from other sources and is not backed by a majority of members.
    Diverged {
        /// Index of the freshest.
        freshest: usize,
        /// Indexes of the sources it diverges from.
        from: Vec<usize>,
    },
    /// It is unknown whether the freshest continues the history of other sources.
    Unknown {
        /// Index of the freshest.
        freshest: usize,
        /// Indexes of the sources it cannot be compared with.
        from: Vec<usize>,
    },
}

impl Comparison {
    /// The relation of two sources' histories, if both are eligible.
    pub fn relation(&self, one: usize, other: usize) -> Option<&Relation> {
        let pair = self.pairs.iter().find(|pair| [[one, other], [other, one]].contains(&pair.sources));
        pair.map(|pair| &pair.relation)
    }

    /// Index of the freshest eligible source, if the choice is unambiguous: every other source is an earlier state of it, or
    /// diverges from a majority of members that agree with it.
    ///
    /// # Errors
    /// [`NoChoice`]: the caller must decide which state is right.
    pub fn choose(&self) -> Result<usize, NoChoice> {
        let Some((&freshest, others)) = self.ranking.split_first() else {
            return Err(NoChoice::NoneEligible);
        };
        let (mut diverged, mut unknown, mut agreeing) = (Vec::new(), Vec::new(), vec![freshest]);
        for other in others {
            match self.relation(freshest, *other) {
                Some(Relation::Diverged(_)) => diverged.push(*other),
                Some(Relation::Agree { whole: true }) => agreeing.push(*other),
                Some(Relation::Agree { whole: false }) if self.is_one_cluster(freshest, *other) => {
                    agreeing.push(*other);
                }
                _ => unknown.push(*other),
            }
        }
        if !diverged.is_empty() && !self.outvotes(&agreeing, &diverged) {
            return Err(NoChoice::Diverged { freshest, from: diverged });
        }
        if !unknown.is_empty() {
            return Err(NoChoice::Unknown { freshest, from: unknown });
        }
        Ok(freshest)
    }

    /// Whether more members agree with the freshest than diverge from it. A member counts once, however many copies of it
    /// there are. A source that ends before the divergence is an earlier state of both, and one without a member, such as a
    /// snapshot, only shows what some member held: neither counts for the freshest.
    fn outvotes(&self, agreeing: &[usize], strays: &[usize]) -> bool {
        let parted = |place: &usize, stray: &usize| {
            matches!(self.relation(*place, *stray), Some(Relation::Diverged(_)))
        };
        let parted_from_all = |place: &&usize| strays.iter().all(|stray| parted(place, stray));
        let member = |place: &usize| self.sources.get(*place).and_then(RankedSource::member);
        let with: BTreeSet<_> = agreeing.iter().filter(parted_from_all).filter_map(member).collect();
        let of_members: BTreeSet<_> = strays.iter().filter_map(member).collect();
        let of_none = strays.iter().filter(|place| member(place).is_none()).count();
        with.len() > of_members.len() + of_none
    }

    /// Whether another source of its cluster shows what became of the entries at the end of a log that are not known to be
    /// committed: it has applied as many entries, or one of a later term, whose leader had every committed entry. What it
    /// lacks of them was replaced (Raft, 5.4). Not one that was started with `--force-new-cluster`, and has removed the
    /// log's member: its leader was not elected.
    pub fn is_end_decided(&self, place: usize) -> bool {
        let Some(logged) = self.sources.get(place).and_then(RankedSource::freshness).map(|own| own.logged)
        else {
            return false;
        };
        let decides = |other: &usize| {
            let applied = self.sources.get(*other).and_then(RankedSource::freshness).map(|its| its.applied);
            let is_beyond =
                applied.is_some_and(|applied| applied.index >= logged.index || applied.term > logged.term);
            let is_peer = || {
                let own = self.sources.get(place).and_then(RankedSource::member);
                self.sources.get(*other).zip(own).is_some_and(|(other, own)| other.has_member(own))
            };
            *other != place && is_beyond && is_peer()
        };
        self.ranking.iter().any(decides)
    }

    /// Whether two sources know a member in common: a cluster that was restored in between has others.
    pub fn is_one_cluster(&self, one: usize, other: usize) -> bool {
        let of = |place: usize| self.sources.get(place);
        of(one).zip(of(other)).is_some_and(|(one, other)| RankedSource::is_of_the_cluster_of(one, other))
    }
}
