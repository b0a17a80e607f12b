//! `member:NAME`: the same verb where the data is, through a real sshd, on a real member's data dir.

mod support;

use std::path::Path;
use std::process::Output;

use fs_err as fs;
use lab::cluster::ClusterBuilder;
use lab::peers::{self, EtcdVersion};
use lab::sshd::Sshd;
use support::{fails, lifeboat, lifeboat_ok, text};

const SHIPPED: &str = "/var/lib/lifeboat";

fn inventory(sshd: &Sshd, file: &Path, data_dir: &Path, machine_id: &str) {
    let yaml = format!(
        "version: 1
cluster: test
ssh: {{config: '{}'}}
hosts:
  m1: {{address: 127.0.0.1, ssh: machine, machineId: '{machine_id}'}}
  m2: {{address: 127.0.0.2, ssh: closed}}
etcd:
  members:
    e1: {{host: m1, clientUrl: 'http://127.0.0.1:1', peerUrl: 'http://127.0.0.1:2', dataDir: '{}',
         service: {{unit: etcd.service}}}}
    e2: {{host: m2, clientUrl: 'http://127.0.0.2:1', peerUrl: 'http://127.0.0.2:2', dataDir: /e, service: {{unit: e.service}}}}
kubernetes:
  kubeconfig: none
  controlPlane:
    m1:
      url: https://127.0.0.1:6443
      apiserver: {{unit: a.service}}
      controllerManager: {{unit: c.service}}
      scheduler: {{unit: s.service}}
",
        sshd.ssh_config().unwrap().display(),
        data_dir.display()
    );
    fs::write(file, yaml).unwrap();
}

#[test]
fn a_members_data_dir_is_read_on_its_machine() {
    let sshd = lab::or_skip!(Sshd::start());
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let mut cluster = ClusterBuilder::new(EtcdVersion::V3_6).members(1).start().unwrap();
    cluster.etcdctl_ok(0, ["put", "/registry/x", "a \u{1b}[2J value"]).unwrap();
    let dir = cluster.data_dir(0).to_owned();
    let file = sshd.dir().join("lifeboat.yaml");
    let machine_id = fs::read_to_string("/etc/machine-id").unwrap_or_default().trim().to_owned();
    inventory(&sshd, &file, &dir, &machine_id);
    let there = |args: &[&str]| -> Output {
        let inventory = ["--inventory", file.to_str().unwrap()];
        lifeboat(args.iter().copied().chain(inventory))
    };

    fails(&there(&["inspect", "member:e1"]), 4, &["refused", "an etcd is running"]);
    cluster.stop(0).unwrap();

    let here = dir.to_str().unwrap();
    for verb in [
        &["inspect", "SOURCE", "-o", "json"][..],
        &["check", "SOURCE"],
        &["hash", "SOURCE", "-o", "yaml"],
        &["get", "SOURCE", "--key", "/registry/x", "--uncommitted"],
    ] {
        let with =
            |source: &'static str| verb.iter().map(move |word| if *word == "SOURCE" { source } else { word });
        let output = there(&with("member:e1").collect::<Vec<_>>());
        assert!(output.status.success(), "{verb:?}: {}", text(&output.stderr));
        let expected = lifeboat_ok(verb.iter().map(|word| if *word == "SOURCE" { here } else { word }));
        let expected = if verb[0] == "check" { expected.replace(here, "member:e1") } else { expected };
        assert_eq!(text(&output.stdout), expected, "{verb:?}");
    }
    assert!(!Path::new(SHIPPED).exists(), "nothing stays on the machine");

    fails(&there(&["hash", "member:e1", "--rev", "999999"]), 2, &["above the source's current revision"]);
    fails(&there(&["inspect", "member:e9"]), 2, &["no etcd member e9 in the inventory, which has e1, e2"]);
    fails(&there(&["inspect", "member:e2"]), 1, &["m2: unreachable", "Connection refused"]);

    let db = dir.join("member/snap/db");
    let len = fs::metadata(&db).unwrap().len();
    fs::OpenOptions::new().write(true).open(&db).unwrap().set_len(len / 4).unwrap();
    let damaged = there(&["check", "member:e1"]);
    assert_eq!(damaged.status.code(), Some(3), "{}", text(&damaged.stderr));
    assert!(text(&damaged.stdout).contains("DAMAGED"), "{}", text(&damaged.stdout));

    inventory(&sshd, &file, &dir, "00000000000000000000000000000000");
    fails(&there(&["check", "member:e1"]), 4, &["refused: m1 is the wrong machine"]);
    assert!(!Path::new(SHIPPED).exists(), "nothing was sent to it");
}
