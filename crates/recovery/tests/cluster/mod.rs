//! Facts of a cluster like the lab's, whole or broken in one way, at one fixed moment.
//!
//! m1, m2 and m3 are control plane machines; m2, m3 and e1 have an etcd member; nfs serves files; n1 and n2 are
//! nodes. All are VMs of a ZStack with one reserved range of addresses.

pub mod cases;

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use lifeboat_recovery::facts::*;
use lifeboat_recovery::inventory::*;

/// Machine and last part of its address.
pub const HOSTS: &[(&str, u8)] =
    &[("m1", 231), ("m2", 232), ("m3", 233), ("e1", 230), ("nfs", 240), ("n1", 234), ("n2", 235)];
pub const MEMBERS: &[&str] = &["e1", "m2", "m3"];
pub const CONTROL_PLANE: &[&str] = &["m1", "m2", "m3"];
pub const NODES: &[&str] = &["n1", "n2"];
pub const ETCD: &str = "etcd.service";
pub const APISERVER: &str = "kube-apiserver.service";
pub const CLUSTER_ID: &str = "5c2c2c2b5c9a1d00";
const L3: &str = "7f1c6b5e9d344d2b8a6f0e1d2c3b4a59";
pub const REVISION: i64 = 41_200;
/// Why a question to a machine without a NIC gets no answer.
const NO_ROUTE: &str = "connect: No route to host";

pub fn now() -> Timestamp {
    "2026-03-02T08:30:00Z".parse().unwrap()
}

/// Some seconds before the look.
pub fn ago(seconds: i64) -> Timestamp {
    now() - SignedDuration::from_secs(seconds)
}

pub fn known<T>(source: &str, value: T) -> Fact<T> {
    Fact { answer: Answer::Value(value), source: source.into(), at: now() }
}

pub fn unknown<T>(source: &str, why: &str) -> Fact<T> {
    Fact { answer: Answer::Unknown(why.into()), source: source.into(), at: now() }
}

impl Builder {
    /// A cluster in which nothing is wrong.
    pub fn healthy() -> Self {
        let inventory = inventory();
        let cloud = cloud(&inventory);
        let facts = Facts {
            schema_version: SCHEMA_VERSION,
            platform: String::new(),
            observed_at: now(),
            cloud: Some(cloud),
            hosts: HOSTS.iter().map(|(name, _)| ((*name).into(), host(&inventory, name))).collect(),
            members: MEMBERS.iter().map(|name| ((*name).into(), member(name))).collect(),
            control_plane: CONTROL_PLANE
                .iter()
                .map(|name| ((*name).into(), control_plane_facts(name)))
                .collect(),
            kubernetes: kubernetes(),
            checks: [("web".into(), check(true, "200 OK"))].into(),
            pending_operation: None,
            snapshots: None,
            inventory,
        };
        Self(facts)
    }
}

/// Facts in the making.
pub struct Builder(pub Facts);

fn address(name: &str) -> String {
    let last = HOSTS.iter().find(|(host, _)| *host == name).unwrap().1;
    format!("10.123.0.{last}")
}

fn mac(name: &str) -> String {
    let last = HOSTS.iter().find(|(host, _)| *host == name).unwrap().1;
    format!("fa:fb:0a:7b:00:{last:02x}")
}

pub fn vm(name: &str) -> String {
    format!("{name:0>32}")
}

fn machine_id(name: &str) -> String {
    let last = HOSTS.iter().find(|(host, _)| *host == name).unwrap().1;
    format!("{last:032x}")
}

pub fn member_id(name: &str) -> String {
    let position = MEMBERS.iter().position(|member| *member == name).unwrap();
    format!("8e9e05c52164694{position}")
}

fn peer_url(name: &str) -> String {
    format!("https://{}:2380", address(name))
}

fn pod(process: &str) -> Service {
    let manifest = format!("/etc/kubernetes/manifests/{process}.yaml").into();
    Service::StaticPod(StaticPod { manifest, process: process.into() })
}

fn unit(name: &str) -> Service {
    Service::Unit(name.into())
}

