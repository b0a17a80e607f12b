//! The runbook `docs/runbooks/lost-quorum.md`, command by command, and the cluster it ends with.

mod support;

use std::path::Path;

use lab::cluster::{ClusterBuilder, ClusterLayout};
use lab::peers::{self, EtcdVersion};
use support::{lifeboat, restore_all, same_hash, served};

/// The members as the page finds them: m1 was killed early, m2's db begins with noise, m3 has lost its disk.
fn break_members(dir: &Path) {
    lab::fixture::members_of_a_lost_quorum(dir);
    let db = fs_err::File::options().write(true).open(dir.join("m2/member/snap/db")).unwrap();
    let noise: Vec<u8> = (0..2 * 4096_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    std::os::unix::fs::FileExt::write_all_at(db.file(), &noise, 0).unwrap();
    fs_err::remove_dir_all(dir.join("m3/member")).unwrap();
}

#[test]
fn the_runbook_shows_what_the_program_prints() {
    let dir = tempfile::tempdir().unwrap();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/runbooks/lost-quorum.md");
    // trycmd runs a page's commands in the folder beside it.
    let copy = dir.path().join("lost-quorum.md");
    fs_err::copy(&page, &copy).unwrap();
    let work = copy.with_extension("in");
    fs_err::create_dir(&work).unwrap();
    break_members(&work);
    trycmd::TestCases::new().case(&copy).run();
    if std::env::var("TRYCMD").as_deref() == Ok("overwrite") {
        fs_err::copy(copy, page).unwrap();
    }
}

/// What every member had acknowledged: a hundred keys without the one that was deleted, and the last of a lease's
/// values.
#[test]
fn the_runbook_ends_with_a_cluster_that_has_all_data() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let dir = tempfile::tempdir().unwrap();
    break_members(dir.path());
    let path = |name: &str| dir.path().join(name);
    let salvaged = lifeboat([Path::new("salvage"), &path("m2"), &path("m2.db")]);
    assert_eq!(salvaged.status.code(), Some(3));
    let layout = ClusterLayout::new(3).unwrap();
    let (dirs, _) = restore_all(&path("m2.db"), &layout, &path("restored"), &[]);
    let cluster = ClusterBuilder::new(EtcdVersion::V3_6)
        .layout(layout)
        .restored(dirs)
        .env("ETCD_VERIFY", "all")
        .start()
        .unwrap();
    same_hash(&cluster);
    let keys = served(&cluster, 0);
    let order = |n: u32| format!("/registry/configmaps/shop/order-{n}").into_bytes();
    assert_eq!(keys.len(), 100);
    for n in (1..=100).filter(|n| *n != 7) {
        assert_eq!(keys[&order(n)], format!("state of order {n}").into_bytes());
    }
    assert_eq!(keys[&b"/registry/leases/kube-system/scheduler"[..]], b"renewed 50");
}
