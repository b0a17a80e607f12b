//! The write-ahead log (`server/storage/wal/{wal,encoder,decoder}.go`), as far as a restore writes it and
//! reads it back: one segment.
//!
//! A segment is a file `%016x-%016x.wal` (sequence number, index of its first entry), 64,000,000 bytes,
//! zeros behind the last record. A record is framed as
//!
//! ```text
//! u64 LE   length of the record in the low 56 bits; when it is padded to a multiple of 8,
//!          0x80 | pad bytes in the high 8
//! bytes    walpb.Record { 1: type, 2: crc, 3: data }, then the padding
//! ```
//!
//! A length of zero ends the log. The crc is a crc32c that runs on over the `data` of all records; the
//! first record, of type crc, gives the value it starts from.

mod segment;

pub use segment::{Record, RecordKind, SEGMENT_SIZE, WalDefect, decode, encode, segment_name};
