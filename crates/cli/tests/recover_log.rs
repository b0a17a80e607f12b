//! A restore from a member's log on top of a snapshot, step by step on this machine, against real etcd.
//!
//! What runs on a machine is the program that runs here, so this one is `lifeboat` where it is called as such. Lifeboat
//! keeps its files in /var/lib: the tests have one of their own.

mod support;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use fs_err as fs;
use lab::cluster::{Cluster, ClusterBuilder};
use lab::peers::{self, EtcdVersion};
use libtest_mimic::{Arguments, Trial};
use lifeboat_recovery::execute::{Context, ExecuteError, execute};
use lifeboat_recovery::host::{Host, LocalHost};
use lifeboat_recovery::inventory::Inventory;
use lifeboat_recovery::operation::Operations;
use lifeboat_recovery::plan::Plan;
use lifeboat_recovery::probe::Access;
use serde_json::{Value, json};

use support::{lifeboat_json, save};

const VERBS: &[&str] = &["--version", "agent", "save", "restore"];
const ISOLATED: &str = "LIFEBOAT_TEST_ISOLATED";
const ID: &str = "20261124-030000-abcd";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| VERBS.contains(&first.as_str())) {
        let error = Command::new(env!("CARGO_BIN_EXE_lifeboat")).args(arguments).exec();
        panic!("run lifeboat: {error}");
    }
    let name = "a_log_is_read_on_top_of_a_snapshot_and_restored";
    let other = "a_log_that_does_not_fit_stops_a_restore_before_anything_is_touched";
    let trials = [(name, restored as fn()), (other, refused)].map(|(name, test)| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    });
    if std::env::var_os(ISOLATED).is_some() || !rustix::process::geteuid().is_root() {
        let mut arguments = Arguments::from_args();
        // There is one machine.
        arguments.test_threads = Some(1);
        return libtest_mimic::run(&arguments, trials.into()).exit_code();
    }
    let script = r#"mount -t tmpfs none /var/lib && exec "$0" "$@""#;
    let program = std::env::current_exe().expect("the program that runs here");
    let mut isolated = Command::new("unshare");
    isolated.args(["--mount", "--propagation", "private", "sh", "-c", script]).arg(program).args(arguments);
    let error = isolated.env(ISOLATED, "1").exec();
    panic!("unshare: {error}");
}

/// One member whose db is broken, with the last snapshot of it and all that was acknowledged in its log.
struct BrokenMember {
    cluster: Cluster,
    dir: tempfile::TempDir,
    acknowledged: i64,
}

