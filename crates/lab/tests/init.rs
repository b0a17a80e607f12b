//! `lifeboat init` finds the cluster that the lab has created: `make lab-test`. Uses the running lab, or creates one of
//! each layout.

use std::env;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process;
use std::sync::Arc;

use fs_err as fs;
use lab::incident;
use lab::machines::{Lab, Layout, Topology};
use lifeboat_recovery::discover::{CREDENTIALS, DiscoverError, Discovered, Request, discover};
use lifeboat_recovery::host::{Command, hosts};
use lifeboat_recovery::inventory::{Cloud, Inventory, Ssh, Zstack};
use lifeboat_recovery::provider::{CloudProvider, ZStack, ZStackConfig};

/// Takes the test's lab down.
struct Down;

impl Drop for Down {
    fn drop(&mut self) {
        if let Err(error) = Lab::down(false) {
            eprintln!("{error:#}");
        }
    }
}

#[test]
#[ignore = "needs root and the lab's machines: make lab-test"]
fn init_finds_the_cluster_that_was_created() {
    // CI tests the lab of its own checkout: one that an interrupted run left on the machine is removed.
    if env::var_os("CI").is_some() {
        Lab::down(false).unwrap();
    }
    if let Ok(lab) = Lab::open() {
        return compare(&up(lab.blueprint().topology, lab.blueprint().layout));
    }
    for (topology, layout) in [(Topology::Full, Layout::Systemd), (Topology::Small, Layout::StaticPods)] {
        let _down = Down;
        compare(&up(topology, layout));
    }
}

/// Creates or completes a lab with the program, which also starts the cloud.
fn up(topology: Topology, layout: Layout) -> Lab {
    let mut up = process::Command::new(env!("CARGO_BIN_EXE_lab"));
    up.args(["up", "--topology", &topology.to_string(), "--layout", &layout.to_string()]);
    assert!(up.status().unwrap().success());
    Lab::open().unwrap()
}

fn compare(lab: &Lab) {
    let dir = tempfile::tempdir().unwrap();
    incident::write_inventory(dir.path()).unwrap();
    let made = Inventory::load(&dir.path().join("lifeboat.yaml")).unwrap().inventory;
    let found = lab.inside(|| runtime().block_on(look(lab, &made))).unwrap();

    let out = dir.path().join("found/lifeboat.yaml");
    fs::create_dir(out.parent().unwrap()).unwrap();
    let files = found.write(&out).unwrap();
    assert_eq!(found.notes, Vec::<String>::new());
    let read = Inventory::load(&out).unwrap().inventory;

    for (name, host) in &made.hosts {
        let seen = &read.hosts[name];
        assert_eq!((&seen.address, &seen.machine_id), (&host.address, &host.machine_id), "{name}");
        assert_eq!((&seen.vm, &seen.roles), (&host.vm, &host.roles), "{name}");
    }
    assert_eq!(read.hosts.len(), made.hosts.len());
    assert_eq!(read.etcd.members, made.etcd.members);
    assert_eq!(read.kubernetes.control_plane, made.kubernetes.control_plane);
    assert_eq!(read.kubernetes.nodes, made.kubernetes.nodes);
    let (Some(Cloud::Zstack(seen)), Some(Cloud::Zstack(cloud))) = (&read.cloud, &made.cloud) else {
        panic!()
    };
    let ranges = |zstack: &Zstack| {
        let mut ranges = zstack.ip_ranges.clone();
        ranges.sort_by(|a, b| a.name.cmp(&b.name));
        ranges
    };
    // Only ranges that contain machines.
    assert!(ranges(seen).iter().all(|range| cloud.ip_ranges.contains(range)), "{seen:?}");
    assert!(!seen.ip_ranges.is_empty());

    private(&out, &files);
    // The credentials work, and the machines that `init` found can be reached.
    lab.inside(|| runtime().block_on(reach(&read))).unwrap();
    assert!(matches!(found.write(&out), Err(DiscoverError::Exists(path)) if path == out));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Runs `init` from one master, and from the machine that cannot be discovered.
async fn look(lab: &Lab, made: &Inventory) -> Discovered {
    let Some(Cloud::Zstack(zstack)) = &made.cloud else { panic!("the lab has a cloud") };
    let config = ZStackConfig {
        endpoint: zstack.endpoint.clone(),
        ca: None,
        access_key_id: zstack.access_key_id.read().unwrap(),
        access_key_secret: zstack.access_key_secret.read().unwrap(),
    };
    let provider: Arc<dyn CloudProvider> = Arc::new(ZStack::new(config).unwrap());
    let others = made.hosts.iter().filter(|(_, host)| !host.roles.is_empty());
    let request = Request {
        from: ["m1".to_owned()].into_iter().chain(others.map(|(name, _)| name.clone())).collect(),
        ssh: Ssh { user: None, config: Some(lab.ssh_config()) },
        cluster: "lab".into(),
        cloud: Some((Zstack { ip_ranges: Vec::new(), ..zstack.clone() }, provider)),
        watch: &|_| {},
    };
    discover(request).await.unwrap()
}

/// The credentials are private, and not in the inventory.
fn private(out: &Path, files: &[std::path::PathBuf]) {
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&out.with_file_name(CREDENTIALS)), 0o700);
    assert_eq!(files.len(), 5, "{files:?}");
    assert!(files.iter().all(|file| mode(file) == 0o600));
    let yaml = fs::read_to_string(out).unwrap();
    assert!(!yaml.contains("PRIVATE KEY") && !yaml.contains("-data"), "{yaml}");
}

async fn reach(inventory: &Inventory) {
    let hosts = hosts(inventory);
    for (name, host) in &hosts {
        let uid = host.run_ok(&Command::new(["id", "-u"])).await.unwrap().text();
        assert_eq!(uid, "0\n", "{name}");
    }
    let access = lifeboat_recovery::probe::Access::new(inventory, hosts);
    for name in inventory.etcd.members.keys() {
        access.etcd(name).await.unwrap().status().await.unwrap();
    }
    for name in inventory.kubernetes.control_plane.keys() {
        access.api(name).await.unwrap().apiserver_version().await.unwrap();
    }
}
