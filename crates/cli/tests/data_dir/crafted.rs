//! Logs that no client could have made a server write, given to real servers and to us.

use std::path::{Path, PathBuf};

use lab::cluster::{ClusterBuilder, ClusterLayout};
use lab::copy_dir;
use lab::peers::{self, EtcdVersion};
use lifeboat_etcd::{
    Bases, Error, FindingKind, NoProgress, RaftSnapshot, Replay, Source, State, open, open_on, open_with,
    salvage,
};

use crate::peer::serve;
use crate::raft::{Entry, Proto, append, hard_state, request, request_of, snapshot};
use crate::requests::{LEASES, Requests};
use crate::rpc::{Rpc, make_users};
use crate::support::{PASSWORD, lifeboat_json, restore_all, save_args};
use crate::torture::rounds;

const TERM: u64 = 1;

/// A restored member with a few keys and leases, whose log ends at index 1.
pub struct Base {
    _dir: tempfile::TempDir,
    data_dir: PathBuf,
    member: u64,
}

impl Base {
    pub fn new(version: EtcdVersion) -> Self {
        Self::with_users(version, false)
    }

    /// With authentication on, or without users.
    pub fn with_users(version: EtcdVersion, users: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("base.db");
        let cluster = ClusterBuilder::new(version).unsafe_no_fsync().start().unwrap();
        let client = cluster.client(0).unwrap();
        cluster.block_on(async {
            for lease in &LEASES[..2] {
                client.lease_grant(3600, *lease).await.unwrap();
            }
            for (key, lease) in
                [("a", LEASES[0]), ("base", 0), ("a/1", LEASES[1]), ("z", LEASES[0]), ("a", 0)]
            {
                client.put(key, "base value", lease).await.unwrap();
            }
            client.delete_range(lifeboat_client::messages::DeleteRangeRequest::key("base")).await.unwrap();
            if users {
                make_users(&mut Rpc::connect(cluster.client_endpoint(0), Some("root")).await).await;
            }
        });
        let root = format!("root:{PASSWORD}");
        let more: &[&str] = if users { &["--user", &root] } else { &[] };
        lifeboat_json(save_args(&cluster, 0, &source, more));
        let layout = ClusterLayout::new(1).unwrap();
        let more = ["--bump-revision", "0", "--etcd-version", &version.to_string()];
        let (dirs, report) = restore_all(&source, &layout, &dir.path().join("restored"), &more);
        let member = u64::from_str_radix(report["members"][0]["id"].as_str().unwrap(), 16).unwrap();
        Self { _dir: dir, data_dir: dirs[0].clone(), member }
    }

    /// A copy whose log goes on with these entries from index 2 on, committed up to `commit`.
    pub fn with(&self, entries: &[Entry], commit: u64, dir: &Path) -> PathBuf {
        let data_dir = dir.join("m1");
        copy_dir(&self.data_dir, &data_dir).unwrap();
        let mut records: Vec<_> =
            (2..).zip(entries).map(|(index, entry)| entry.record(TERM, index)).collect();
        records.push(hard_state(TERM, self.member, commit));
        append(&data_dir, records);
        data_dir
    }
}

/// What `etcd --force-new-cluster` takes of a data dir.
pub fn by_commit_index(data_dir: &Path) -> Box<dyn Source> {
    open_with(data_dir, Replay::CommitIndex, None).unwrap()
}

fn random_logs(version: EtcdVersion) {
    lab::or_skip!(peers::etcd(version));
    let bases = [Base::new(version), Base::with_users(version, true)];
    for seed in rounds(4) {
        let users = seed % 2 == 1;
        let base = &bases[usize::from(users)];
        let dir = tempfile::tempdir().unwrap();
        let mut requests = Requests { users, ..Requests::new(seed, version, base.member) };
        let entries: Vec<_> = (0..requests.rng.usize(1..300)).map(|_| requests.entry()).collect();
        let last = entries.len() as u64 + 1;
        let commit = requests.rng.u64(1..=last);
        let data_dir = base.with(&entries, commit, dir.path());

        let what = format!("{version}, seed {seed}");
        let committed = by_commit_index(&data_dir);
        let raft =
            committed.raft().unwrap_or_else(|| panic!("{what}: {:?}", State::read(committed.as_ref())));
        assert_eq!(
            (raft.log.commit, raft.log.last_index, raft.replayed_to),
            (commit, last, commit),
            "{what}"
        );
        serve(version, &data_dir, &["--force-new-cluster"]).expect(committed.as_ref(), &what);
        drop(committed);
        // A server that simply starts is alone, elects itself, and so commits all it has.
        let whole = open(&data_dir).unwrap();
        assert_eq!(whole.raft().unwrap().replayed_to, last, "{what}");
        serve(version, &data_dir, &[]).expect(whole.as_ref(), &format!("{what}, whole log"));
    }
}

