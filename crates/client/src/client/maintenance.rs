//! Service `Maintenance`.

use super::Client;
use crate::messages::{
    AlarmAction, AlarmMember, AlarmRequest, AlarmResponse, DefragmentRequest, DefragmentResponse,
    HashKvRequest, HashKvResponse, StatusRequest, StatusResponse,
};
use crate::method::Method;
use crate::{Result, SnapshotStream};

impl Client {
    /// The member's own state (`Maintenance.Status`). Needs no quorum.
    ///
    /// # Errors
    ///
    /// [`Error::Call`](crate::Error::Call), [`Error::Timeout`](crate::Error::Timeout).
    pub async fn status(&self) -> Result<StatusResponse> {
        self.connection.unary(Method::STATUS, StatusRequest {}).await
    }

    /// The alarms raised in the cluster (`Maintenance.Alarm`, `GET`).
    ///
    /// Even this goes through raft and needs a quorum; [`StatusResponse::errors`] names the alarms
    /// without one.
    ///
    /// # Errors
    ///
    /// [`Error::Call`](crate::Error::Call), [`Error::Timeout`](crate::Error::Timeout).
    pub async fn alarms(&self) -> Result<AlarmResponse> {
        self.alarm(AlarmAction::Get, AlarmMember::default()).await
    }

    /// Disarms one alarm, as [`alarms`](Self::alarms) lists it (`Maintenance.Alarm`, `DEACTIVATE`);
    /// an alarm that is not raised is no error. There is no request for "all of them".
    ///
    /// # Errors
    ///
    /// [`Error::Call`](crate::Error::Call), [`Error::Timeout`](crate::Error::Timeout).
    pub async fn disarm(&self, alarm: AlarmMember) -> Result<AlarmResponse> {
        self.alarm(AlarmAction::Deactivate, alarm).await
    }

    /// Raises an alarm for a member, as the member itself would (`Maintenance.Alarm`, `ACTIVATE`).
    ///
    /// # Errors
    ///
    /// [`Error::Call`](crate::Error::Call), [`Error::Timeout`](crate::Error::Timeout).
    pub async fn activate(&self, alarm: AlarmMember) -> Result<AlarmResponse> {
        self.alarm(AlarmAction::Activate, alarm).await
    }

    async fn alarm(&self, action: AlarmAction, alarm: AlarmMember) -> Result<AlarmResponse> {
        let request = AlarmRequest { action: action.into(), member_id: alarm.member_id, alarm: alarm.alarm };
        self.connection.unary(Method::ALARM, request).await
    }

    /// The hash of the member's MVCC history up to `revision`, 0 for all of it
    /// (`Maintenance.HashKV`). Needs no quorum; reads the whole history.
    ///
    /// # Errors
    ///
    /// [`Error::Call`](crate::Error::Call), [`Error::Timeout`](crate::Error::Timeout);
    /// [`is_compacted`](crate::Error::is_compacted) when the revision is gone.
    pub async fn hash_kv(&self, revision: i64) -> Result<HashKvResponse> {
        self.connection.unary(Method::HASH_KV, HashKvRequest { revision }).await
    }

    /// Streams the member's database (`Maintenance.Snapshot`). Needs no quorum.
    ///
    /// # Errors
    ///
    /// [`Error::Call`](crate::Error::Call), [`Error::Timeout`](crate::Error::Timeout).
    pub async fn snapshot(&self) -> Result<SnapshotStream> {
        SnapshotStream::open(&self.connection).await
    }

    /// Rewrites the member's database without its free pages (`Maintenance.Defragment`).
    ///
    /// The member answers nothing else meanwhile, which takes minutes with gigabytes: use
    /// [`with_command_timeout`](Self::with_command_timeout).
    ///
    /// # Errors
    ///
    /// [`Error::Call`](crate::Error::Call), [`Error::Timeout`](crate::Error::Timeout).
    pub async fn defragment(&self) -> Result<DefragmentResponse> {
        self.connection.unary(Method::DEFRAGMENT, DefragmentRequest {}).await
    }
}