impl BrokenMember {
    fn new() -> Option<Self> {
        if std::env::var_os(ISOLATED).is_none() {
            eprintln!("this machine is a host as root only: not tried");
            return None;
        }
        peers::need(peers::etcd(EtcdVersion::V3_6))?;
        let dir = tempfile::tempdir().unwrap();
        let mut cluster = ClusterBuilder::new(EtcdVersion::V3_6).start().unwrap();
        let put = |cluster: &Cluster, what: &str, count: usize| {
            let client = cluster.client(0).unwrap();
            for n in 0..count {
                cluster.block_on(client.put(format!("/registry/{what}/{n}"), "written", 0)).unwrap();
            }
        };
        put(&cluster, "early", 20);
        save(&cluster, &dir.path().join("nightly.db"));
        put(&cluster, "late", 40);
        let acknowledged = cluster.block_on(cluster.client(0).unwrap().status()).unwrap().header.revision;
        cluster.kill(0).unwrap();
        fs::write(cluster.data_dir(0).join("member/snap/db"), b"not a db").unwrap();
        Some(Self { cluster, dir, acknowledged })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn inventory(&self) -> Inventory {
        let manifest = self.path("etcd.yaml");
        serde_json::from_value(json!({
            "version": 1, "cluster": "test", "hosts": {"m1": {"address": "m1.test"}},
            "etcd": {"members": {"m1": {
                "host": "m1", "clientUrl": self.cluster.client_endpoint(0),
                "peerUrl": self.cluster.layout().members()[0].peer_url, "dataDir": self.cluster.data_dir(0),
                "service": {"staticPod": {"manifest": manifest, "process": "etcd"}},
            }}},
            "kubernetes": {"kubeconfig": "/nonexistent", "controlPlane": {}},
        }))
        .unwrap()
    }

    /// The state of m1's log on top of a snapshot, brought to its machine, and restored there.
    fn plan(&self, base: &Path) -> Plan {
        let data = self.cluster.data_dir(0).canonicalize().unwrap();
        let dirs = json!({"data": data});
        let mut aside = data.clone().into_os_string();
        aside.push(format!(".lifeboat-{ID}"));
        let cluster =
            json!({"initialCluster": self.inventory().initial_cluster(), "token": format!("lifeboat-{ID}")});
        let source = json!({"log": {"member": "m1", "base": {"snapshot": base}}});
        let actions = [
            json!({"do": "distribute", "source": source, "revision": 20, "hosts": ["m1"]}),
            json!({"do": "moveAside", "member": "m1", "dirs": dirs, "to": Path::new(&aside)}),
            json!({"do": "confirmState", "source": source, "revision": 20, "hosts": ["m1"]}),
            json!({"do": "restoreMember", "member": "m1", "dirs": dirs, "cluster": cluster}),
        ];
        let steps: Vec<Value> = (1..)
            .zip(&actions)
            .map(|(number, action)| {
                json!({"number": number, "title": format!("step {number}"), "action": action, "changes": [],
                    "irreversible": false, "timeoutSeconds": 60, "guards": []})
            })
            .collect();
        serde_json::from_value(json!({
            "schemaVersion": 1, "id": ID, "cluster": "test", "observedAt": "2026-03-02T08:30:00Z", "treats": [],
            "candidates": [], "manual": [], "fingerprint": {}, "steps": steps,
        }))
        .unwrap()
    }

    fn run(&self, plan: &Plan) -> Result<(), ExecuteError> {
        let inventory = self.inventory();
        let hosts = [("m1".to_owned(), Arc::new(LocalHost::new("m1")) as Arc<dyn Host>)];
        let access = Access::new(&inventory, hosts.into());
        // One that was refused is ended by those who ran it: each run has a place of its own.
        let place = tempfile::tempdir().unwrap();
        let operations = Operations::lock(&place.path().join("inventory.yaml")).unwrap();
        let mut operation = operations.begin(true).unwrap();
        operation.accept(plan).unwrap();
        let dir = operation.dir.clone();
        let context = Context::new(&inventory, &access, plan, &dir, &mut operation.journal);
        self.cluster.block_on(execute(&context, &[], &AtomicBool::new(false), &mut |_| ()))
    }
}

/// What is on the machine beside Lifeboat's program.
fn sent() -> Vec<String> {
    let mut names: Vec<String> = match Path::new("/var/lib/lifeboat").join(ID).read_dir() {
        Ok(entries) => {
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
        }
        Err(_) => Vec::new(),
    };
    names.sort_unstable();
    names
}

fn restored() {
    let Some(member) = BrokenMember::new() else { return };
    member.run(&member.plan(&member.path("nightly.db"))).unwrap();
    assert_eq!(sent(), Vec::<String>::new(), "the snapshot or what was made of it is left");
    let held = lifeboat_json(["inspect".as_ref(), member.cluster.data_dir(0).as_os_str()]);
    assert_eq!(held["liveKeys"], 60, "{held}");
    // A restore raises the revision, so that clients read again.
    assert_eq!(held["revision"].as_i64().unwrap(), member.acknowledged + 1_000_000_000, "{held}");
}

/// The snapshot of another cluster: nothing is moved or left behind, and the error names the alternatives.
fn refused() {
    let Some(member) = BrokenMember::new() else { return };
    let other = ClusterBuilder::new(EtcdVersion::V3_6).start().unwrap();
    let theirs = member.path("theirs.db");
    save(&other, &theirs);
    let before = fs::read(member.cluster.data_dir(0).join("member/snap/db")).unwrap();
    match member.run(&member.plan(&theirs)) {
        Err(ExecuteError::Refused { why }) => {
            let theirs = theirs.display();
            assert!(why.contains(&format!("m1's log cannot be read on top of {theirs}")), "{why}");
            assert!(why.contains(&format!("--source {theirs}")), "{why}");
        }
        other => panic!("not refused: {other:?}"),
    }
    assert_eq!(sent(), Vec::<String>::new());
    assert_eq!(fs::read(member.cluster.data_dir(0).join("member/snap/db")).unwrap(), before);
    // What fits goes through the same plan again.
    member.run(&member.plan(&member.path("nightly.db"))).unwrap();
}