#[test]
fn random_logs_3_4() {
    random_logs(EtcdVersion::V3_4);
}

#[test]
fn random_logs_3_5() {
    random_logs(EtcdVersion::V3_5);
}

#[test]
fn random_logs_3_6() {
    random_logs(EtcdVersion::V3_6);
}

#[test]
fn random_logs_3_7() {
    random_logs(EtcdVersion::V3_7);
}

fn put(key: &str) -> Entry {
    Entry::normal(request(4, Proto::default().bytes(1, key).bytes(2, "new")))
}

/// What etcd 3.5 buffers for reading outlives its users: a server lets in a root user that it has just deleted, or does
/// not. A reader of the log alone cannot know, and says so where it matters.
#[test]
fn requests_that_3_5_may_run_as_root_are_refused() {
    for version in EtcdVersion::ALL {
        lab::or_skip!(peers::etcd(version));
        let base = Base::with_users(version, true);
        let dir = tempfile::tempdir().unwrap();
        let text = |text: &str| Proto::default().bytes(1, text);
        let by = |user, tag, message: Proto| Entry::normal(request_of(user, 1_000_000, tag, message));
        let put = |key: &str| by("app", 4, text(key).bytes(2, "new"));
        let grant = || by("root", 1104, text("app").bytes(2, "root"));
        let revoke = || by("root", 1105, text("app").bytes(2, "root"));
        let delete = || by("root", 1101, text("app"));
        let serve = |data_dir: &Path| serve(version, data_dir, &["--force-new-cluster"]);

        // Nobody can take the user for another.
        let data_dir = base.with(&[grant(), put("by root")], 3, &dir.path().join("granted"));
        serve(&data_dir).expect(by_commit_index(&data_dir).as_ref(), &format!("{version}, granted"));
        // The user's other roles permit it anyhow.
        let data_dir = base.with(&[grant(), revoke(), put("a/1")], 4, &dir.path().join("revoked"));
        serve(&data_dir).expect(by_commit_index(&data_dir).as_ref(), &format!("{version}, revoked"));

        let entries = [grant(), put("before"), delete(), put("after")];
        let data_dir = base.with(&entries, 5, &dir.path().join("deleted"));
        let (served, source) = (serve(&data_dir), by_commit_index(&data_dir));
        if version != EtcdVersion::V3_5 {
            served.expect(source.as_ref(), &format!("{version}, deleted"));
            continue;
        }
        assert!(served.has("after"), "3.5 looks users up as it should");
        let error = State::read(source.as_ref()).unwrap_err();
        let Error::Unreplayable(FindingKind::UnsupportedRequest { index: 5, request }) = error else {
            panic!("{error:?}")
        };
        assert!(request.contains("take for root"), "{request}");
    }
}

/// What another leader has overruled does not count, and neither does for `--force-new-cluster` what it put in its
/// place until it is committed.
#[test]
fn a_later_entry_of_the_same_index_wins() {
    let version = EtcdVersion::V3_6;
    lab::or_skip!(peers::etcd(version));
    let base = Base::new(version);
    let dir = tempfile::tempdir().unwrap();
    let overruled = [put("lost 2"), put("lost 3"), put("lost 4"), put("lost 5")];
    let data_dir = base.with(&overruled, 1, dir.path());
    let records = vec![
        put("second").record(2, 2),
        put("third").record(2, 3),
        hard_state(2, base.member, 3),
        put("not committed").record(3, 4),
    ];
    append(&data_dir, records);
    let source = by_commit_index(&data_dir);
    assert_eq!(source.raft().unwrap().log.last_term, 3);
    serve(version, &data_dir, &["--force-new-cluster"]).expect(source.as_ref(), "overruled");
    drop(source);
    serve(version, &data_dir, &[]).expect(open(&data_dir).unwrap().as_ref(), "overruled, an only voter");
}