fn inventory() -> Inventory {
    let host = |name: &str| HostSpec {
        address: address(name),
        ssh: None,
        machine_id: Some(machine_id(name)),
        vm: Some(Vm {
            uuid: vm(name),
            nics: vec![NicSpec { l3_network: L3.into(), ip: address(name), mac: mac(name) }],
        }),
        roles: if name == "nfs" { vec!["nfs".into()] } else { Vec::new() },
    };
    let member = |name: &str| MemberSpec {
        host: name.into(),
        client_url: format!("https://{}:2379", address(name)),
        peer_url: peer_url(name),
        data_dir: "/var/lib/etcd".into(),
        wal_dir: None,
        service: unit(ETCD),
        owner: None,
    };
    let control_plane = |name: &str| ControlPlaneSpec {
        url: format!("https://{}:6443", address(name)),
        apiserver: unit(APISERVER),
        controller_manager: unit("kube-controller-manager.service"),
        scheduler: unit("kube-scheduler.service"),
        certificate: Some("/etc/kubernetes/pki/apiserver.crt".into()),
    };
    let file = |name: &str| PathBuf::from(format!("/etc/lifeboat/{name}"));
    Inventory {
        version: 1,
        cluster: "prod".into(),
        ssh: Ssh { user: Some("root".into()), config: None },
        hosts: HOSTS.iter().map(|(name, _)| ((*name).into(), host(name))).collect(),
        etcd: Etcd {
            tls: Some(ClientTls { ca: file("ca.crt"), cert: file("client.crt"), key: file("client.key") }),
            members: MEMBERS.iter().map(|name| ((*name).into(), member(name))).collect(),
        },
        kubernetes: Kubernetes {
            kubeconfig: file("admin.conf"),
            uid: None,
            control_plane: CONTROL_PLANE.iter().map(|name| ((*name).into(), control_plane(name))).collect(),
            nodes: NODES
                .iter()
                .map(|name| ((*name).into(), NodeSpec { name: None, kubelet: "kubelet.service".into() }))
                .collect(),
        },
        cloud: Some(Cloud::Zstack(Zstack {
            endpoint: "http://10.123.0.249:8080".into(),
            ca: None,
            access_key_id: SecretRef::Env("ZSTACK_KEY_ID".into()),
            access_key_secret: SecretRef::Env("ZSTACK_KEY_SECRET".into()),
            ip_ranges: vec![IpRangeSpec {
                l3_network: L3.into(),
                name: "reserved".into(),
                start_ip: "10.123.0.230".into(),
                end_ip: "10.123.0.250".into(),
                netmask: "255.255.255.0".into(),
                gateway: "10.123.0.1".into(),
            }],
        })),
        snapshots: Vec::new(),
        checks: vec![Check { name: "web".into(), url: "http://10.123.0.234:30080/".into() }],
    }
}

fn cloud(inventory: &Inventory) -> CloudFacts {
    let vms = inventory.hosts.iter().map(|(name, spec)| CloudVm {
        uuid: spec.vm.as_ref().unwrap().uuid.clone(),
        name: name.clone(),
        state: "Running".into(),
    });
    let nics = inventory.hosts.keys().map(|name| CloudNic {
        vm: vm(name),
        l3_network: L3.into(),
        ip: address(name),
        mac: mac(name),
    });
    let range = CloudIpRange {
        l3_network: L3.into(),
        start_ip: "10.123.0.230".into(),
        end_ip: "10.123.0.250".into(),
    };
    CloudFacts {
        nics: known("cloud: NICs", nics.collect()),
        vms: known("cloud: VMs", vms.collect()),
        ip_ranges: known("cloud: IP ranges", vec![range]),
    }
}

pub fn running() -> ServiceState {
    ServiceState {
        active: "active".into(),
        sub: "running".into(),
        enabled: true,
        fenced: false,
        restarts: 0,
        processes: Vec::new(),
    }
}

fn host(inventory: &Inventory, name: &str) -> HostFacts {
    let ssh = |what: &str| format!("ssh {name}: {what}");
    let services = inventory.services_on(name).into_iter().map(|service| (service.key(), running()));
    let disk = Disk {
        size: 20_000_000_000,
        available: 11_000_000_000,
        free_inodes: Some(900_000),
        read_only: false,
    };
    let kubelet = KubeletHealth { ok: true, detail: "ok".into() };
    HostFacts {
        login: known(&ssh("login"), Login::Ok),
        machine_id: known(&ssh("/etc/machine-id"), machine_id(name)),
        boot_id: known(&ssh("boot_id"), format!("5f1b0000-0000-4000-8000-{:0>12}", name.len())),
        platform: None,
        clock_offset: known(&ssh("date"), 0.02),
        disks: known(&ssh("df"), [("/".into(), disk)].into()),
        services: known(&ssh("systemctl, manifests, processes"), services.collect()),
        leftovers: Leftovers::default(),
        kubelet: NODES.contains(&name).then(|| known(&ssh("kubelet /healthz"), kubelet)),
        kubelet_api: None,
        logs: None,
    }
}

