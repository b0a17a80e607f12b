//! A restore from any bytes.

use std::cell::RefCell;
use std::path::Path;

use lifeboat_etcd::{
    Error, EtcdVersion, InitialCluster, NoProgress, RestoreOptions, Source, State, Target, hash_kv, open,
    restore as run,
};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::pages::with_sound_metas;
use crate::scratch;

/// Restores from bytes behind one that chooses how: bit 0, with right checksums of the meta pages; 1, with a digest
/// that vouches for them; 2, without a bump; 3, with the history; 4 and 5, for which etcd.
pub fn restore(bytes: &[u8]) {
    thread_local!(static DIR: RefCell<TempDir> = RefCell::new(scratch::dir()));
    let Some((how, bytes)) = bytes.split_first() else { return };
    let is = |bit: u8| how >> bit & 1 == 1;
    let mut bytes = if is(0) { with_sound_metas(bytes) } else { bytes.to_vec() };
    if is(1) {
        bytes.truncate(bytes.len() / 512 * 512);
        bytes.extend(Sha256::digest(&bytes));
    }
    DIR.with_borrow(|dir| {
        let (file, data_dir) = (dir.path().join("source.db"), dir.path().join("m1"));
        scratch::write(&file, &bytes);
        let options = RestoreOptions {
            cluster: InitialCluster::parse("m1=http://127.0.0.1:2380", "token").expect("a sound cluster"),
            targets: vec![Target { name: "m1".into(), data_dir: data_dir.clone(), wal_dir: None }],
            bump_revision: if is(2) { 0 } else { RestoreOptions::AUTO_BUMP },
            keep_history: is(3),
            revision: None,
            version: [None, Some(EtcdVersion::V3_4), Some(EtcdVersion::V3_6), Some(EtcdVersion::V3_7)]
                [usize::from(how >> 4 & 3)],
            skip_hash_check: false,
            allow_empty: true,
        };
        let Ok(source) = open(&file) else { return };
        restored(source.as_ref(), &options, &data_dir);
    });
}

/// What is restored is what the report says; after an error there is nothing to be taken for a data dir.
fn restored(source: &dyn Source, options: &RestoreOptions, data_dir: &Path) {
    match run(source, options, &NoProgress) {
        Ok(report) => {
            let db = open(&data_dir.join("member/snap/db")).expect("open what was restored");
            let hash = hash_kv(db.as_ref(), None, None, &NoProgress).expect("read what was restored");
            assert_eq!((hash.hash, hash.hash_revision), (report.hash, report.revision));
            assert_eq!(hash.older_hash, report.older_hash);
            let state = State::read(db.as_ref()).expect("read what was restored");
            assert_eq!((state.members.len(), state.undecodable), (1, Vec::new()));
            fs_err::remove_dir_all(data_dir).expect("remove what was restored");
        }
        Err(Error::Io(error)) => panic!("the disk is sound: {error}"),
        Err(_) => assert!(!data_dir.exists(), "an error leaves no data dir"),
    }
}
