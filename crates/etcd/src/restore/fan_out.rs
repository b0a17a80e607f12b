//! One stream of bytes into several files, written by a thread of its own beside the one that makes the
//! bytes.
//!
//! A second thread keeps asking the disk for what was written so far. Left to itself, the kernel collects
//! gigabytes before it starts, then makes the writer wait for all of them at once.

use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, channel, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

use fs_err::File;

use crate::thread::join;

/// Bytes handed to the writing thread at once.
const CHUNK: usize = 1 << 20;
/// Chunks that may wait: with the one being filled and the one being written, all the memory it takes.
const WAITING: usize = 4;
/// Bytes after which the disk is asked for what it has of a file.
const SYNC_EVERY: u64 = 64 << 20;

/// The stream; dropped before [`FanOut::finish`], what was not yet written is lost.
pub(super) struct FanOut<'scope> {
    chunk: Vec<u8>,
    /// Where the chunk being filled goes.
    offset: u64,
    filled: SyncSender<Chunk>,
    emptied: Receiver<Vec<u8>>,
    /// `None` once it has failed and its error was reported.
    writer: Option<ScopedJoinHandle<'scope, io::Result<()>>>,
    syncer: ScopedJoinHandle<'scope, io::Result<()>>,
}

struct Chunk {
    offset: u64,
    bytes: Vec<u8>,
}

impl<'scope> FanOut<'scope> {
    pub(super) fn start<'env>(scope: &'scope Scope<'scope, 'env>, files: &'scope [File]) -> Self {
        let (filled, to_write) = sync_channel(WAITING);
        let (give_back, emptied) = channel();
        // One tick waits at most: a sync under way covers what the next one would have been for.
        let (tick, ticks) = sync_channel(1);
        let syncer = scope.spawn(move || sync_on(&ticks, files));
        let writer = Some(scope.spawn(move || write_all(&to_write, &give_back, &tick, files)));
        Self { chunk: Vec::with_capacity(CHUNK), offset: 0, filled, emptied, writer, syncer }
    }

    /// Waits until everything is written. Nothing is promised about the disk yet.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.hand_over()?;
        let Self { filled, writer, syncer, .. } = self;
        drop(filled);
        ended(writer)?;
        join(syncer)
    }

    fn hand_over(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let next = self.emptied.try_recv().unwrap_or_else(|_| Vec::with_capacity(CHUNK));
        let bytes = std::mem::replace(&mut self.chunk, next);
        let chunk = Chunk { offset: self.offset, bytes };
        self.offset += chunk.bytes.len() as u64;
        // Nobody takes it: the writer has failed, and its own error says why.
        self.filled.send(chunk).or_else(|_| ended(self.writer.take()).and(Err(gone())))
    }
}

fn ended(writer: Option<ScopedJoinHandle<'_, io::Result<()>>>) -> io::Result<()> {
    join(writer.ok_or_else(gone)?)
}

fn gone() -> io::Error {
    io::Error::other("the writing thread has ended")
}

impl Write for FanOut<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.chunk.len() >= CHUNK {
            self.hand_over()?;
        }
        let room = CHUNK.saturating_sub(self.chunk.len()).min(bytes.len());
        self.chunk.extend_from_slice(bytes.get(..room).unwrap_or_default());
        Ok(room)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hand_over()
    }
}

impl Seek for FanOut<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.hand_over()?;
        match to {
            SeekFrom::Start(offset) => self.offset = offset,
            _ => return Err(io::ErrorKind::Unsupported.into()),
        }
        Ok(self.offset)
    }
}

fn write_all(
    to_write: &Receiver<Chunk>,
    give_back: &std::sync::mpsc::Sender<Vec<u8>>,
    tick: &SyncSender<()>,
    files: &[File],
) -> io::Result<()> {
    let mut unsynced = 0;
    for Chunk { offset, mut bytes } in to_write {
        for file in files {
            file.file().write_all_at(&bytes, offset).map_err(|source| {
                io::Error::new(source.kind(), format!("write {}: {source}", file.path().display()))
            })?;
        }
        unsynced += bytes.len() as u64;
        bytes.clear();
        // Nobody may be left to take it: then the stream is at its end.
        let _ = give_back.send(bytes);
        if unsynced >= SYNC_EVERY && !matches!(tick.try_send(()), Err(TrySendError::Full(()))) {
            unsynced = 0;
        }
    }
    Ok(())
}

/// Stops at the first error: the kernel reports a failed write-back once for an open file, so an error
/// that is dropped here would be missing from the sync at the end.
fn sync_on(ticks: &Receiver<()>, files: &[File]) -> io::Result<()> {
    ticks.iter().try_for_each(|()| files.iter().try_for_each(File::sync_data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_gets_every_byte_in_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let new =
            |name: &str| File::options().read(true).write(true).create_new(true).open(dir.path().join(name));
        let files: Vec<File> = ["a", "b", "c"].map(|name| new(name).unwrap()).into();
        let bytes: Vec<u8> = (0..5_000_000u32).map(|n| (n % 251) as u8).collect();
        std::thread::scope(|scope| {
            let mut out = FanOut::start(scope, &files);
            out.write_all(&bytes).unwrap();
            out.seek(SeekFrom::Start(10)).unwrap();
            out.write_all(b"over").unwrap();
            out.finish().unwrap();
        });
        let mut expected = bytes;
        expected[10..14].copy_from_slice(b"over");
        for file in &files {
            let mut found = vec![0; expected.len()];
            file.file().read_exact_at(&mut found, 0).unwrap();
            assert_eq!(file.metadata().unwrap().len(), expected.len() as u64);
            assert!(found == expected);
        }
    }

    #[test]
    fn a_failed_write_is_reported() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let read_only = [File::open(path.path()).unwrap()];
        std::thread::scope(|scope| {
            let mut out = FanOut::start(scope, &read_only);
            let error = out.write_all(&vec![1; 20 << 20]).unwrap_err();
            assert!(error.to_string().contains(path.path().to_str().unwrap()), "{error}");
            out.finish().unwrap_err();
        });
        std::thread::scope(|scope| {
            let mut out = FanOut::start(scope, &read_only);
            out.write_all(b"less than a chunk").unwrap();
            let error = out.finish().unwrap_err();
            assert!(error.to_string().contains(path.path().to_str().unwrap()), "{error}");
        });
    }
}