fn member(name: &str) -> MemberFacts {
    let etcd = |what: &str| format!("etcd {name}: {what}");
    let entries = MEMBERS.iter().map(|member| MemberEntry {
        id: member_id(member),
        name: (*member).into(),
        peer_urls: vec![peer_url(member)],
        learner: false,
    });
    let status = MemberStatus {
        cluster_id: CLUSTER_ID.into(),
        member_id: member_id(name),
        version: "3.6.16".into(),
        leader: Some(member_id("m2")),
        raft_term: 7,
        raft_index: 52_310,
        revision: REVISION,
        learner: false,
        db_size: 48_000_000,
        db_size_in_use: 31_000_000,
        quota: None,
        errors: Vec::new(),
    };
    let hash = HashKv { revision: REVISION, hash: 0x9a3c_11d7, compact_revision: 40_000 };
    MemberFacts {
        status: known(&etcd("Maintenance.Status"), status),
        member_list: known(&etcd("Cluster.MemberList"), entries.collect()),
        linearizable: known(&etcd("KV.Range"), true),
        alarms: known(&etcd("Maintenance.Alarm"), Vec::new()),
        hash_kv: known(&etcd("Maintenance.HashKV"), hash),
        data_dir: unknown(&format!("ssh {name}: /var/lib/etcd"), &format!("{name} runs on it")),
        log: None,
        identity: None,
        beside: None,
        peers: None,
        storage: Some(known(&format!("ssh {name}: data dir and service of etcd"), storage())),
    }
}

pub fn storage() -> Storage {
    let place = |path: &str, kind| Place {
        path: path.into(),
        real: path.into(),
        kind,
        is_mount: false,
        below: Vec::new(),
        owner: Some("etcd:etcd".into()),
        mode: Some("700".into()),
        bytes: Some(180_000_000),
        db_bytes: Some(48_000_000),
        mount: "/".into(),
        available: 11_000_000_000,
    };
    Storage {
        data_dir: place("/var/lib/etcd", PlaceKind::Directory),
        wal_dir: None,
        scratch: Place {
            owner: None,
            mode: None,
            bytes: None,
            db_bytes: None,
            ..place("/var/lib/lifeboat", PlaceKind::Absent)
        },
        named: vec![NamedDirs {
            by: ETCD.into(),
            data_dir: "/var/lib/etcd".into(),
            real: "/var/lib/etcd".into(),
            wal_dir: None,
            holds_member: None,
        }],
        unread: Vec::new(),
        user: Some("etcd".into()),
        config_file: None,
        program: Some(Program {
            path: "/usr/local/bin/etcd".into(),
            version: "etcd Version: 3.6.16".into(),
            unknown_flag: None,
        }),
    }
}

fn control_plane_facts(name: &str) -> ControlPlaneFacts {
    let ok = || Health { ok: true, detail: "ok".into() };
    let certificate = Certificate {
        subject: "CN=kube-apiserver".into(),
        not_before: ago(90 * 86_400),
        not_after: ago(-275 * 86_400),
    };
    ControlPlaneFacts {
        livez: known(&format!("API server {name}: /livez"), ok()),
        readyz: known(&format!("API server {name}: /readyz"), ok()),
        certificate: known(&format!("API server {name}: certificate"), certificate),
    }
}

fn kubernetes() -> KubernetesFacts {
    let lease =
        |holder: &str| Lease { holder: holder.into(), renewed_at: Some(ago(1)), duration_seconds: 15 };
    let node = |name: &&str| Node {
        name: (*name).into(),
        ready: "True".into(),
        reason: "KubeletReady".into(),
        unschedulable: false,
        pods: None,
        lease_renewed_at: Some(ago(4)),
    };
    let m1 = |what: &str| format!("API server m1: {what}");
    KubernetesFacts {
        controller_manager: known(&m1("lease kube-controller-manager"), lease("m2_7d1c")),
        scheduler: known(&m1("lease kube-scheduler"), lease("m1_91aa")),
        nodes: known(&m1("nodes"), NODES.iter().map(node).collect()),
        leases_without_node: known(&m1("leases in kube-node-lease"), Vec::new()),
    }
}

