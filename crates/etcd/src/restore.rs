//! Restores a source into the data dirs of a new cluster.
//!
//! What `etcdutl snapshot restore` does by copying and editing the db (`etcdutl/snapshot/v3_snapshot.go`)
//! is done here by writing a new one: revisions stream in revision order, which is the order of the `key`
//! bucket, from the source into the bulk writer. So superseded revisions can be left out, old members,
//! alarms and raft state are never copied, and the file has its live size.
//!
//! Order of the work, so that an incomplete restore cannot be mistaken for a complete one:
//!
//! 1. refuse targets that are not empty;
//! 2. read all revisions once, to know which survive;
//! 3. write every member's directory under a temporary name;
//! 4. sync it, and read everything back and compare;
//! 5. compare the source's own digest, which a second thread has been reading for meanwhile;
//! 6. rename into place, sync the parent.

mod database;
mod fan_out;
mod options;
mod raft_log;
mod staging;
mod verify;

use std::path::PathBuf;
use std::thread::ScopedJoinHandle;

use fs_err::File;

use crate::error::{Error, Result};
use crate::finding::FindingKind;
use crate::member::{ClusterId, MemberId};
use crate::mvcc::{GapFinder, KeepSet};
use crate::origin::Integrity;
use crate::progress::{NoProgress, Progress};
use crate::source::Source;
use crate::state::State;
use crate::thread::join;
use crate::version::EtcdVersion;

use database::{Contents, Digest};
pub use options::{RestoreOptions, Target};
use staging::Staging;

/// Result of a restore.
#[derive(Debug, Clone)]
pub struct RestoreReport {
    /// Current revision of the new cluster.
    pub revision: i64,
    /// Compact revision of the new cluster.
    pub compact_revision: Option<i64>,
    /// Current revision of the source.
    pub source_revision: i64,
    /// Keys alive in the new cluster.
    pub live_keys: u64,
    /// Revisions written: the live keys and, with their history kept, what they superseded.
    pub revisions: u64,
    /// Revisions of the source.
    pub source_revisions: u64,
    /// Live keys whose lease is not in the source: etcd keeps them forever.
    pub keys_without_lease: u64,
    /// Missing revisions in the source, which was salvaged or is damaged.
    pub missing: Option<FindingKind>,
    /// What HashKV of the new cluster answers before its first change.
    pub hash: u32,
    /// What it answers in older releases, where that is another number, as in [`HashKv`](crate::HashKv).
    pub older_hash: Option<u32>,
    /// Bytes of each db.
    pub db_bytes: u64,
    /// The new cluster's id.
    pub cluster_id: ClusterId,
    /// The token its ids were made with.
    pub token: String,
    /// The version of etcd the data dirs are written for.
    pub version: EtcdVersion,
    /// How far the source's bytes could be verified; `None` when that was skipped.
    pub integrity: Option<Integrity>,
    /// Entries of a data dir's log that were left out because they are not known to be committed.
    pub uncommitted_entries: u64,
    /// The members written.
    pub members: Vec<RestoredMember>,
}

/// A member that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoredMember {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: MemberId,
    /// Its data dir.
    pub data_dir: PathBuf,
    /// Its WAL dir, when it lies elsewhere.
    pub wal_dir: Option<PathBuf>,
}

/// Restores `source` into the data dirs of a new cluster.
///
/// # Errors
/// [`Error::Refused`] for a target that is not empty, before anything is written; damage in the source;
/// a failed write. After an error no target is left that could be taken for finished, but for
/// [`Error::PartlyRestored`], which names those that are.
pub fn restore(
    source: &dyn Source,
    options: &RestoreOptions,
    progress: &dyn Progress,
) -> Result<RestoreReport> {
    options.verify()?;
    options.targets.iter().try_for_each(Staging::refuse_occupied)?;

    std::thread::scope(|scope| {
        let integrity =
            (!options.skip_hash_check).then(|| scope.spawn(|| source.verify_integrity(&NoProgress)));
        let written = write(source, options, progress);
        // A digest that differs explains whatever damage was met while reading: it is reported first.
        let integrity = match integrity.map(join) {
            Some(integrity) => Some(integrity?),
            None => source.ensure_plausible().map(|()| None)?,
        };
        let (report, staged) = written?;
        progress.start("rename into place", None);
        commit(staged, options)?;
        Ok(RestoreReport { integrity, ..report })
    })
}

/// Renames one member after the other into place.
fn commit(staged: Vec<Staging>, options: &RestoreOptions) -> Result<()> {
    let mut done = Vec::new();
    for mut stage in staged {
        let result = stage.commit();
        match result {
            Ok(()) => done.push(stage.data_dir().to_path_buf()),
            Err(source) if done.is_empty() && !stage.is_committed() => return Err(source),
            Err(source) => {
                return Err(Error::PartlyRestored {
                    done,
                    failed: stage.data_dir().to_path_buf(),
                    token: options.cluster.token().into(),
                    source: Box::new(source),
                });
            }
        }
    }
    Ok(())
}

