//! Random requests of every kind a client can send, by several clients at once, to a server that is then killed: what
//! is read of its data dir is what a server reads of it.
//!
//! `LIFEBOAT_TORTURE_ROUNDS` is the number of rounds, `LIFEBOAT_TORTURE_SEED` the first seed. A round that fails names
//! its seed and keeps its data dir.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fastrand::Rng;
use lab::cluster::{Cluster, ClusterBuilder};
use lab::peers::{self, EtcdVersion};
use lifeboat_etcd::{Bases, FindingKind, NoProgress, Query, Replay, Source, State, get, open, open_on};

use crate::crafted::by_commit_index;
use crate::peer::serve;
use crate::raft::Proto;
use crate::requests::Requests;
use crate::rpc::{Rpc, make_users, method};
use crate::support::{PASSWORD, lifeboat, lifeboat_json, login};

/// One member elects itself at once with these.
const FAST: [&str; 2] = ["--heartbeat-interval=20", "--election-timeout=200"];
/// A lease that ends while a round runs; no less than the least that is granted.
const SHORT_TTL: i64 = 2;
const SHORT_LEASES: Range<i64> = 0x2000..0x2004;
/// Snapshots saved in a round at most.
const MAX_SNAPSHOTS: usize = 5;

/// The seeds of rounds: a few by default.
pub fn rounds(few: u64) -> Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("LIFEBOAT_TORTURE_SEED").unwrap_or(0);
    first..first + number("LIFEBOAT_TORTURE_ROUNDS").unwrap_or(few)
}

/// Where a round happens; stays when the round fails.
struct Place {
    dir: Option<tempfile::TempDir>,
    what: String,
}

impl Place {
    fn path(&self) -> &Path {
        self.dir.as_ref().unwrap().path()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let dir = self.dir.take().unwrap().keep();
            eprintln!("{} failed; its data dir is {}", self.what, dir.join("m1").display());
        }
    }
}

/// How many requests of each method were taken, and how many refused.
type Answers = BTreeMap<&'static str, [usize; 2]>;

struct Round {
    rng: Rng,
    seed: u64,
    version: EtcdVersion,
    users: bool,
    /// Leases end while it runs.
    expiry: bool,
}

impl Round {
    fn new(version: EtcdVersion, seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let users = rng.u8(0..3) > 0;
        Self { users, expiry: seed % 6 == 1, rng, seed, version }
    }

    fn start(&mut self, dir: &Path) -> Cluster {
        let interval = ["100ms", "1h", "1h", "20ms"][self.rng.usize(0..4)];
        let limit = [1_000_000, 1_000_000, 10, 10_000][self.rng.usize(0..4)];
        let snapshots = [40, 100_000][self.rng.usize(0..2)];
        let flags = [
            format!("--backend-batch-interval={interval}"),
            format!("--backend-batch-limit={limit}"),
            format!("--snapshot-count={snapshots}"),
            "--bcrypt-cost=4".into(),
        ];
        let builder = ClusterBuilder::new(self.version).dir(dir).unsafe_no_fsync();
        let flags = FAST.map(str::to_owned).into_iter().chain(flags);
        flags.fold(builder, ClusterBuilder::flag).start().unwrap()
    }

    /// Users, and leases that will end, each with a key.
    fn prepare(&mut self, cluster: &mut Cluster) {
        let endpoint = cluster.client_endpoint(0).to_owned();
        cluster.block_on(async {
            let mut rpc = Rpc::connect(&endpoint, Some("root")).await;
            if self.users {
                make_users(&mut rpc).await;
            }
            for lease in SHORT_LEASES.take_while(|_| self.expiry) {
                let grant = Proto::default().number(1, SHORT_TTL).number(2, lease);
                rpc.call(method(8), &grant.0).await.unwrap();
                let put = Proto::default().bytes(1, format!("short/{lease}")).number(3, lease);
                rpc.call(method(4), &put.0).await.unwrap();
            }
        });
        // Passwords hashed as they are applied, as 3.4 does, must be in the db.
        if self.version == EtcdVersion::V3_4 || self.rng.bool() {
            cluster.restart(0).unwrap();
            cluster.wait_healthy(Duration::from_secs(60)).unwrap();
        }
    }

