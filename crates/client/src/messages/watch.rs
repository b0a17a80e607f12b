//! The messages of service `Watch`.

use super::{Event, ResponseHeader};

/// `WatchCreateRequest`.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct WatchCreateRequest {
    /// The key, or the first of the range.
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    /// The end of the range, exclusive; empty for the one key.
    #[prost(bytes = "vec", tag = "2")]
    pub range_end: Vec<u8>,
    /// The first revision to report; 0 for the next.
    #[prost(int64, tag = "3")]
    pub start_revision: i64,
    /// Send the revision now and then while nothing happens.
    #[prost(bool, tag = "4")]
    pub progress_notify: bool,
    /// Send each key's previous value too.
    #[prost(bool, tag = "6")]
    pub prev_kv: bool,
    /// Split large responses.
    #[prost(bool, tag = "8")]
    pub fragment: bool,
}

/// `WatchProgressRequest`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct WatchProgressRequest {}

/// `WatchRequest.request_union`.
#[derive(Clone, PartialEq, Eq, Hash, prost::Oneof)]
pub enum WatchRequestUnion {
    /// Open a watch.
    #[prost(message, tag = "1")]
    CreateRequest(WatchCreateRequest),
    /// Ask how far the watches are.
    #[prost(message, tag = "3")]
    ProgressRequest(WatchProgressRequest),
}

/// `WatchRequest`.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct WatchRequest {
    /// The request.
    #[prost(oneof = "WatchRequestUnion", tags = "1, 3")]
    pub request_union: Option<WatchRequestUnion>,
}

/// `WatchResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WatchResponse {
    /// The header.
    #[prost(message, required, tag = "1")]
    pub header: ResponseHeader,
    /// The watch concerned; -1 when none was opened, or all are.
    #[prost(int64, tag = "2")]
    pub watch_id: i64,
    /// The watch has been opened.
    #[prost(bool, tag = "3")]
    pub created: bool,
    /// The watch is over.
    #[prost(bool, tag = "4")]
    pub canceled: bool,
    /// The member's compaction, when the watch is over because its revisions are gone; else 0.
    #[prost(int64, tag = "5")]
    pub compact_revision: i64,
    /// Why the watch is over; empty when `compact_revision` says it.
    #[prost(string, tag = "6")]
    pub cancel_reason: String,
    /// More events come in the next response, possibly of the same revision: do not take the last
    /// revision for complete yet.
    #[prost(bool, tag = "7")]
    pub fragment: bool,
    /// The changes, in the order of their revisions.
    #[prost(message, repeated, tag = "11")]
    pub events: Vec<Event>,
}

impl WatchResponse {
    /// Whether the response says no more than that every event up to the header's revision has been
    /// sent.
    #[must_use]
    pub fn is_progress(&self) -> bool {
        self.events.is_empty() && !self.created && !self.canceled && self.compact_revision == 0
    }
}
