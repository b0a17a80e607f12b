//! Defects of WAL segments.

/// Defect of a WAL segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WalDefect {
    /// A record's frame goes past the end of the file, or contradicts itself.
    #[error("broken record frame at offset {offset}")]
    Frame {
        /// Byte offset in the segment.
        offset: u64,
    },
    /// A record is not a `walpb.Record`, or has an unknown type.
    #[error("undecodable record at offset {offset}")]
    Record {
        /// Byte offset in the segment.
        offset: u64,
    },
    /// A sector of a record is all zeros, and valid records follow.
    #[error("a sector of the record at offset {offset} was not written")]
    Unwritten {
        /// Byte offset in the segment.
        offset: u64,
    },
    /// A metadata record names another member or cluster than those before it.
    #[error("the record at offset {offset} belongs to another member's log")]
    Metadata {
        /// Byte offset in the segment.
        offset: u64,
    },
    /// A record's crc differs from that of its bytes and all before.
    #[error("crc mismatch in the record at offset {offset}")]
    Crc {
        /// Byte offset in the segment.
        offset: u64,
    },
}
