//! Which source to take without asking a person.

use super::{Comparison, Relation, Standing};

/// Why no source is taken without asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoChoice {
    /// None is fit.
    NoneFit,
    /// The freshest diverges from these others, and no majority stands by it.
    Diverged {
        /// The freshest.
        freshest: usize,
        /// Those it diverges from.
        from: Vec<usize>,
    },
    /// Nothing shows that the freshest goes on from these others.
    Unknown {
        /// The freshest.
        freshest: usize,
        /// Those it cannot be compared with.
        from: Vec<usize>,
    },
}

impl Comparison {
    /// How two sources stand to each other, if both are fit.
    pub fn relation(&self, one: usize, other: usize) -> Option<&Relation> {
        let pair = self.pairs.iter().find(|pair| [[one, other], [other, one]].contains(&pair.sources));
        pair.map(|pair| &pair.relation)
    }

    /// The freshest source that is fit, if nothing speaks against taking it: every other one is an earlier state of it, or
    /// diverges from the majority that the freshest is of.
    ///
    /// # Errors
    /// [`NoChoice`]: a person must say which state is right.
    pub fn choose(&self) -> Result<usize, NoChoice> {
        let Some((&freshest, others)) = self.ranking.split_first() else { return Err(NoChoice::NoneFit) };
        let (mut diverged, mut unknown, mut with) = (Vec::new(), Vec::new(), 1);
        for other in others {
            match self.relation(freshest, *other) {
                Some(Relation::Diverged(_)) => diverged.push(*other),
                Some(Relation::Agree { whole: true }) => with += 1,
                Some(Relation::Agree { whole: false }) if self.is_one_cluster(freshest, *other) => with += 1,
                _ => unknown.push(*other),
            }
        }
        if diverged.len() >= with {
            return Err(NoChoice::Diverged { freshest, from: diverged });
        }
        if !unknown.is_empty() {
            return Err(NoChoice::Unknown { freshest, from: unknown });
        }
        Ok(freshest)
    }

    /// Whether two sources know a member in common: a cluster that was restored in between has others.
    pub fn is_one_cluster(&self, one: usize, other: usize) -> bool {
        let of = |place: usize| self.standings.get(place);
        of(one).zip(of(other)).is_some_and(|(one, other)| Standing::is_of_the_cluster_of(one, other))
    }
}
