//! A salvage of any bytes.

use std::cell::RefCell;

use lifeboat_etcd::{Error, NoProgress, Replay, Revision, Source, hash_kv, open, salvage as run};
use tempfile::TempDir;

use crate::pages::with_sound_metas;
use crate::scratch;

/// Salvages what comes behind a byte, whose bit 0 asks for right checksums of the meta pages. What is saved can be read
/// as any other source, and what is called complete is what reading the file itself gives.
pub fn salvage(bytes: &[u8]) {
    thread_local!(static DIR: RefCell<TempDir> = RefCell::new(scratch::dir()));
    let Some((how, bytes)) = bytes.split_first() else { return };
    let bytes = if how & 1 == 1 { with_sound_metas(bytes) } else { bytes.to_vec() };
    DIR.with_borrow(|dir| {
        let file = dir.path().join("source.db");
        scratch::write(&file, &bytes);
        let (salvaged, account) = match run(&file, Replay::Committed, None, &NoProgress) {
            Ok(salvaged) => salvaged,
            Err(Error::Io(error)) => panic!("the disk is sound: {error}"),
            Err(_) => return,
        };
        let mut last = Revision { main: 0, sub: 0 };
        let revisions = salvaged.revisions(&mut |key, _| {
            assert!(key.revision > last, "revisions ascend");
            last = key.revision;
            Ok(())
        });
        revisions.expect("read what was salvaged");
        let hash = hash_kv(&salvaged, None, None, &NoProgress).expect("hash what was salvaged");
        if account.is_complete {
            let source = open(&file).expect("open what is complete");
            assert_eq!(
                hash_kv(source.as_ref(), None, None, &NoProgress).expect("read what is complete"),
                hash
            );
        }
    });
}