    /// Lets clients send until the member is killed; adds up what it answered. Returns the snapshots saved meanwhile.
    fn torture(&mut self, cluster: &mut Cluster, place: &Place, sum: &mut Answers) -> Vec<PathBuf> {
        let root = login(cluster, 0, "root").unwrap();
        let member = cluster.block_on(root.status()).unwrap().header.member_id;
        let endpoint = cluster.client_endpoint(0).to_owned();
        let length = if self.expiry { 3_500 } else { self.rng.u64(50..800) };
        let killed = AtomicBool::new(false);
        let save = |count: usize| {
            let path = place.path().join(format!("{count}.db"));
            let user = format!("root:{PASSWORD}");
            let args = ["save", &endpoint, path.to_str().unwrap(), "--allow-unhealthy", "--user", &user];
            // A user is refused where users are not enforced.
            let without = args.get(..4).unwrap();
            let is_saved = lifeboat(args).status.success() || lifeboat(without).status.success();
            is_saved.then_some(path)
        };
        std::thread::scope(|scope| {
            let killed = &killed;
            let saver = scope.spawn(move || {
                let counts = (0..MAX_SNAPSHOTS).take_while(|_| !killed.load(Ordering::Relaxed));
                counts.filter_map(save).collect()
            });
            let senders: Vec<_> = [Some("root"), Some("app"), Some("root"), None]
                .into_iter()
                .zip(0..)
                .map(|(user, place)| {
                    let requests = Requests {
                        users: self.users,
                        live: true,
                        ..Requests::new(self.seed * 10 + place, self.version, member)
                    };
                    let endpoint = &endpoint;
                    scope.spawn(move || send(endpoint, user, requests, killed))
                })
                .collect();
            std::thread::sleep(Duration::from_millis(length));
            cluster.kill(0).unwrap();
            killed.store(true, Ordering::Relaxed);
            for (method, [taken, refused]) in senders.into_iter().flat_map(|sender| sender.join().unwrap()) {
                let [all_taken, all_refused] = sum.entry(method).or_default();
                *all_taken += taken;
                *all_refused += refused;
            }
            saver.join().unwrap()
        })
    }
}

fn send(endpoint: &str, user: Option<&'static str>, mut requests: Requests, killed: &AtomicBool) -> Answers {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut rpc = Rpc::connect(endpoint, user).await;
        let mut answers = Answers::new();
        while !killed.load(Ordering::Relaxed) {
            let (tag, message) = requests.request_of(user);
            let refused = rpc.call(method(tag), &message.0).await.is_err();
            answers.entry(method(tag)).or_default()[usize::from(refused)] += 1;
        }
        answers
    })
}

fn torture(version: EtcdVersion) {
    lab::or_skip!(peers::etcd(version));
    let (mut answers, mut replayed, mut ended) = (Answers::new(), 0, 0);
    let (mut read, mut seen) = (0, 0);
    let rounds = rounds(2);
    for seed in rounds.clone() {
        let what = format!("etcd {version}, LIFEBOAT_TORTURE_SEED={seed}");
        let place = Place { dir: Some(tempfile::tempdir().unwrap()), what: what.clone() };
        let mut round = Round::new(version, seed);
        let mut cluster = round.start(place.path());
        round.prepare(&mut cluster);
        let snapshots = round.torture(&mut cluster, &place, &mut answers);
        let data_dir = cluster.data_dir(0).to_owned();
        drop(cluster);
        if round.rng.bool() {
            add_crash_leftovers(&data_dir);
        }
        let state = compare(version, &data_dir, &what, &mut replayed);
        for snapshot in &snapshots {
            seen += on_snapshot(version, &data_dir, snapshot, &what);
        }
        read += snapshots.len();
        let there = |id| state.leases.iter().any(|lease| lease.id == id);
        ended += SHORT_LEASES.take_while(|_| round.expiry).filter(|id| !there(*id)).count();
    }
    let rounds = rounds.end - rounds.start;
    eprintln!(
        "etcd {version}: {rounds} rounds, {replayed} entries replayed, {ended} leases ended by themselves; on {read} \
         snapshots, which hold {seen} of the writes before"
    );
    for (method, [taken, refused]) in &answers {
        eprintln!("  {method}: {taken} taken, {refused} refused");
    }
    // A comparison of nothing would show nothing.
    let sum = |which: usize| answers.values().map(|counts| counts[which]).sum::<usize>();
    assert!(sum(0) > 0 && sum(1) > 0 && replayed > 0, "{answers:?}, {replayed} entries replayed");
}

/// What crashes leave: the newest raft snapshot cut short, and files that were not finished or set aside.
fn add_crash_leftovers(data_dir: &Path) {
    let [snap, wal] = ["snap", "wal"].map(|name| data_dir.join("member").join(name));
    let snapshots = fs_err::read_dir(&snap).unwrap().map(|entry| entry.unwrap().path());
    if let Some(newest) = snapshots.filter(|path| path.extension().is_some_and(|end| end == "snap")).max() {
        fs_err::write(newest, b"cut").unwrap();
    }
    for path in
        [snap.join("db.tmp.1"), snap.join("1.snap.broken"), wal.join("0.tmp"), wal.join("1.wal.broken")]
    {
        fs_err::write(path, b"left").unwrap();
    }
}

