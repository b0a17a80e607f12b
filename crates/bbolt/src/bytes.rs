//! Little-endian integers out of byte slices, without indexing.
//!
//! bbolt stores its structures in the byte order of the machine that wrote them. Little-endian files are
//! read; one of a big-endian machine (s390x) is refused at its meta page.

/// The `u16` at `offset`, or `None` past the end.
pub(crate) fn le_u16(bytes: &[u8], offset: usize) -> Option<u16> {
    field(bytes, offset).map(u16::from_le_bytes)
}

/// The `u32` at `offset`, or `None` past the end.
pub(crate) fn le_u32(bytes: &[u8], offset: usize) -> Option<u32> {
    field(bytes, offset).map(u32::from_le_bytes)
}

/// The `u64` at `offset`, or `None` past the end.
pub(crate) fn le_u64(bytes: &[u8], offset: usize) -> Option<u64> {
    field(bytes, offset).map(u64::from_le_bytes)
}

fn field<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}