pub fn check(ok: bool, detail: &str) -> Fact<CheckAnswer> {
    known("GET http://10.123.0.234:30080/", CheckAnswer { ok, detail: detail.into() })
}

/// What can go wrong, in parts.
impl Builder {
    pub fn host(&mut self, name: &str) -> &mut HostFacts {
        self.0.hosts.get_mut(name).unwrap()
    }

    pub fn member(&mut self, name: &str) -> &mut MemberFacts {
        self.0.members.get_mut(name).unwrap()
    }

    pub fn control_plane(&mut self, name: &str) -> &mut ControlPlaneFacts {
        self.0.control_plane.get_mut(name).unwrap()
    }

    pub fn service(&mut self, host: &str, unit: &str) -> &mut ServiceState {
        value(&mut self.host(host).services).get_mut(unit).unwrap()
    }

    pub fn nodes(&mut self) -> &mut Vec<Node> {
        value(&mut self.0.kubernetes.nodes)
    }

    /// A machine nobody can log in to, for this reason.
    pub fn no_login(mut self, name: &str, login: &Login) -> Self {
        let why = match login {
            Login::Ok => "",
            Login::Unreachable(why) | Login::HostKeyChanged(why) | Login::Denied(why) => why,
        };
        let host = self.host(name);
        value(&mut host.login).clone_from(login);
        forget(&mut host.machine_id, why);
        forget(&mut host.boot_id, why);
        forget(&mut host.clock_offset, why);
        forget(&mut host.disks, why);
        forget(&mut host.services, why);
        host.kubelet.iter_mut().for_each(|kubelet| forget(kubelet, why));
        self
    }

    /// A machine that answers to nobody.
    pub fn unreachable(mut self, name: &str) -> Self {
        self = self.no_login(name, &Login::Unreachable(NO_ROUTE.into()));
        if MEMBERS.contains(&name) {
            self = self.silent(name, NO_ROUTE);
            forget(&mut self.member(name).data_dir, "the machine cannot be reached");
        }
        if CONTROL_PLANE.contains(&name) {
            self = self.api_down(name, NO_ROUTE);
        }
        self
    }

    /// The cloud has taken away the NIC of a machine.
    pub fn nic_gone(mut self, name: &str) -> Self {
        let cloud = self.0.cloud.as_mut().unwrap();
        value(&mut cloud.nics).retain(|nic| nic.vm != vm(name));
        self.unreachable(name)
    }

    pub fn range_gone(mut self) -> Self {
        value(&mut self.0.cloud.as_mut().unwrap().ip_ranges).clear();
        self
    }

    /// A unit that does not run.
    pub fn stopped(mut self, host: &str, unit: &str, sub: &str) -> Self {
        let state = self.service(host, unit);
        state.active = if sub == "auto-restart" { "activating" } else { "inactive" }.into();
        state.sub = sub.into();
        self
    }

    /// A machine whose kubelet runs its control plane.
    pub fn with_static_pods(mut self, name: &str) -> Self {
        let inventory = &mut self.0.inventory;
        inventory.etcd.members.get_mut(name).unwrap().service = pod("etcd");
        let spec = inventory.kubernetes.control_plane.get_mut(name).unwrap();
        spec.apiserver = pod("kube-apiserver");
        spec.controller_manager = pod("kube-controller-manager");
        spec.scheduler = pod("kube-scheduler");
        let node = NodeSpec { name: None, kubelet: "kubelet.service".into() };
        inventory.kubernetes.nodes.insert(name.into(), node);
        self.0.hosts.insert(name.into(), host(&self.0.inventory, name));
        let mut object = self.nodes()[0].clone();
        object.name = name.into();
        self.nodes().push(object);
        self
    }

    /// A static pod without its process, and maybe without its manifest.
    pub fn pod_stopped(mut self, host: &str, process: &str, manifest: bool) -> Self {
        let state = self.service(host, &pod(process).key());
        state.active = "inactive".into();
        state.sub = String::new();
        state.enabled = manifest;
        self
    }

    /// A member that gives no answers.
    pub fn silent(mut self, name: &str, why: &str) -> Self {
        let member = self.member(name);
        forget(&mut member.status, why);
        forget(&mut member.member_list, why);
        forget(&mut member.linearizable, why);
        forget(&mut member.alarms, why);
        forget(&mut member.hash_kv, why);
        self
    }