/// Compares what is read of a data dir with what servers say on copies of it; tells the state of its whole log, and
/// adds up how many entries were replayed for it.
fn compare(version: EtcdVersion, data_dir: &Path, what: &str, replayed: &mut u64) -> State {
    let committed = by_commit_index(data_dir);
    let alone = [&["--force-new-cluster"], FAST.as_slice()].concat();
    serve(version, data_dir, &alone).expect(committed.as_ref(), what);
    drop(committed);
    // An only voter has committed all that is in its log.
    let whole = open(data_dir).unwrap();
    serve(version, data_dir, &FAST).expect(whole.as_ref(), &format!("{what}, whole log"));
    let state = State::read(whole.as_ref()).unwrap();
    let raft = whole.raft().unwrap();
    *replayed += raft.replayed_to - raft.consistent_index;
    drop(whole);

    // The binary reports the same.
    let path = data_dir.display().to_string();
    let inspected = lifeboat_json(["inspect", &path]);
    assert_eq!(inspected["leases"], state.leases.len(), "{what}");
    assert_eq!(inspected["auth"]["enabled"], state.auth.enabled, "{what}");
    assert_eq!(inspected["auth"]["revision"], state.auth.revision, "{what}");
    assert_eq!(inspected["members"].as_array().unwrap().len(), state.members.len(), "{what}");
    let hash = lifeboat_json(["hash", &path]);
    assert_eq!(hash["hashRevision"], inspected["revision"], "{what}");
    state
}

/// Expects the log on top of an earlier snapshot to give what it gives on top of the own db, or else what an etcd
/// serves that is started on the two: with users and leases, an entry that is applied again may be answered otherwise
/// than it was when it was new. Tells how many writes the two were seen to have in common.
fn on_snapshot(version: EtcdVersion, data_dir: &Path, snapshot: &Path, what: &str) -> u64 {
    let what = format!("{what}, on {}", snapshot.display());
    let everything = Query { prefix: true, ..Query::default() };
    let own = open(data_dir).unwrap();
    let on_snapshot = open_on(data_dir, Replay::Committed, None, Bases::Only(snapshot)).unwrap();
    // The own db has what this entry did, whichever way its etcd took.
    if matches!(on_snapshot.unusable(), Some(FindingKind::UnsupportedRequest { .. })) {
        return 0;
    }
    assert_eq!(on_snapshot.unusable(), None, "{what}");
    let found = |source: &dyn Source| get(source, &everything, &NoProgress).unwrap();
    if found(on_snapshot.as_ref()) != found(own.as_ref()) {
        let dir = tempfile::tempdir().unwrap();
        let copy = dir.path().join("m1");
        lab::copy_dir(data_dir, &copy).unwrap();
        let bytes = fs_err::read(snapshot).unwrap();
        // Behind the db is its sha256.
        let snap = copy.join("member/snap");
        fs_err::write(snap.join("db"), &bytes[..bytes.len() - 32]).unwrap();
        remove_later_snapshots(
            &snap,
            State::read(open(snapshot).unwrap().as_ref()).unwrap().consistent_index.unwrap_or(0),
        );
        serve(version, &copy, &FAST).expect(on_snapshot.as_ref(), &what);
    }
    let writes = on_snapshot.notes().iter().find_map(|kind| match kind {
        FindingKind::BaseIdentity(identity) => Some(identity.writes),
        _ => None,
    });
    writes.unwrap_or_else(|| panic!("{what}: no identity"))
}

/// Leaves out the raft snapshots that go further than the db: etcd starts on no db that is behind the newest one it
/// reads.
fn remove_later_snapshots(snap: &Path, db_index: u64) {
    for path in fs_err::read_dir(snap).unwrap().map(|entry| entry.unwrap().path()) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let index = name.strip_suffix(".snap").and_then(|ids| ids.split_once('-'));
        let index = index.and_then(|(_, index)| u64::from_str_radix(index, 16).ok());
        if index.is_some_and(|index| index > db_index) {
            fs_err::remove_file(path).unwrap();
        }
    }
}

#[test]
fn torture_3_4() {
    torture(EtcdVersion::V3_4);
}

#[test]
fn torture_3_5() {
    torture(EtcdVersion::V3_5);
}

#[test]
fn torture_3_6() {
    torture(EtcdVersion::V3_6);
}

#[test]
fn torture_3_7() {
    torture(EtcdVersion::V3_7);
}
