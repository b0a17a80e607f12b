//! A member's log on top of something else than its own db: a snapshot, the db that came with a raft snapshot, another
//! member, or nothing where the log begins with the cluster. What real etcd serves with that put in the db's place is
//! what is read.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lab::cluster::{Cluster, ClusterBuilder, ClusterLayout};
use lab::copy_dir;
use lab::fixture;
use lab::peers::{self, EtcdVersion};
use lifeboat_etcd::{
    Base, Bases, Error, FindingKind, NoProgress, Replay, Source, State, inspect, log_position, open, open_on,
    salvage, salvage_on,
};
use serde_json::Value;

use crate::peer::serve;
use crate::raft::segment;
use crate::support::{
    fails, lifeboat, lifeboat_json, lifeboat_ok, restore_all, revisions, save, served, text,
};

fn db(data_dir: &Path) -> PathBuf {
    data_dir.join("member/snap/db")
}

/// A member that was killed, with its db as it was some time before, in a snapshot.
struct Killed {
    cluster: Cluster,
    dir: tempfile::TempDir,
    snapshot: PathBuf,
}

impl Killed {
    fn new(version: EtcdVersion) -> Self {
        Self::with(version, &[])
    }

    fn with(version: EtcdVersion, flags: &[&str]) -> Self {
        let builder = ClusterBuilder::new(version).unsafe_no_fsync();
        let builder = flags.iter().fold(builder, |builder, flag| builder.flag(*flag));
        let mut cluster = builder.start().unwrap();
        let dir = tempfile::tempdir().unwrap();
        put(&cluster, "early", 20);
        let snapshot = dir.path().join("nightly.db");
        save(&cluster, &snapshot);
        put(&cluster, "late", 30);
        cluster.kill(0).unwrap();
        Self { cluster, dir, snapshot }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A copy of its data dir with something changed.
    fn copy(&self, name: &str, change: impl FnOnce(&Path)) -> PathBuf {
        let data_dir = self.path(name);
        copy_dir(self.cluster.data_dir(0), &data_dir).unwrap();
        change(&data_dir);
        data_dir
    }

    /// What etcd serves from its data dir, with the snapshot put in the db's place.
    fn expect_as_etcd(&self, ours: &dyn Source, what: &str) {
        let data_dir = self.copy("in-place", |data_dir| {
            let bytes = fs_err::read(&self.snapshot).unwrap();
            fs_err::write(db(data_dir), &bytes[..bytes.len() - 32]).unwrap();
        });
        serve(self.cluster.version(), &data_dir, &[]).expect(ours, what);
        fs_err::remove_dir_all(data_dir).unwrap();
    }
}

fn put(cluster: &Cluster, what: &str, count: usize) {
    let client = cluster.client(0).unwrap();
    for i in 0..count {
        cluster.block_on(client.put(format!("/registry/{what}/{i}"), format!("{what} {i}"), 0)).unwrap();
    }
}

fn whole(data_dir: &Path, bases: Bases<'_>) -> Result<Box<dyn Source>, Error> {
    open_on(data_dir, Replay::WholeLog, None, bases)
}

/// Why a base is refused.
fn refused(data_dir: &Path, base: &Path) -> FindingKind {
    whole(data_dir, Bases::Only(base)).unwrap().unusable().expect("it is refused").clone()
}

/// A name, and what it does to a data dir.
type DamageDb = (&'static str, fn(&Path));

fn damage_dbs() -> [DamageDb; 4] {
    [
        ("missing", |dir| fs_err::remove_file(db(dir)).unwrap()),
        ("empty", |dir| fs_err::write(db(dir), b"").unwrap()),
        ("zeroed", |dir| {
            let size = fs_err::metadata(db(dir)).unwrap().len();
            fs_err::write(db(dir), vec![0; usize::try_from(size).unwrap()]).unwrap();
        }),
        ("torn", |dir| {
            let bytes = fs_err::read(db(dir)).unwrap();
            fs_err::write(db(dir), &bytes[..8192.min(bytes.len())]).unwrap();
        }),
    ]
}

fn every_base(version: EtcdVersion) {
    lab::or_skip!(peers::etcd(version));
    let killed = Killed::new(version);
    let sound = whole(killed.cluster.data_dir(0), Bases::Own).unwrap();
    let expected = revisions(sound.as_ref());
    drop(sound);
    for (what, damage) in damage_dbs() {
        let data_dir = killed.copy(what, damage);
        // The log begins with the cluster, so it is enough.
        let alone = whole(&data_dir, Bases::Own).unwrap();
        assert_eq!(alone.origin().base, Some(Base::Nothing), "{what}");
        assert_eq!(revisions(alone.as_ref()), expected, "{version}, {what}, the log alone");
        let bases = [killed.snapshot.as_path()];
        let on_snapshot = whole(&data_dir, Bases::OwnOr(&bases)).unwrap();
        assert_eq!(on_snapshot.origin().base, Some(Base::At(killed.snapshot.clone())), "{what}");
        assert_eq!(revisions(on_snapshot.as_ref()), expected, "{version}, {what}, a snapshot and the log");
        let (salvaged, account) = salvage(&data_dir, Replay::WholeLog, None, &NoProgress).unwrap();
        assert!(account.is_complete, "{version}, {what}: {account:?}");
        assert_eq!(revisions(&salvaged), expected, "{version}, {what}, salvaged");
        if what == "missing" {
            killed.expect_as_etcd(alone.as_ref(), &format!("{version}, the log alone"));
            killed.expect_as_etcd(on_snapshot.as_ref(), &format!("{version}, a snapshot and the log"));
        }
        drop((alone, on_snapshot, salvaged));
        // A check reports the db as damaged.
        assert_eq!(lifeboat(["check".as_ref(), data_dir.as_os_str()]).status.code(), Some(3), "{what}");
    }
}

#[test]
fn every_base_3_4() {
    every_base(EtcdVersion::V3_4);
}

#[test]
fn every_base_3_5() {
    every_base(EtcdVersion::V3_5);
}

#[test]
fn every_base_3_6() {
    every_base(EtcdVersion::V3_6);
}

#[test]
fn every_base_3_7() {
    every_base(EtcdVersion::V3_7);
}

/// An unsuitable base of a log is refused, with the reason.
#[test]
fn unsuitable_bases_are_refused() {
    let version = EtcdVersion::V3_6;
    lab::or_skip!(peers::etcd(version));
    let killed = Killed::new(version);
    let broken = killed.copy("broken", |dir| fs_err::write(db(dir), b"noise").unwrap());

    // Of another cluster.
    fixture::members_of_a_lost_quorum(killed.dir.path());
    let other = db(&killed.path("m1"));
    let kind = refused(&broken, &other);
    assert!(matches!(kind, FindingKind::BaseForeign { .. }), "{kind}");
    let bases = [other.as_path()];
    let source = whole(&broken, Bases::OwnOr(&bases)).unwrap();
    assert_eq!(source.origin().base, Some(Base::Nothing));
    drop(source);
    let output = lifeboat(["inspect".as_ref(), broken.as_os_str(), "--base".as_ref(), other.as_os_str()]);
    fails(&output, 3, &[kind.to_string().as_str()]);

    // Of a history of the same ids, in another term; with less than it claims to have.
    let other_term = with_meta(&killed, "term", |term| term + 1);
    let kind = refused(&broken, &other_term);
    assert!(matches!(kind, FindingKind::BaseTerm { .. }), "{kind}");
    for more in [1, 5] {
        let claims_more = with_meta(&killed, "consistent_index", |index| index + more);
        let kind = refused(&broken, &claims_more);
        assert!(matches!(kind, FindingKind::BaseContent { .. }), "{more}: {kind}");
    }

    // Beyond the end of the log.
    let ahead = with_meta(&killed, "consistent_index", |index| index + 1000);
    let kind = refused(&broken, &ahead);
    assert!(matches!(kind, FindingKind::BaseAhead { .. }), "{kind}");
}

/// The snapshot with a number in its bucket `meta` changed: the bytes are those of its last leaf page.
fn with_meta(killed: &Killed, name: &str, change: impl Fn(u64) -> u64) -> PathBuf {
    let mut bytes = fs_err::read(&killed.snapshot).unwrap();
    bytes.truncate(bytes.len() - 32);
    let places: Vec<_> = (0..bytes.len() - name.len() - 8)
        .filter(|at| bytes[*at..].starts_with(name.as_bytes()))
        .map(|at| at + name.len())
        .collect();
    assert!(!places.is_empty());
    for at in places {
        let value = u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
        bytes[at..at + 8].copy_from_slice(&change(value).to_be_bytes());
    }
    let path = killed.path(&format!("other-{name}-{}.db", fastrand::u32(..)));
    fs_err::write(&path, bytes).unwrap();
    path
}

/// For a log that begins after the end of a base, the missing entries are named; a later base fits.
#[test]
fn a_gap_between_base_and_log_is_named() {
    let version = EtcdVersion::V3_6;
    lab::or_skip!(peers::etcd(version));
    let mut cluster = ClusterBuilder::new(version).unsafe_no_fsync().start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let [early, late] = ["early.db", "late.db"].map(|name| dir.path().join(name));
    put(&cluster, "early", 10);
    let early_index = index(&save_to(&cluster, &early));
    let client = cluster.client(0).unwrap();
    for i in 0..140 {
        cluster.block_on(client.put(format!("k{}", i % 9), vec![i; 1_000_000], 0)).unwrap();
    }
    let late_index = index(&save_to(&cluster, &late));
    put(&cluster, "last", 10);
    cluster.kill(0).unwrap();
    let data_dir = dir.path().join("m1");
    copy_dir(cluster.data_dir(0), &data_dir).unwrap();
    fs_err::remove_file(db(&data_dir)).unwrap();
    fs_err::remove_file(segment(&data_dir)).unwrap();
    let second = fs_err::read_dir(data_dir.join("member/wal")).unwrap();
    let second = second.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let second = second.filter(|name| name.ends_with(".wal")).min().unwrap();
    let begins = u64::from_str_radix(&second[17..33], 16).unwrap();

    let missing = FindingKind::WalEntriesMissing { first: early_index + 1, last: begins - 1 };
    assert_eq!(refused(&data_dir, &early), missing);
    assert!(matches!(whole(&data_dir, Bases::Own), Err(Error::Damaged(FindingKind::DbMissing { .. }))));
    let bases = [early.as_path(), late.as_path()];
    let source = whole(&data_dir, Bases::OwnOr(&bases)).unwrap();
    assert_eq!(source.origin().base, Some(Base::At(late.clone())));
    assert_eq!(source.raft().unwrap().consistent_index, late_index);
    serve(version, cluster.data_dir(0), &[]).expect(source.as_ref(), "a late snapshot and the log");
    drop(source);

    // A restore finds the one that fits, and reports it.
    let layout = ClusterLayout::new(1).unwrap();
    let more = bases.map(|base| base.to_str().unwrap());
    let (_, report) = restore_all(&data_dir, &layout, &dir.path().join("restored"), &more);
    assert_eq!(report["source"], data_dir.display().to_string(), "{report:#}");
    let combination = report["combination"].as_str().unwrap();
    assert!(
        combination.starts_with(&format!("late.db at raft {late_index} + m1's log to ")),
        "{combination}"
    );
}

/// A snapshot and a damaged member whose log goes further: a restore does not leave the log's end behind unless told
/// to, and names what keeps more.
#[test]
fn a_longer_log_is_not_left_behind() {
    let version = EtcdVersion::V3_6;
    lab::or_skip!(peers::etcd(version));
    let killed = Killed::new(version);
    let member = killed.copy("m1", |dir| {
        fs_err::write(db(dir), b"noise").unwrap();
        let segment = segment(dir);
        let mut bytes = fs_err::read(&segment).unwrap();
        let at = bytes.windows(7).position(|bytes| bytes == b"late 15").unwrap();
        bytes[at] ^= 1;
        fs_err::write(&segment, bytes).unwrap();
    });
    let [member, snapshot] = [&member, &killed.snapshot].map(|path| path.to_str().unwrap());
    let to = killed.path("restored");
    let restore = ["restore", member, snapshot, "--all-members", to.to_str().unwrap()];
    let restore = [&restore[..], &["--initial-cluster", "m1=http://127.0.0.1:1"]].concat();
    let output = lifeboat(&restore);
    let longer = format!("of the log of {member}, which change 29 keys (/registry/late/0, ");
    let printed = fails(&output, 4, &[longer.as_str(), "no valid meta page"]);
    assert!(!to.exists());
    let ways: Vec<_> = printed.lines().filter_map(|line| line.strip_prefix("    - ")).collect();
    assert_eq!(ways.len(), 2, "{printed}");
    assert!(ways[0].starts_with(&format!("lifeboat salvage {member} OUT")), "{printed}");
    assert!(ways[0].ends_with(": 35 keys, up to revision 36"), "{printed}");
    let take = format!("lifeboat restore with --take {snapshot}: 20 keys, up to revision 21");
    assert_eq!(ways[1], take, "{printed}");
    let inspected = lifeboat(["inspect", member, snapshot]);
    assert_eq!(inspected.status.code(), Some(3));
    let printed = text(&inspected.stdout);
    assert!(
        printed.contains("A restore cannot choose between these: ") && printed.contains(&longer),
        "{printed}"
    );

    lifeboat_ok([&restore[..], &["--take", snapshot]].concat());
    // A snapshot that was saved after the log's end has nothing to lose.
    let later = with_meta(&killed, "consistent_index", |index| index + 1000);
    let to = killed.path("later");
    let restore = ["restore", member, later.to_str().unwrap(), "--all-members", to.to_str().unwrap()];
    lifeboat_ok([&restore[..], &["--initial-cluster", "m1=http://127.0.0.1:1"]].concat());
}

fn save_to(cluster: &Cluster, path: &Path) -> Value {
    save(cluster, path);
    lifeboat_json(["inspect".as_ref(), path.as_os_str()])
}

fn index(inspected: &Value) -> u64 {
    inspected["consistentIndex"].as_u64().unwrap()
}

/// A restored cluster's log begins at entry 1 as well, but not with an empty store.
#[test]
fn the_log_of_a_restored_member_is_not_read_without_a_base() {
    for version in EtcdVersion::ALL {
        lab::or_skip!(peers::etcd(version));
        let killed = Killed::new(version);
        let layout = ClusterLayout::new(1).unwrap();
        let more = ["--etcd-version", &version.to_string()];
        let (dirs, _) = restore_all(&killed.snapshot, &layout, &killed.path("restored"), &more);
        let mut cluster = ClusterBuilder::new(version).layout(layout).restored(dirs).start().unwrap();
        put(&cluster, "after", 5);
        let snapshot = killed.path("after.db");
        save(&cluster, &snapshot);
        put(&cluster, "last", 5);
        let acknowledged = served(&cluster, 0);
        cluster.kill(0).unwrap();
        let data_dir = killed.path("without");
        copy_dir(cluster.data_dir(0), &data_dir).unwrap();
        fs_err::remove_file(db(&data_dir)).unwrap();
        let error = whole(&data_dir, Bases::Own).unwrap_err();
        assert!(matches!(error, Error::Damaged(FindingKind::DbMissing { .. })), "{version}: {error}");
        // The snapshot of before the restore is of other members.
        let kind = refused(&data_dir, &killed.snapshot);
        assert!(matches!(kind, FindingKind::BaseForeign { .. }), "{version}: {kind}");
        // Plain puts behind a restore tell it from no other restore with this token: it is read when a person says so.
        let bases = [killed.snapshot.as_path(), snapshot.as_path()];
        let error = whole(&data_dir, Bases::OwnOr(&bases)).unwrap_err();
        assert!(matches!(error, Error::Damaged(FindingKind::DbMissing { .. })), "{version}: {error}");
        let source = whole(&data_dir, Bases::Only(&snapshot)).unwrap();
        assert_eq!(source.origin().base, Some(Base::At(snapshot.clone())), "{version}");
        assert!(source.notes().iter().any(FindingKind::is_weak_identity), "{version}: {:?}", source.notes());
        let keys = revisions(source.as_ref());
        assert!(keys.len() >= acknowledged.len(), "{version}");
        serve(version, cluster.data_dir(0), &[]).expect(source.as_ref(), "after a restore");
    }
}

/// Two restores with one token make clusters with the same ids, whose logs begin alike.
#[test]
fn a_state_of_another_restore_with_the_same_token_needs_a_flag() {
    let version = EtcdVersion::V3_6;
    lab::or_skip!(peers::etcd(version));
    let killed = Killed::new(version);
    let layout = ClusterLayout::new(1).unwrap();
    let more = ["--etcd-version", &version.to_string()];
    let other = killed.path("other.db");
    let (dirs, _) = restore_all(&killed.snapshot, &layout, &killed.path("restored"), &more);
    let mut cluster = ClusterBuilder::new(version).layout(layout).restored(dirs).start().unwrap();
    // Until the leader has written down the cluster's version: both logs are to begin with the same entries.
    std::thread::sleep(Duration::from_secs(6));
    cluster.kill(0).unwrap();
    let begun = killed.path("begun");
    copy_dir(cluster.data_dir(0), &begun).unwrap();
    // The question for alarms, before a snapshot is saved, is an entry too.
    for (further, snapshot) in [(0, other.clone()), (7, killed.path("later.db"))] {
        fs_err::remove_dir_all(cluster.data_dir(0)).unwrap();
        copy_dir(&begun, cluster.data_dir(0)).unwrap();
        cluster.restart(0).unwrap();
        cluster.wait_healthy(Duration::from_secs(30)).unwrap();
        put(&cluster, "same", 3);
        save(&cluster, &snapshot);
        put(&cluster, "further", further);
        cluster.kill(0).unwrap();
    }
    let data_dir = killed.path("without");
    copy_dir(cluster.data_dir(0), &data_dir).unwrap();
    fs_err::remove_file(db(&data_dir)).unwrap();
    assert!(whole(&data_dir, Bases::OwnOr(&[other.as_path()])).is_err());
    let source = whole(&data_dir, Bases::Only(&other)).unwrap();
    assert!(
        source.notes().iter().any(FindingKind::is_weak_identity),
        "{:?}, {:?}",
        source.unusable(),
        source.notes()
    );
    let (_, account) =
        salvage_on(&data_dir, Replay::WholeLog, None, Bases::Only(&other), &NoProgress).unwrap();
    assert!(!account.is_complete);
    let saved = killed.path("saved.db").display().to_string();
    let [dir, base] = [&data_dir, &other].map(|path| path.display().to_string());
    let refused = lifeboat(["save", &dir, &saved, "--uncommitted", "--base", &base, "--proven-base"]);
    fails(&refused, 4, &["of one history", "none of them compares a revision"]);
}

/// A power cut leaves the newest segment of the log empty, or a wrong log lies beside a sound db: the db is not given
/// up for a log that leads to less.
#[test]
fn a_valid_db_is_not_replaced_by_less_data() {
    let version = EtcdVersion::V3_6;
    lab::or_skip!(peers::etcd(version));
    let killed = Killed::new(version);
    let data_dir = killed.copy("own", |_| {});
    let sound = inspect(open(&db(&data_dir)).unwrap().as_ref(), &NoProgress).unwrap();
    // The whole log is newer than the db; what is left of it is not.
    let log = segment(&data_dir);
    let bytes = fs_err::read(&log).unwrap();
    for left in [0, 200] {
        fs_err::write(&log, &bytes[..left]).unwrap();
        match whole(&data_dir, Bases::OwnOr(&[killed.snapshot.as_path()])) {
            Ok(source) => {
                assert_eq!(source.origin().base, None, "{left} bytes");
                let read = source.unusable().is_some()
                    || inspect(source.as_ref(), &NoProgress).unwrap().revision >= sound.revision;
                assert!(read, "{left} bytes of the log: less than the db has");
            }
            Err(Error::Damaged(_)) => {}
            Err(error) => panic!("{left} bytes: {error}"),
        }
    }
    let other = Killed::new(version);
    let mixed = killed.copy("mixed", |data_dir| {
        fs_err::remove_dir_all(data_dir.join("member/wal")).unwrap();
        copy_dir(&other.cluster.data_dir(0).join("member/wal"), &data_dir.join("member/wal")).unwrap();
    });
    let source = whole(&mixed, Bases::Own).unwrap();
    let why = source.unusable().expect("one of the two does not belong there");
    assert!(matches!(why, FindingKind::BaseForeign { .. }), "{why}");
}

/// Of a log that has lost its end, a base gives less than the db beside it had: that is said, and `recover` takes no
/// such base unasked.
#[test]
fn data_only_in_an_unused_db_is_reported() {
    let version = EtcdVersion::V3_6;
    lab::or_skip!(peers::etcd(version));
    let mut killed = Killed::new(version);
    killed.cluster.restart(0).unwrap();
    killed.cluster.wait_healthy(Duration::from_secs(30)).unwrap();
    // Its db has every entry then.
    save(&killed.cluster, &killed.path("later.db"));
    killed.cluster.kill(0).unwrap();
    let data_dir = killed.copy("own", |_| {});
    let state = State::read(open(&db(&data_dir)).unwrap().as_ref()).unwrap();
    let applied = state.consistent_index.unwrap();
    let bytes = fs_err::read(segment(&data_dir)).unwrap();
    let is_short = |len: &usize| {
        fs_err::write(segment(&data_dir), &bytes[..*len]).unwrap();
        log_position(&data_dir, None).is_ok_and(|log| log.log.last_index < applied)
    };
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    (0..end).rev().find(is_short).expect("the db has entries of the log");
    let source = whole(&data_dir, Bases::Only(&killed.snapshot)).unwrap();
    let is_said =
        |kind: &FindingKind| matches!(kind, FindingKind::BaseBehindDb { applied: at, .. } if *at == applied);
    assert!(source.notes().iter().any(is_said), "{:?}, {:?}", source.unusable(), source.notes());
    let [dir, base, to] =
        [&data_dir, &killed.snapshot, &killed.path("short.db")].map(|path| path.display().to_string());
    let save = lifeboat(["save", &dir, &to, "--base", &base, "--proven-base"]);
    fails(&save, 4, &["entries would be lost", "only in that db"]);
}

/// As the field had it: the member's db is noise, last night's snapshot is there, and so is the whole log.
#[test]
fn a_nightly_snapshot_and_the_log_of_a_damaged_member_are_combined() {
    let dir = tempfile::tempdir().unwrap();
    fixture::snapshot_and_log(dir.path());
    let [member, nightly] = ["s-3.6", "s-3.6-nightly.db"].map(|name| dir.path().join(name));
    let orders = |inspected: &Value| inspected["keysByPrefix"]["/registry/configmaps"].as_u64();

    // On its own, on the snapshot, on the snapshot chosen among several.
    let alone = lifeboat_json(["inspect".as_ref(), member.as_os_str()]);
    assert_eq!(orders(&alone), Some(60), "{alone:#}");
    let base = ["inspect".as_ref(), member.as_os_str(), "--base".as_ref(), nightly.as_os_str()];
    let on_base = lifeboat_json(base);
    assert_eq!(orders(&on_base), Some(60));
    let combination = on_base["combination"].as_str().unwrap();
    assert!(combination.starts_with("s-3.6-nightly.db at raft 25 + s-3.6's log to 6"), "{combination}");
    let several = lifeboat(
        ["inspect", "-o", "json"]
            .map(AsRef::as_ref)
            .into_iter()
            .chain([nightly.as_os_str(), member.as_os_str()]),
    );
    let several: Value = serde_json::from_slice(&several.stdout).unwrap();
    assert_eq!(several["chosen"], member.display().to_string(), "{several:#}");
    assert!(several["sources"][1]["combination"].as_str().unwrap().contains("nightly.db at raft 25"));

    let layout = ClusterLayout::new(1).unwrap();
    let more = [nightly.to_str().unwrap()];
    let (_, report) = restore_all(&member, &layout, &dir.path().join("restored"), &more);
    assert!(report["liveKeys"].as_u64().unwrap() >= 60, "{report:#}");
    assert_eq!(report["source"], member.display().to_string());
    let out = dir.path().join("out.db");
    let salvaged = ["salvage".as_ref(), member.as_os_str(), out.as_os_str(), "--uncommitted".as_ref()];
    let salvaged = lifeboat_json(salvaged);
    assert!(salvaged["liveKeys"].as_u64().unwrap() >= 60, "{salvaged:#}");
}

/// As the field had it: one flipped byte in the log, in what the db has long since, and in what it lacks.
#[test]
fn one_bad_record_in_a_log_is_passed_over_or_salvaged() {
    let dir = tempfile::tempdir().unwrap();
    fixture::bad_record_in_log(dir.path());
    let [a, b] = ["e-3.5-a", "e-3.5-b"].map(|name| dir.path().join(name));
    let inspected = lifeboat_json(["inspect".as_ref(), a.as_os_str()]);
    assert_eq!(inspected["keysByPrefix"]["/registry/configmaps"], 40, "{inspected:#}");
    let stderr = text(&lifeboat(["hash".as_ref(), a.as_os_str()]).stderr);
    assert!(stderr.contains("proves the records after it"), "{stderr}");
    let checked = lifeboat(["check".as_ref(), a.as_os_str()]);
    assert_eq!(checked.status.code(), Some(3));
    assert!(text(&checked.stdout).contains("[wal.damaged]"), "{}", text(&checked.stdout));

    // The db has 20 keys, the log 32 up to the record: what keeps more is named first, with what it keeps.
    let output = lifeboat(["inspect".as_ref(), b.as_os_str()]);
    let stderr = fails(&output, 3, &["the log is missing entr", "lifeboat salvage", "32 keys", "20 keys"]);
    assert!(stderr.find("32 keys") < stderr.find("20 keys"), "{stderr}");
    let out = dir.path().join("out.db");
    let salvaged = lifeboat(["salvage".as_ref(), b.as_os_str(), out.as_os_str()]);
    assert_eq!(salvaged.status.code(), Some(3));
    assert!(text(&salvaged.stdout).contains("32 live keys"), "{}", text(&salvaged.stdout));
    lifeboat_ok(["inspect".as_ref(), out.as_os_str()]);
}
