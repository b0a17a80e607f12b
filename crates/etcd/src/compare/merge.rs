//! The revisions of several sources, in one order.
//!
//! A source pushes its revisions to a visitor. A thread for each turns that into a queue of a few batches, from
//! whose ends the lowest revision is taken: memory does not grow with the sources.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::revision::{BucketKey, Revision};
use crate::source::Source;

/// Bytes of a batch, about; a value may be larger than that.
const BATCH: usize = 256 << 10;
/// Bytes that a revision takes beside its value, about.
const OVERHEAD: usize = 64;
/// Batches of a source that may wait.
const WAITING: usize = 2;

/// A revision as one source stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    /// Its place in the source's order, from 0.
    pub(super) ordinal: u64,
    pub(super) tombstone: bool,
    /// The KeyValue, encoded.
    pub(super) value: Vec<u8>,
}

type Entry = (Revision, Stored);
type Batch = Result<Vec<Entry>>;

/// What a visitor is given: a revision, and for each source what it stores there.
pub(super) type VisitMerged<'a> = &'a mut dyn FnMut(Revision, &[Option<Stored>]) -> Result<()>;

/// Calls `visit` with every revision that any source has, ascending.
pub(super) fn merge(sources: &[&dyn Source], progress: &dyn Progress, visit: VisitMerged<'_>) -> Result<()> {
    std::thread::scope(|scope| {
        let mut streams: Vec<Stream> = Vec::new();
        for source in sources {
            let (sender, batches) = sync_channel(WAITING);
            scope.spawn(move || send_all(*source, &sender));
            streams.push(Stream { batches, batch: Vec::new().into_iter().peekable() });
        }
        // Dropped at an error, the queues end the threads.
        merge_streams(streams, progress, visit)
    })
}

fn merge_streams(mut streams: Vec<Stream>, progress: &dyn Progress, visit: VisitMerged<'_>) -> Result<()> {
    loop {
        let mut lowest: Option<Revision> = None;
        for stream in &mut streams {
            let next = stream.peek()?;
            lowest = [lowest, next].into_iter().flatten().min();
        }
        let Some(revision) = lowest else { return Ok(()) };
        let stored: Vec<Option<Stored>> = streams.iter_mut().map(|stream| stream.take(revision)).collect();
        progress.advance(stored.iter().flatten().map(|stored| stored.value.len() as u64).sum());
        visit(revision, &stored)?;
    }
}

/// One source's revisions.
struct Stream {
    batches: Receiver<Batch>,
    batch: std::iter::Peekable<std::vec::IntoIter<Entry>>,
}

impl Stream {
    /// The next revision; `None` at the end.
    fn peek(&mut self) -> Result<Option<Revision>> {
        if self.batch.peek().is_none() {
            match self.batches.recv() {
                Ok(batch) => self.batch = batch?.into_iter().peekable(),
                Err(_) => return Ok(None),
            }
        }
        Ok(self.batch.peek().map(|(revision, _)| *revision))
    }

    fn take(&mut self, revision: Revision) -> Option<Stored> {
        self.batch.next_if(|(next, _)| *next == revision).map(|(_, stored)| stored)
    }
}

fn send_all(source: &dyn Source, to: &SyncSender<Batch>) {
    let mut sending = Sending { to, batch: Vec::new(), bytes: 0, ordinal: 0 };
    let sent = source.revisions(&mut |key, value| sending.add(key, value));
    let last = sent.and_then(|()| sending.flush());
    if let Err(error) = last {
        // Nobody listens any more when that fails too.
        let _ = to.send(Err(error));
    }
}

struct Sending<'a> {
    to: &'a SyncSender<Batch>,
    batch: Vec<Entry>,
    bytes: usize,
    ordinal: u64,
}

impl Sending<'_> {
    fn add(&mut self, BucketKey { revision, tombstone }: BucketKey, value: &[u8]) -> Result<()> {
        self.batch.push((revision, Stored { ordinal: self.ordinal, tombstone, value: value.to_vec() }));
        self.ordinal += 1;
        self.bytes += value.len() + OVERHEAD;
        if self.bytes < BATCH { Ok(()) } else { self.flush() }
    }

    /// Sends the batch. A closed channel means that the merge has ended with an error of its own.
    fn flush(&mut self) -> Result<()> {
        self.bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() {
            return Ok(());
        }
        self.to.send(Ok(batch)).map_err(|_| Error::Io(std::io::Error::other("the comparison has ended")))
    }
}
