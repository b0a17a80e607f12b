//! The write-ahead log (`server/storage/wal/{wal,encoder,decoder}.go`): the one segment that a restore writes,
//! and what a member's segments say.
//!
//! A segment is a file `%016x-%016x.wal` (sequence number, index of its first entry), 64,000,000 bytes,
//! zeros after the last record. A record is framed as
//!
//! ```text
//! u64 LE   length of the record in the low 56 bits; when it is padded to a multiple of 8,
//!          0x80 | pad bytes in the high 8
//! bytes    walpb.Record { 1: type, 2: crc, 3: data }, then the padding
//! ```
//!
//! A length of zero ends a segment. The crc is a crc32c that runs on over the `data` of all records; the
//! first record of a segment, of type crc, has the value to continue from.

mod dir;
mod entries;
mod log;
mod read;
mod segment;
mod terms;

pub use crate::finding::WalDefect;
pub(crate) use dir::{End, Item, WalDir};
pub(crate) use entries::Entries;
pub use log::LogStatus;
pub(crate) use log::{Log, message};
pub use segment::{Record, RecordKind, SEGMENT_SIZE, decode, encode, segment_name};
