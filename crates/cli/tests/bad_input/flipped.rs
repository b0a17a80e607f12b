//! Bit rot, in small files bit by bit; in real ones at random: `data_dir/flips.rs`.

use lifeboat_etcd::{Error, NoProgress, Query, Severity, State, get, hash_kv, open};

use crate::{Patched, Seeded, craft, refuses_to_restore, restore_into, worst};

/// A snapshot vouches for every one of its bits, those of the digest included. One that goes unseen is a
/// cluster restored with a changed value in it.
#[test]
fn every_flipped_bit_of_a_snapshot_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("backup.db");
    let file = Patched::new(&path, craft::snapshot(craft::db(&craft::contents(), 512)));
    assert_eq!(worst(&path), None);
    for bit in 0..file.bytes.len() * 8 {
        let found = file.with_flipped(bit, || worst(&path));
        assert_eq!(found, Some(Severity::Error), "bit {bit}");
    }
}

/// A restore reads in another way than a check does, and is where unseen damage does its harm.
#[test]
fn no_snapshot_with_a_flipped_bit_is_restored() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("backup.db");
    let mut seeded = Seeded(1);
    let small = Patched::new(&path, craft::snapshot(craft::db(&craft::contents(), 512)));
    for byte in (0..small.bytes.len()).step_by(23) {
        let bit = byte * 8 + seeded.below(8);
        small.with_flipped(bit, || refuses_to_restore(&path, &bit));
    }
    let large = Patched::new(&path, fs_err::read(lab::fixture::kubernetes_snapshot()).unwrap());
    for _ in 0..30 {
        let bit = seeded.below(large.bytes.len() * 8);
        large.with_flipped(bit, || refuses_to_restore(&path, &bit));
    }
}

/// Without a digest only the format can speak, and bits of values stay unseen. What must hold all the same: a
/// db that a check calls sound can be read to its end and has all its revisions, and damage is never an
/// error of ours.
#[test]
fn a_db_that_passes_check_reads_completely_whatever_bit_flips() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let file = Patched::new(&path, craft::db(&craft::contents(), 512));
    let read = Read::all(&path).unwrap();
    let mut seeded = Seeded(4);
    let mut found = 0;
    for byte in 0..file.bytes.len() {
        let bit = byte * 8 + seeded.below(8);
        file.with_flipped(bit, || {
            let sound = worst(&path).is_none_or(|worst| worst == Severity::Note);
            found += u32::from(!sound);
            match Read::all(&path) {
                Ok(now) if sound => assert_eq!(now.counts(), read.counts(), "bit {bit}: something is gone"),
                Ok(_) => {}
                Err(Error::Damaged(_)) => assert!(!sound, "bit {bit}: the check is content"),
                Err(error) => panic!("bit {bit}: {error:?}"),
            }
            if byte % 61 == 0 {
                restores_or_leaves_nothing(&path, bit);
            }
        });
    }
    println!("raw db, a bit of every byte: {found} of {} flips found without a digest", file.bytes.len());
}

/// What a reader gets out of a db.
struct Read {
    state: State,
    revisions: usize,
}

impl Read {
    fn all(path: &std::path::Path) -> Result<Self, Error> {
        let source = open(path)?;
        let state = State::read(source.as_ref())?;
        let all = Query { prefix: true, ..Default::default() };
        get(source.as_ref(), &all, &NoProgress)?;
        hash_kv(source.as_ref(), None, None, &NoProgress)?;
        let mut revisions = 0;
        source.revisions(&mut |_, _| {
            revisions += 1;
            Ok(())
        })?;
        Ok(Self { state, revisions })
    }

    fn counts(&self) -> [usize; 3] {
        [self.revisions, self.state.members.len(), self.state.leases.len()]
    }
}

fn restores_or_leaves_nothing(path: &std::path::Path, bit: usize) {
    let data_dir = path.with_extension("restored");
    match restore_into(path, &data_dir) {
        Ok(_) => fs_err::remove_dir_all(&data_dir).unwrap(),
        Err(Error::Damaged(_) | Error::Invalid(_)) => assert!(!data_dir.exists(), "bit {bit}"),
        Err(error) => panic!("bit {bit}: {error:?}"),
    }
}
