//! The writes of a Kubernetes API server: a cluster is set up, then goes through rounds of heartbeats, rollouts and
//! events.

use fastrand::Rng;

use super::object::{Kind, Object};
use super::{Op, Write};

const fn kind(prefix: &'static str, api_version: &'static str, kind: &'static str) -> Kind {
    Kind { prefix, api_version, kind }
}

const NAMESPACE: Kind = kind("namespaces", "v1", "Namespace");
const NODE: Kind = kind("minions", "v1", "Node");
const NODE_LEASE: Kind = kind("leases", "coordination.k8s.io/v1", "Lease");
const EVENT: Kind = kind("events", "v1", "Event");
const POD: Kind = kind("pods", "v1", "Pod");
const WIDGET: Kind = kind("lab.lifeboat.invalid/widgets", "lab.lifeboat.invalid/v1", "Widget");

/// The objects of every namespace, with a typical size in bytes.
const NAMESPACE_OBJECTS: [(Kind, usize); 7] = [
    (kind("serviceaccounts", "v1", "ServiceAccount"), 150),
    (kind("configmaps", "v1", "ConfigMap"), 1200),
    (kind("secrets", "v1", "Secret"), 900),
    (kind("services/specs", "v1", "Service"), 600),
    (kind("endpointslices", "discovery.k8s.io/v1", "EndpointSlice"), 900),
    (kind("deployments", "apps/v1", "Deployment"), 2500),
    (kind("replicasets", "apps/v1", "ReplicaSet"), 2200),
];
const NODE_BYTES: usize = 6000;
const POD_BYTES: usize = 4000;
const SMALL_BYTES: usize = 300;

/// The workload of a Kubernetes cluster.
#[derive(Clone, Debug)]
pub struct Kubernetes {
    /// Seed of all random choices.
    pub seed: u64,
    /// Nodes, each with a heartbeat.
    pub nodes: usize,
    /// Namespaces, each with a service, a deployment, configuration and a custom resource.
    pub namespaces: usize,
    /// Pods in each namespace.
    pub pods: usize,
    /// Rounds of changes: every heartbeat, one pod replaced and one event for each namespace.
    pub rounds: usize,
}

impl Default for Kubernetes {
    fn default() -> Self {
        Self { seed: 1, nodes: 3, namespaces: 5, pods: 8, rounds: 20 }
    }
}

impl Kubernetes {
    /// The requests, in order.
    pub fn ops(&self) -> impl Iterator<Item = Op> + use<> {
        let mut generator = Generator { rng: Rng::with_seed(self.seed), generation: 0, ops: Vec::new() };
        let mut pods = generator.set_up(self);
        let mut setup = Some(std::mem::take(&mut generator.ops));
        let (workload, mut round) = (self.clone(), 0);
        // Generated round by round, so that a long workload is never in memory as a whole.
        std::iter::from_fn(move || {
            if let Some(ops) = setup.take() {
                return Some(ops);
            }
            round += 1;
            (round <= workload.rounds).then(|| {
                generator.round(&workload, &mut pods);
                std::mem::take(&mut generator.ops)
            })
        })
        .flatten()
    }
}

struct Generator {
    rng: Rng,
    generation: u64,
    ops: Vec<Op>,
}

impl Generator {
    /// Returns each namespace's pods.
    fn set_up(&mut self, workload: &Kubernetes) -> Vec<Vec<String>> {
        for node in 0..workload.nodes {
            self.store(NODE, "", &node_name(node), NODE_BYTES);
            self.store(NODE_LEASE, "kube-node-lease", &node_name(node), SMALL_BYTES);
        }
        let mut pods = Vec::new();
        for namespace in (0..workload.namespaces).map(namespace_name) {
            self.store(NAMESPACE, "", &namespace, SMALL_BYTES);
            for (kind, bytes) in NAMESPACE_OBJECTS {
                self.store(kind, &namespace, "app", bytes);
            }
            self.store(WIDGET, &namespace, "app", SMALL_BYTES);
            pods.push((0..workload.pods).map(|_| self.new_pod(&namespace)).collect());
        }
        pods
    }

    fn round(&mut self, workload: &Kubernetes, pods: &mut [Vec<String>]) {
        for node in 0..workload.nodes {
            self.store(NODE_LEASE, "kube-node-lease", &node_name(node), SMALL_BYTES);
        }
        if workload.nodes > 0 {
            let node = self.rng.usize(0..workload.nodes);
            self.store(NODE, "", &node_name(node), NODE_BYTES);
        }
        for (namespace, pods) in pods.iter_mut().enumerate() {
            let namespace = namespace_name(namespace);
            if !pods.is_empty() {
                let gone = self.rng.usize(0..pods.len());
                let key = format!("/registry/pods/{namespace}/{}", pods.swap_remove(gone)).into_bytes();
                self.ops.push(Op::Guarded(Write::Delete { key }));
                pods.push(self.new_pod(&namespace));
            }
            let (kind, bytes) = NAMESPACE_OBJECTS[self.rng.usize(0..NAMESPACE_OBJECTS.len())];
            self.store(kind, &namespace, "app", bytes);
            let event = format!("app.{:016x}", self.rng.u64(..));
            self.store(EVENT, &namespace, &event, SMALL_BYTES);
        }
    }

    fn new_pod(&mut self, namespace: &str) -> String {
        let name = format!("app-{:08x}", self.rng.u32(..));
        self.store(POD, namespace, &name, POD_BYTES);
        name
    }

    fn store(&mut self, kind: Kind, namespace: &str, name: &str, bytes: usize) {
        self.generation += 1;
        let ballast: String =
            (0..self.rng.usize(bytes / 2..=bytes)).map(|_| self.rng.alphanumeric()).collect();
        // An object keeps its uid.
        let mut identity = Rng::with_seed(fnv1a(&[kind.prefix, namespace, name]));
        let (high, low) = (identity.u32(..), identity.u64(..) >> 16);
        let uid = format!("{high:08x}-1ab0-4000-8000-{low:012x}");
        let object =
            Object { kind, namespace, name, uid: &uid, generation: self.generation, ballast: &ballast };
        let value = if kind.prefix == WIDGET.prefix { object.json() } else { object.protobuf() };
        // The API server attaches only events to leases.
        let leased = kind.prefix == EVENT.prefix;
        self.ops.push(Op::Guarded(Write::Put { key: object.key(), value, leased }));
    }
}

fn node_name(n: usize) -> String {
    format!("node-{n}")
}

fn namespace_name(n: usize) -> String {
    format!("team-{n}")
}

fn fnv1a(parts: &[&str]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_requests() {
        let ops = |seed| Kubernetes { seed, ..Kubernetes::default() }.ops().collect::<Vec<_>>();
        assert_eq!(ops(7), ops(7));
        assert_ne!(ops(7), ops(8));
    }

    #[test]
    fn pods_are_replaced_not_lost() {
        let workload = Kubernetes::default();
        let mut live = BTreeMap::new();
        for op in workload.ops() {
            match op {
                Op::Guarded(Write::Put { key, value, .. }) => drop(live.insert(key, value)),
                Op::Guarded(Write::Delete { key }) => assert!(live.remove(&key).is_some()),
                other => panic!("the API server never sends {other:?}"),
            }
        }
        let count = |prefix: &[u8]| live.keys().filter(|key| key.starts_with(prefix)).count();
        assert_eq!(count(b"/registry/pods/"), workload.namespaces * workload.pods);
        assert_eq!(count(b"/registry/events/"), workload.namespaces * workload.rounds);
        assert_eq!(count(b"/registry/leases/kube-node-lease/"), workload.nodes);
    }
}
