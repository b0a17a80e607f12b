//! Alarms, and what they keep from being applied (`server/etcdserver/api/v3alarm/alarms.go`, `apply/apply.go`,
//! `applierV3Capped`; `apply/corrupt.go`).

use std::collections::BTreeSet;

use prost::Message;

use super::messages::AlarmRequest;
use super::request::Request;
use super::txn;
use crate::alarm::AlarmKind;
use crate::apply::Overlay;
use crate::proto::AlarmMember;
use crate::schema::Bucket;
use crate::state::State;
use crate::version::EtcdVersion;

const NONE: i32 = 0;
const NO_SPACE: i32 = 1;
const CORRUPT: i32 = 2;

const ACTIVATE: i32 = 1;
const DEACTIVATE: i32 = 2;

/// Alarms raised.
#[derive(Debug)]
pub(super) struct Alarms {
    /// Kind and member.
    raised: BTreeSet<(i32, u64)>,
    /// Whether what takes space is refused.
    capped: bool,
    /// Whether all is refused.
    corrupt: bool,
    /// Whether permissions are not checked.
    unchecked: bool,
    version: Option<EtcdVersion>,
}

impl Alarms {
    pub(super) fn new(state: &State) -> Self {
        let number = |kind| match kind {
            AlarmKind::NoSpace => NO_SPACE,
            AlarmKind::Corrupt => CORRUPT,
            AlarmKind::Unknown(number) => number,
        };
        let raised = state.alarms.iter().map(|alarm| (number(alarm.kind), alarm.member.0)).collect();
        let (capped, corrupt, unchecked) = (false, false, false);
        let mut alarms = Self { raised, capped, corrupt, unchecked, version: state.written_by() };
        (alarms.capped, alarms.corrupt) = (alarms.is_raised(NO_SPACE), alarms.is_raised(CORRUPT));
        alarms
    }

    fn is_raised(&self, kind: i32) -> bool {
        self.raised.iter().any(|(raised, _)| *raised == kind)
    }

    /// Whether a server applies everything without asking for permissions: up to 3.5 it does from the moment an alarm
    /// is raised until one ends, or until it is started again.
    pub(super) fn permit_all(&self) -> bool {
        self.unchecked
    }

    /// Whether a server with these alarms refuses a request.
    pub(super) fn refuse(&self, request: &Request) -> bool {
        match request {
            Request::Put(_) | Request::LeaseGrant(_) => self.capped || self.corrupt,
            Request::Txn(request) => {
                // 3.4, and early patch releases of later versions, overlook nested puts.
                let nested = self.version != Some(EtcdVersion::V3_4);
                (self.capped && txn::may_put(request, nested)) || self.corrupt
            }
            Request::DeleteRange(_) | Request::Compaction(_) | Request::LeaseRevoke(_) => self.corrupt,
            _ => false,
        }
    }

    pub(super) fn apply(&mut self, request: &AlarmRequest, overlay: &mut Overlay) {
        let AlarmRequest { action, member_id, alarm } = *request;
        let was_raised = self.is_raised(alarm);
        let key = AlarmMember { member_id, alarm }.encode_to_vec();
        match action {
            ACTIVATE if self.can_be_raised(alarm) && self.raised.insert((alarm, member_id)) => {
                overlay.set(Bucket::Alarm, key, []);
            }
            DEACTIVATE if self.raised.remove(&(alarm, member_id)) => overlay.remove(Bucket::Alarm, key),
            _ => return,
        }
        let is_raised = self.is_raised(alarm);
        if self.version.is_none_or(|version| version >= EtcdVersion::V3_6) {
            (self.capped, self.corrupt) = (self.is_raised(NO_SPACE), self.is_raised(CORRUPT));
        } else if was_raised != is_raised && alarm != NONE {
            // Up to 3.5 the kind raised last counts alone, and the end of either is the end of both; and what
            // refuses requests then replaces the permission check (`etcdserver/apply.go`, `Alarm`).
            self.capped = is_raised && alarm == NO_SPACE;
            self.corrupt = is_raised && alarm == CORRUPT;
            self.unchecked = is_raised;
        }
    }

    /// 3.4 keeps one of no kind too.
    fn can_be_raised(&self, alarm: i32) -> bool {
        alarm != NONE || self.version == Some(EtcdVersion::V3_4)
    }
}
