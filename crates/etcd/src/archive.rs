//! Snapshots as backup tools leave them: compressed, or the one snapshot in an archive or a folder. They are unpacked into a
//! file without a name, which is gone with the process that reads it. What is recognised and not read is named, with what
//! to do: a sound backup is never called damaged.

mod contents;
mod folder;
mod format;
mod spool;

use std::fs::File;
use std::io::{BufRead, BufReader, Seek};
use std::path::Path;

use flate2::bufread::GzDecoder;
use flate2::read::ZlibDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::StreamingDecoder;

use crate::error::{Error, Result};
use crate::files::open_regular;
use crate::finding::FindingKind;

pub(crate) use folder::deltas_beside;
pub(crate) use folder::snapshot_in;
use format::{Format, GZIP, Head};
use spool::{Limits, Spool};

/// A zip that holds a gzip that holds a tar.
const MAX_LAYERS: usize = 3;
/// What a decoder of xz may take, in KiB; `xz -9` needs 65 MiB.
const XZ_MEMORY_KIB: u32 = 512 << 10;

/// Opens a file, and unpacks it if it is packed.
///
/// # Errors
/// [`Error::NotASource`] for what is recognised as something else; [`Error::Damaged`] for what cannot be unpacked;
/// [`Error::Refused`] if there is not enough space to unpack it.
pub(crate) fn open(path: &Path) -> Result<File> {
    let mut file = open_regular(path)?.into_parts().0;
    for _ in 0..=MAX_LAYERS {
        let head = Head::of(&file).map_err(|error| Error::unreadable(path, error))?;
        file = match head.format(path) {
            Some(format) => unpack(path, format, file)?,
            None => return head.refuse_foreign(path).map(|()| file),
        };
    }
    Err(Error::not_a_source(
        path,
        format!("packed more than {MAX_LAYERS} times"),
        "unpack it and name its content",
    ))
}

fn unpack(path: &Path, format: Format, mut file: File) -> Result<File> {
    file.rewind()?;
    let input = BufReader::new(file);
    let mut spool = Spool::new(path, Limits::default())?;
    match format {
        Format::Zip => return contents::from_zip(path, input, spool),
        Format::Tar => return contents::from_tar(path, input, spool),
        Format::Gzip => from_gzip(path, input, &mut spool)?,
        Format::Zlib => spool.copy(&mut ZlibDecoder::new(input))?,
        Format::Xz => spool.copy(&mut XzReader::new_mem_limit(input, true, XZ_MEMORY_KIB))?,
        Format::Zstd => from_zstd(path, input, &mut spool)?,
    }
    Ok(spool.file)
}

/// Every member of a file. What follows the last one is left out, as `gzip -d` does it: a tape or `dd` leaves zeros there.
fn from_gzip(path: &Path, mut input: BufReader<File>, spool: &mut Spool) -> Result<()> {
    loop {
        spool.copy(&mut GzDecoder::new(&mut input))?;
        if input.fill_buf().map_err(|error| Error::unreadable(path, error))?.first() != GZIP.first() {
            return Ok(());
        }
    }
}

/// Reads every frame of a file: the decoder stops after the first one.
fn from_zstd(path: &Path, mut input: BufReader<File>, spool: &mut Spool) -> Result<()> {
    let damaged = |defect: String| Error::from(FindingKind::Archive { defect });
    while !input.fill_buf().map_err(|error| Error::unreadable(path, error))?.is_empty() {
        let mut frame = StreamingDecoder::new(&mut input).map_err(|error| damaged(error.to_string()))?;
        spool.copy(&mut frame)?;
        let (told, found) = (frame.decoder.get_checksum_from_data(), frame.decoder.get_calculated_checksum());
        if told.is_some() && told != found {
            return Err(damaged("the checksum of a zstd frame does not match".into()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