/// Writes and verifies every target under its temporary name.
fn write(
    source: &dyn Source,
    options: &RestoreOptions,
    progress: &dyn Progress,
) -> Result<(RestoreReport, Vec<Staging>)> {
    let state = State::read(source)?;
    if let Some(kind) = state.undecodable.iter().find(|kind| database::carries_over(kind)) {
        return Err(kind.clone().into());
    }
    let mut gaps = GapFinder::above(state.compact_revision().unwrap_or(1));
    let keep = KeepSet::with_gaps(source, options.revision.unwrap_or(i64::MAX), &mut gaps, progress)?;
    if keep.live_keys == 0 && !options.allow_empty {
        return Err(Error::Empty { path: source.origin().path });
    }
    let contents = Contents::plan(&state, &keep, options)?;

    let mut staged = options.targets.iter().map(Staging::plan).collect::<Result<Vec<_>>>()?;
    staged.iter().try_for_each(Staging::create)?;
    let files = staged.iter_mut().map(Staging::create_db).collect::<Result<Vec<_>>>()?;
    let digest = contents.write(source, &files, progress)?;
    let members = options.cluster.members();
    for stage in &mut staged {
        raft_log::write(stage, options, &members)?;
    }
    sync_and_verify(&staged, &files, &digest, options, progress)?;

    let member = |target: &Target| {
        let id = members.iter().find(|member| member.name == target.name).map(|member| member.id);
        let id = id.ok_or_else(|| Error::Invalid(format!("no member named {:?}", target.name)))?;
        let Target { name, data_dir, wal_dir } = target.clone();
        Ok(RestoredMember { name, id, data_dir, wal_dir })
    };
    let report = RestoreReport {
        revision: contents.revision,
        compact_revision: contents.compact_revision,
        source_revision: state.current_revision(keep.newest),
        live_keys: keep.live_keys,
        revisions: digest.revisions,
        source_revisions: keep.revisions,
        keys_without_lease: digest.keys_without_lease,
        missing: gaps.finding(),
        hash: digest.hash_kv.hash,
        older_hash: digest.hash_kv.older_hash,
        db_bytes: digest.bytes,
        cluster_id: options.cluster.id(),
        token: options.cluster.token().into(),
        version: contents.version,
        integrity: None,
        uncommitted_entries: source.raft().map_or(0, |raft| raft.uncommitted_entries()),
        members: options.targets.iter().map(member).collect::<Result<_>>()?,
    };
    Ok((report, staged))
}

/// Syncs the files while they are read back: the one waits for the disk, the other for the processor.
fn sync_and_verify(
    staged: &[Staging],
    files: &[File],
    digest: &Digest,
    options: &RestoreOptions,
    progress: &dyn Progress,
) -> Result<()> {
    progress.start("sync and read back", Some(digest.bytes.saturating_mul(files.len() as u64)));
    std::thread::scope(|scope| {
        let mut work: Vec<ScopedJoinHandle<'_, Result<()>>> = Vec::new();
        for file in files {
            work.push(scope.spawn(|| Ok(file.sync_all()?)));
        }
        for stage in staged {
            work.push(scope.spawn(|| verify::db(stage, digest, progress)));
            work.push(scope.spawn(|| raft_log::verify(stage, options)));
        }
        work.into_iter().try_for_each(join)?;
        staged.iter().try_for_each(Staging::sync_dirs)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::initial_cluster::InitialCluster;

    /// Some members in place and others not is the one state that the user must know about.
    #[test]
    fn a_rename_that_fails_tells_what_is_in_place() {
        let dir = tempfile::tempdir().unwrap();
        let target =
            |name: &str| Target { name: name.into(), data_dir: dir.path().join(name), wal_dir: None };
        let options = RestoreOptions {
            cluster: InitialCluster::parse("m1=http://h1:1,m2=http://h2:1", "its token").unwrap(),
            targets: vec![target("m1"), target("m2")],
            bump_revision: 0,
            keep_history: false,
            revision: None,
            version: None,
            skip_hash_check: false,
            allow_empty: false,
        };
        let staged: Vec<_> = options.targets.iter().map(|target| Staging::plan(target).unwrap()).collect();
        staged.iter().for_each(|stage| stage.create().unwrap());
        fs_err::create_dir_all(dir.path().join("m2/member/of somebody else")).unwrap();
        let error = commit(staged, &options).unwrap_err();
        assert!(error.to_string().contains("its token"), "{error}");
        let Error::PartlyRestored { done, failed, .. } = error else { panic!("{error:?}") };
        assert_eq!((done, failed), (vec![dir.path().join("m1")], dir.path().join("m2")));
        assert!(dir.path().join("m2/member/of somebody else").is_dir());
    }
}