/// A member that had fallen behind was sent a whole db, and crashed before it was in its place.
#[test]
fn a_received_db_is_used_and_a_missing_one_is_found() {
    let version = EtcdVersion::V3_6;
    lab::or_skip!(peers::etcd(version));
    let base = Base::new(version);
    let dir = tempfile::tempdir().unwrap();
    let first = base.with(&[put("a"), put("behind")], 3, dir.path());
    // The leader's db at index 3, as it would be sent.
    let mut leader = ClusterBuilder::new(version)
        .layout(ClusterLayout::new(1).unwrap())
        .restored([&first])
        .unsafe_no_fsync()
        .start()
        .unwrap();
    leader.stop(0).unwrap();
    let sent = fs_err::read(first.join("member/snap/db")).unwrap();
    let index = State::read(open(&first.join("member/snap/db")).unwrap().as_ref()).unwrap().consistent_index;
    let index = index.unwrap();

    let data_dir = dir.path().join("behind");
    copy_dir(&base.data_dir, &data_dir).unwrap();
    let voters = vec![base.member];
    let v2_store = RaftSnapshot::of_members(TERM, &[]).v2_store;
    let received = RaftSnapshot { term: 2, index, voters, v2_store };
    let snap = data_dir.join("member/snap");
    fs_err::write(snap.join(received.file_name()), received.encode()).unwrap();
    let waiting = snap.join(format!("{index:016x}.snap.db"));
    let records = vec![
        snapshot(2, index),
        hard_state(2, base.member, index),
        put("after the snapshot").record(2, index + 1),
        hard_state(2, base.member, index + 1),
    ];
    append(&data_dir, records);

    let source = open(&data_dir).unwrap();
    let error = State::read(source.as_ref()).and_then(|_| source.revisions(&mut |_, _| Ok(()))).unwrap_err();
    let behind = FindingKind::DbBehindSnapshot { consistent_index: 1, snapshot: index };
    assert!(matches!(error, Error::Damaged(kind) if kind == behind));
    drop(source);
    let db = dir.path().join("old.db");
    fs_err::copy(data_dir.join("member/snap/db"), &db).unwrap();
    let on_db = open_on(&data_dir, Replay::Committed, None, Bases::Only(&db)).unwrap();
    assert_eq!(on_db.unusable(), Some(&FindingKind::BaseTooOld { index: 1, after: index }));

    // Entries up to the snapshot lead to it if the last has its term; others were overruled.
    for (term, leads) in [(1, false), (2, true)] {
        let data_dir = dir.path().join(format!("of term {term}"));
        copy_dir(&base.data_dir, &data_dir).unwrap();
        let mut records: Vec<_> = (2..=index).map(|index| put("old").record(term, index)).collect();
        records.extend([snapshot(2, index), hard_state(2, base.member, index)]);
        append(&data_dir, records);
        let (_, account) = salvage(&data_dir, Replay::Committed, None, &NoProgress).unwrap();
        assert_eq!((account.log.unwrap().replayed > 0, account.is_complete), (leads, leads), "{account:?}");
    }

    fs_err::write(waiting, sent).unwrap();
    let source = by_commit_index(&data_dir);
    serve(version, &data_dir, &["--force-new-cluster"]).expect(source.as_ref(), "received db");
}

fn log_error(data_dir: &Path) -> Error {
    State::read(open(data_dir).unwrap().as_ref()).unwrap_err()
}

#[test]
fn gaps_in_a_log_are_found() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let base = Base::new(EtcdVersion::V3_6);
    let case = |records| {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("m1");
        copy_dir(&base.data_dir, &data_dir).unwrap();
        append(&data_dir, records);
        match log_error(&data_dir) {
            Error::Damaged(kind) => kind,
            error => panic!("{error:?}"),
        }
    };
    let committed = |commit| hard_state(TERM, base.member, commit);
    let missing = |first, last| FindingKind::WalEntriesMissing { first, last };
    assert_eq!(case(vec![put("a").record(1, 2), put("b").record(1, 5), committed(5)]), missing(3, 4));
    assert_eq!(case(vec![put("a").record(1, 2), committed(4)]), missing(3, 4));
    let entry = Entry::normal(b"\xff\xff".to_vec());
    let kind = case(vec![entry.record(1, 2), committed(2)]);
    assert!(matches!(kind, FindingKind::WalEntry { index: 2, .. }), "{kind}");
}
