//! The one snapshot in an archive of several files.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use tar::{Archive, EntryType};
use zip::ZipArchive;
use zip::result::ZipError;

use super::format::Head;
use super::spool::{Spool, undecodable};
use crate::error::{Error, Result};
use crate::files::quoted;
use crate::finding::FindingKind;

/// A backup has some files beside the snapshot, not thousands.
const MAX_ENTRIES: usize = 10_000;
/// Limit of names listed in a message.
const MAX_NAMED: usize = 10;

/// A file in an archive.
struct Entry {
    name: String,
    /// Its number in a zip; the offset of its bytes in a tar.
    place: u64,
    size: u64,
    may_be_a_snapshot: bool,
}

pub(super) fn from_zip(path: &Path, input: BufReader<File>, mut spool: Spool<'_>) -> Result<File> {
    let damaged = |error: ZipError| match error {
        ZipError::Io(error) => undecodable(path, error),
        error @ (ZipError::UnsupportedArchive(_) | ZipError::CompressionMethodNotSupported(_)) => {
            Error::not_a_source(
                path,
                format!("a zip archive of an unsupported kind ({error})"),
                format!("unpack it with `unzip {}`", quoted(path)),
            )
        }
        error => FindingKind::Archive { defect: error.to_string() }.into(),
    };
    let mut zip = ZipArchive::new(input).map_err(damaged)?;
    let mut entries = Vec::new();
    for place in 0..ensure_listable(path, zip.len())? {
        let mut file = zip.by_index(place).map_err(damaged)?;
        if !file.is_file() {
            continue;
        }
        let name = String::from_utf8_lossy(file.name_raw()).into_owned();
        let size = file.size();
        let head = Head::read(&mut file).map_err(|error| undecodable(path, error))?;
        let may_be_a_snapshot = head.may_be_a_snapshot(&name);
        entries.push(Entry { name, place: place as u64, size, may_be_a_snapshot });
    }
    let unzip = format!("unpack it with `unzip {} -d DIR`", quoted(path));
    let entry = choose(path, "a zip archive", &unzip, entries)?;
    let place = usize::try_from(entry.place).unwrap_or(usize::MAX);
    spool.copy(&mut zip.by_index(place).map_err(damaged)?)?;
    Ok(spool.file)
}

pub(super) fn from_tar(path: &Path, mut input: BufReader<File>, mut spool: Spool<'_>) -> Result<File> {
    let mut entries = Vec::new();
    for entry in Archive::new(&mut input).entries_with_seek().map_err(|error| undecodable(path, error))? {
        let mut entry = entry.map_err(|error| undecodable(path, error))?;
        ensure_listable(path, entries.len())?;
        if !matches!(entry.header().entry_type(), EntryType::Regular | EntryType::Continuous) {
            continue;
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let (place, size) = (entry.raw_file_position(), entry.size());
        let head = Head::read(&mut entry).map_err(|error| undecodable(path, error))?;
        let may_be_a_snapshot = head.may_be_a_snapshot(&name);
        entries.push(Entry { name, place, size, may_be_a_snapshot });
    }
    let untar = format!("unpack it with `tar -xf {} -C DIR`", quoted(path));
    let entry = choose(path, "a tar archive", &untar, entries)?;
    input.seek(SeekFrom::Start(entry.place)).map_err(|error| Error::unreadable(path, error))?;
    spool.copy(&mut input.take(entry.size))?;
    if spool.written() < entry.size {
        let defect = format!("it ends within {}", entry.name);
        return Err(FindingKind::Archive { defect }.into());
    }
    Ok(spool.file)
}

fn ensure_listable(path: &Path, entries: usize) -> Result<usize> {
    if entries <= MAX_ENTRIES {
        return Ok(entries);
    }
    Err(Error::not_a_source(
        path,
        format!("an archive of more than {MAX_ENTRIES} files"),
        "unpack it and name the snapshot",
    ))
}

/// The one entry that is a snapshot. Of a data dir the db alone would lack what its log has.
fn choose(path: &Path, archive: &str, unpack: &str, mut entries: Vec<Entry>) -> Result<Entry> {
    let log = entries.iter().find_map(|entry| {
        let (dir, segment) = entry.name.rsplit_once("member/wal/")?;
        segment.ends_with(".wal").then(|| dir.trim_end_matches('/').to_owned())
    });
    if let Some(dir) = log {
        let dir =
            if dir.is_empty() { "DIR".to_owned() } else { format!("DIR/{}", dir.trim_start_matches('/')) };
        return Err(Error::not_a_source(
            path,
            format!("{archive} of a data dir"),
            format!("{unpack} and name the data dir: {dir}"),
        ));
    }
    let names = |entries: &[Entry], of: fn(&Entry) -> bool| {
        let named: Vec<&str> =
            entries.iter().filter(|entry| of(entry)).map(|entry| entry.name.as_str()).collect();
        let more = named.len().saturating_sub(MAX_NAMED);
        let list = named.iter().take(MAX_NAMED).copied().collect::<Vec<_>>().join(", ");
        if more > 0 { format!("{list} and {more} more") } else { list }
    };
    match entries.iter().filter(|entry| entry.may_be_a_snapshot).count() {
        1 => entries.retain(|entry| entry.may_be_a_snapshot),
        0 if entries.len() == 1 => {}
        0 => {
            let found = match names(&entries, |_| true) {
                list if list.is_empty() => format!("{archive} without files"),
                list => format!("{archive} without an etcd snapshot: it holds {list}"),
            };
            return Err(Error::not_a_source(
                path,
                found,
                "name a snapshot file, an etcd db file or a member's data dir",
            ));
        }
        count => {
            let found = format!(
                "{archive} of {count} snapshots: {}",
                names(&entries, |entry| entry.may_be_a_snapshot)
            );
            return Err(Error::not_a_source(path, found, format!("{unpack} and name one of them")));
        }
    }
    let only = entries.pop();
    only.ok_or_else(|| FindingKind::Archive { defect: "it has no entry".into() }.into())
}
