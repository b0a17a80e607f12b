//! `Watch.Watch` with one watch on the stream (`server/etcdserver/api/v3rpc/watch.go`).

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::mpsc;
use tonic::codegen::tokio_stream::Stream;
use tonic::{Status, Streaming};

use crate::Result;
use crate::connection::{Connection, REQUIRE_LEADER};
use crate::messages::{
    ALL_KEYS, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchRequestUnion, WatchResponse,
    prefix_range_end,
};
use crate::method::Method;

/// What to watch and from where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchOptions {
    /// The key, or the first key of the range.
    pub key: Vec<u8>,
    /// The end of the range, exclusive; empty for the one key.
    pub range_end: Vec<u8>,
    /// The first revision to report; 0 for whatever comes next.
    pub start_revision: i64,
    /// Have the member report its revision when there is nothing else to report, every 10 minutes
    /// unless it is told otherwise (`--watch-progress-notify-interval`, `--experimental-` before 3.6).
    pub progress_notify: bool,
    /// Include each key's previous value, if it is not compacted yet.
    pub prev_kv: bool,
    /// Fail when the member has no leader, instead of hearing nothing.
    pub require_leader: bool,
}

impl WatchOptions {
    /// Every key, from `start_revision` on.
    #[must_use]
    pub fn all(start_revision: i64) -> Self {
        let key = ALL_KEYS.to_vec();
        Self { range_end: key.clone(), key, start_revision, ..Self::default() }
    }

    /// Every key that begins with `prefix`, from `start_revision` on.
    #[must_use]
    pub fn prefix(prefix: impl Into<Vec<u8>>, start_revision: i64) -> Self {
        let key = prefix.into();
        if key.is_empty() {
            return Self::all(start_revision);
        }
        Self { range_end: prefix_range_end(&key), key, start_revision, ..Self::default() }
    }
}

/// The responses to one watch. Dropping it ends the watch.
pub struct WatchStream {
    stream: Streaming<WatchResponse>,
    requests: mpsc::Sender<WatchRequest>,
    connection: Connection,
    canceled: bool,
}

impl WatchStream {
    pub(crate) async fn open(connection: &Connection, options: &WatchOptions) -> Result<Self> {
        connection.renew_token().await?;
        let create = WatchCreateRequest {
            key: options.key.clone(),
            range_end: options.range_end.clone(),
            start_revision: options.start_revision,
            progress_notify: options.progress_notify,
            prev_kv: options.prev_kv,
            // A watch that catches up is sent a thousand revisions at once; unsplit they could be
            // larger than any limit worth having.
            fragment: true,
        };
        let (requests, queue) = mpsc::channel(1);
        let first = WatchRequest { request_union: Some(WatchRequestUnion::CreateRequest(create)) };
        let queue = RequestQueue { first: Some(first), queue };
        let metadata = options.require_leader.then_some(REQUIRE_LEADER);
        let limit = connection.command_timeout;
        let stream = connection.streaming(limit, Method::WATCH, metadata, queue).await?;
        Ok(Self { stream, requests, connection: connection.clone(), canceled: false })
    }

    /// The next response, however long it takes; `None` once the watch is cancelled or the member
    /// has ended the stream.
    ///
    /// The first response says `created`. One that is `canceled`, which a watch refused outright makes
    /// the first, is the last: with a `compact_revision` the start was compacted, else
    /// `cancel_reason` says why.
    ///
    /// # Errors
    ///
    /// [`Error::Call`](crate::Error::Call) when the stream breaks, which a member that stops
    /// answering pings amounts to.
    pub async fn message(&mut self) -> Result<Option<WatchResponse>> {
        if self.canceled {
            return Ok(None);
        }
        let response =
            self.stream.message().await.map_err(|status| self.connection.error(Method::WATCH, &status))?;
        self.canceled = response.as_ref().is_some_and(|response| response.canceled);
        Ok(response)
    }

    /// Asks the member how far the watch is. The answer comes as a response for which
    /// [`WatchResponse::is_progress`] holds: all events up to its revision have been sent.
    ///
    /// Not to be relied on before etcd 3.4.25 and 3.5.8, whose answer can overtake events
    /// (etcd issue 15220).
    ///
    /// # Errors
    ///
    /// [`Error::Call`](crate::Error::Call) when the stream is broken, [`Error::Timeout`](crate::Error::Timeout)
    /// when the member takes no requests.
    pub async fn request_progress(&self) -> Result<()> {
        let union = WatchRequestUnion::ProgressRequest(WatchProgressRequest {});
        let send = async {
            let request = WatchRequest { request_union: Some(union) };
            self.requests.send(request).await.map_err(|_| Status::unavailable("the watch stream is closed"))
        };
        self.connection.within(self.connection.command_timeout, Method::WATCH, send).await
    }
}

impl fmt::Debug for WatchStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchStream").field("endpoint", self.connection.endpoint()).finish_non_exhaustive()
    }
}

/// The requests of one watch: the creation, then whatever is sent later. It ends with the
/// [`WatchStream`], so the member does not take the request side for closed.
struct RequestQueue {
    first: Option<WatchRequest>,
    queue: mpsc::Receiver<WatchRequest>,
}

impl Stream for RequestQueue {
    type Item = WatchRequest;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<WatchRequest>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(first)),
            None => self.queue.poll_recv(context),
        }
    }
}
