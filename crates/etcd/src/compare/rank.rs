//! Eligibility of a source, and the order of sources by how much they hold.

use std::borrow::Cow;

use super::Extent;
use crate::alarm::{Alarm, AlarmKind};
use crate::error::{Error, Result};
use crate::finding::FindingKind;
use crate::inspect::{Inspection, inspect};
use crate::member::MemberId;
use crate::progress::Progress;
use crate::source::{EntryId, Source};

/// Why a source is not eligible for a restore.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ineligible {
    /// It is damaged, or its log cannot be replayed.
    #[error("{0}")]
    Damaged(FindingKind),
    /// It is not a snapshot, db or data dir.
    #[error("it is {0}")]
    NotASource(Cow<'static, str>),
    /// etcd raised a CORRUPT alarm for its member.
    #[error("etcd found that this member's data differs from its peers': it raised a {} alarm for {}", .0.kind, .0.member)]
    Corrupt(Alarm),
    /// It holds no keys.
    #[error("it holds no keys: its member was re-initialized")]
    Empty,
}

impl Ineligible {
    /// Turns the error of opening a source into a reason for ineligibility, if it is about the source's content.
    ///
    /// # Errors
    /// The error, unchanged, if it is not about the content.
    pub fn of(error: Error) -> Result<Self> {
        match error {
            Error::Damaged(kind) | Error::Unreplayable(kind) => Ok(Self::Damaged(kind)),
            Error::NotASource { found, .. } => Ok(Self::NotASource(found)),
            Error::NotAFile { found, .. } => Ok(Self::NotASource(found.into())),
            error => Err(error),
        }
    }

    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Damaged(kind) => kind.remedy(),
            Self::NotASource(_) => "name a snapshot file, an etcd db file or a member's data dir",
            Self::Corrupt(_) | Self::Empty => "use another member or snapshot",
        }
    }
}

/// A source with its content and eligibility.
#[derive(Debug)]
pub struct RankedSource {
    /// Its content; `None` if it cannot be read.
    pub inspection: Option<Inspection>,
    /// Why it is not eligible; `None` if it is.
    pub ineligible: Option<Ineligible>,
}

/// Order of sources by how much they hold; the greatest is the freshest.
///
/// Where histories agree, the higher revision holds all that the lower one does. What holds the same is ordered as
/// raft orders it: by the last entry included, and then by the last one in the log, which may have been acknowledged to
/// clients. A member's own db comes before a log on another base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Freshness {
    revision: i64,
    pub(super) applied: EntryId,
    pub(super) logged: EntryId,
    has_own_db: bool,
}

impl RankedSource {
    pub(super) fn of(
        source: &std::result::Result<&dyn Source, Ineligible>,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let read = match source {
            Ok(source) => inspect(*source, progress),
            Err(ineligible) => return Ok(Self { inspection: None, ineligible: Some(ineligible.clone()) }),
        };
        match read {
            Ok(inspection) => Ok(Self { ineligible: ineligible(&inspection), inspection: Some(inspection) }),
            Err(error) => Ok(Self { inspection: None, ineligible: Some(Ineligible::of(error)?) }),
        }
    }

    /// The part of a history it has, if it is eligible.
    pub(super) fn extent(&self) -> Option<Extent> {
        let inspection = self.inspection.as_ref().filter(|_| self.ineligible.is_none())?;
        let compact_revision = inspection.state.compact_revision().unwrap_or(-1);
        Some(Extent { revision: inspection.revision, compact_revision })
    }

    pub(super) fn freshness(&self) -> Option<Freshness> {
        let Inspection { revision, state, raft, origin, .. } = self.inspection.as_ref()?;
        Some(Freshness {
            revision: *revision,
            applied: EntryId { term: state.term.unwrap_or(0), index: state.consistent_index.unwrap_or(0) },
            logged: raft.map(|raft| raft.log.last()).unwrap_or_default(),
            has_own_db: origin.base.is_none(),
        })
    }

    /// The member whose data dir it is.
    pub(super) fn member(&self) -> Option<MemberId> {
        self.inspection.as_ref()?.raft.map(|raft| raft.log.member_id)
    }

    /// Whether a member is one of its cluster, and was not removed.
    pub(super) fn has_member(&self, id: MemberId) -> bool {
        let members = self.inspection.as_ref().map(|inspection| &inspection.state.members);
        members.is_some_and(|members| members.iter().any(|member| member.id == id))
    }

    /// Whether it knows a member that another knows too.
    pub(super) fn is_of_the_cluster_of(&self, other: &Self) -> bool {
        let theirs = other.ids();
        self.ids().iter().any(|id| theirs.contains(id))
    }

    /// The members that it knows of.
    fn ids(&self) -> Vec<MemberId> {
        let Some(Inspection { state, raft, .. }) = &self.inspection else { return Vec::new() };
        let members = state.members.iter().map(|member| member.id);
        members
            .chain(state.members_removed.iter().copied())
            .chain(raft.map(|raft| raft.log.member_id))
            .collect()
    }
}

fn ineligible(inspection: &Inspection) -> Option<Ineligible> {
    if let Err(kind) = &inspection.integrity {
        return Some(Ineligible::Damaged(kind.clone()));
    }
    if let Some(kind) = inspection.state.undecodable.first() {
        return Some(Ineligible::Damaged(kind.clone()));
    }
    let own = inspection.raft.map(|raft| raft.log.member_id);
    let corrupt = |alarm: &&Alarm| alarm.kind == AlarmKind::Corrupt && Some(alarm.member) == own;
    if let Some(alarm) = inspection.state.alarms.iter().find(corrupt) {
        return Some(Ineligible::Corrupt(*alarm));
    }
    (inspection.live_keys == 0).then_some(Ineligible::Empty)
}