    /// A member that is stopped, with this in its data dir.
    pub fn member_stopped(self, name: &str, dir: DataDir) -> Self {
        let service = self.0.inventory.etcd.members[name].service.key();
        let mut all = self.stopped(name, &service, "dead").silent(name, "connect: Connection refused");
        all.member(name).data_dir = known(&format!("ssh {name}: /var/lib/etcd"), dir);
        all
    }

    /// Members that answer, and cannot decide anything.
    pub fn no_quorum(mut self) -> Self {
        for name in MEMBERS {
            let member = self.member(name);
            if member.status.get().is_none() {
                continue;
            }
            value(&mut member.status).leader = None;
            *value(&mut member.linearizable) = false;
            forget(
                &mut member.alarms,
                "asking for alarms needs a quorum, and no member of its cluster has one",
            );
        }
        self
    }

    /// An API server that says nothing.
    pub fn api_down(mut self, name: &str, why: &str) -> Self {
        let down = || Health { ok: false, detail: why.into() };
        let facts = self.control_plane(name);
        facts.livez = known(&format!("API server {name}: /livez"), down());
        facts.readyz = known(&format!("API server {name}: /readyz"), down());
        forget(&mut facts.certificate, why);
        self
    }

    /// An API server that runs without an etcd.
    pub fn api_without_etcd(mut self, name: &str) -> Self {
        let not = || Health {
            ok: false,
            detail: "etcd failed, poststarthook/start-service-ip-repair-controllers failed".into(),
        };
        let facts = self.control_plane(name);
        facts.livez = known(&format!("API server {name}: /livez"), not());
        facts.readyz = known(&format!("API server {name}: /readyz"), not());
        self
    }

    /// All that comes of no API server being ready.
    pub fn no_api(mut self) -> Self {
        let why = "no API server lets us ask";
        let kubernetes = &mut self.0.kubernetes;
        forget(&mut kubernetes.controller_manager, why);
        forget(&mut kubernetes.scheduler, why);
        forget(&mut kubernetes.nodes, why);
        forget(&mut kubernetes.leases_without_node, why);
        self
    }

    pub fn without_cloud(mut self) -> Self {
        self.0.cloud = None;
        self.0.inventory.cloud = None;
        self.0.inventory.hosts.values_mut().for_each(|host| host.vm = None);
        self
    }

    /// No quorum, so no API server is ready and no controller leads.
    pub fn etcd_lost(self) -> Self {
        self.etcd_lost_on(CONTROL_PLANE)
    }

    /// The same, with these API servers there to complain.
    pub fn etcd_lost_on(self, hosts: &[&str]) -> Self {
        let all = self.no_quorum().no_api();
        hosts.iter().fold(all, |all, name| all.api_without_etcd(name))
    }

    pub fn node_not_ready(mut self, name: &str) -> Self {
        let node = self.nodes().iter_mut().find(|node| node.name == name).unwrap();
        node.ready = "Unknown".into();
        node.reason = "NodeStatusUnknown".into();
        node.lease_renewed_at = Some(ago(190));
        self
    }

    pub fn check_fails(mut self) -> Self {
        self.0.checks = [("web".into(), check(false, "no answer within 2 s"))].into();
        self
    }
}

pub fn sound(member: &str, revision: i64) -> DataDir {
    DataDir::Sound(DataDirState {
        cluster_id: CLUSTER_ID.into(),
        member_id: member_id(member),
        last_term: 7,
        last_index: 52_310 - (REVISION - revision).unsigned_abs(),
        revision,
        keys: 1_480,
        db_index: None,
        db_term: None,
        kubernetes: None,
        uncommitted: None,
        alarms: Vec::new(),
        v2_keys: false,
    })
}

/// How far the log of a member goes that runs and does not answer.
pub fn log_of(cluster_id: &str, member_id: &str, last_index: u64) -> LogState {
    let (cluster_id, member_id) = (cluster_id.into(), member_id.into());
    let (last_term, first_index, db_index, db_term) = (None, None, None, None);
    LogState { cluster_id, member_id, last_index, last_term, first_index, db_index, db_term }
}

pub fn value<T>(fact: &mut Fact<T>) -> &mut T {
    match &mut fact.answer {
        Answer::Value(value) => value,
        Answer::Unknown(why) => panic!("unknown: {why}"),
    }
}

pub fn forget<T>(fact: &mut Fact<T>, why: &str) {
    fact.answer = Answer::Unknown(why.into());
}

pub type Cases = BTreeMap<&'static str, Facts>;
