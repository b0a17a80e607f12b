//! Reads a written member back, as a source like any other, and compares it with what was meant.

use std::os::unix::fs::FileExt;

use fs_err::File;

use crate::error::{Error, Result};
use crate::mvcc::Hasher;
use crate::progress::Progress;
use crate::restore::RestoreOptions;
use crate::restore::database::{Contents, Digest};
use crate::restore::staging::Staging;
use crate::source::{Source, SourceFile};
use crate::state::State;

/// Bytes compared at once.
const CHUNK: usize = 1 << 20;

/// Reads a db back from its temporary place.
pub(super) fn db(
    stage: &Staging,
    contents: &Contents<'_>,
    digest: &Digest,
    options: &RestoreOptions,
    progress: &dyn Progress,
) -> Result<()> {
    let db = SourceFile::open(&stage.db_path())?;
    let mut hasher = Hasher::new();
    let mut revisions = 0;
    let mut newest = None;
    db.revisions(&mut |key, value| {
        hasher.add(key, value);
        revisions += 1;
        newest = Some(key.revision);
        progress.advance(value.len() as u64);
        Ok(())
    })?;
    let state = State::read(&db)?;
    let members = options.cluster.members();

    equal("size of the db", &digest.bytes, &db.origin().size_in_use)?;
    equal("revisions", &digest.revisions, &revisions)?;
    equal("digest of the revisions", &digest.crc, &hasher.finish())?;
    equal("members", &members, &sorted(&state))?;
    equal("compact revision", &contents.compact_revision, &state.compact_revision())?;
    let current = state.current_revision(newest);
    if options.bump_revision > 0 {
        equal("current revision", &contents.revision, &current)?;
    }
    equal("undecodable values", &0, &state.undecodable.len())
}

/// Compares a db with the first one, byte by byte.
pub(super) fn same_bytes(first: &File, other: &File, digest: &Digest, progress: &dyn Progress) -> Result<()> {
    equal("size of the db file", &first.metadata()?.len(), &other.metadata()?.len())?;
    let [mut expected, mut found] = [vec![0; CHUNK], vec![0; CHUNK]];
    let mut offset = 0;
    while offset < digest.bytes {
        let length = usize::try_from(digest.bytes - offset).unwrap_or(CHUNK).min(CHUNK);
        let (expected, found) = (expected.get_mut(..length), found.get_mut(..length));
        let (Some(expected), Some(found)) = (expected, found) else { break };
        first.file().read_exact_at(expected, offset)?;
        other.file().read_exact_at(found, offset)?;
        if expected != found {
            let expected = format!("the same bytes in every db, at offset {offset}");
            return Err(Error::ReadBack { what: "db", expected, found: "others".into() });
        }
        offset += length as u64;
        progress.advance(length as u64);
    }
    Ok(())
}

fn sorted(state: &State) -> Vec<crate::member::Member> {
    let mut members = state.members.clone();
    members.sort_by_key(|member| member.id);
    members
}

fn equal<T: PartialEq + std::fmt::Debug>(what: &'static str, expected: &T, found: &T) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(Error::ReadBack { what, expected: format!("{expected:?}"), found: format!("{found:?}") })
}
