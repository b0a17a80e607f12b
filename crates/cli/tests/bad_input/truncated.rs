//! Files cut short: what an interrupted copy or download leaves.

use std::collections::BTreeSet;

use lifeboat_etcd::{FindingKind, Severity};

use crate::{findings, refuses_to_restore, restore_into, worst};

/// Bytes of the digest behind a snapshot.
const TAIL: u64 = 32;

/// The one cut that leaves something whole is the one that takes the digest and nothing else. Any other that
/// passed would restore a cluster without its newest changes, and nobody would know.
#[test]
fn a_snapshot_cut_anywhere_is_found_and_never_restored() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("backup.db");
    fs_err::copy(lab::fixture::kubernetes_snapshot(), &path).unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    let size = file.metadata().unwrap().len();

    let near_a_page_border = |length: u64| matches!(length % 4096, 0..=2 | 31..=33 | 511..=513 | 4094..);
    let lengths: BTreeSet<_> = (0..size)
        .filter(|length| {
            *length < 9000 || *length > size - 9000 || length % 97 == 0 || near_a_page_border(*length)
        })
        .collect();
    // Downwards, so that every length is one cut of the same file.
    for length in lengths.into_iter().rev() {
        file.set_len(length).unwrap();
        if length == size - TAIL {
            assert_eq!(findings(&path), [FindingKind::NoDigest]);
            restore_into(&path, &dir.path().join("whole")).unwrap();
            continue;
        }
        assert_eq!(worst(&path), Some(Severity::Error), "cut to {length} of {size} bytes");
        refuses_to_restore(&path, &length);
    }
}
