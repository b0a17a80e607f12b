//! A real etcd on a copy of a data dir, and what it serves.

use std::collections::BTreeMap;
use std::path::Path;

use lab::cluster::{Cluster, ClusterBuilder, ClusterLayout};
use lab::copy_dir;
use lab::peers::EtcdVersion;
use lifeboat_client::messages::RangeRequest;
use lifeboat_etcd::mvcc::KeyState;
use lifeboat_etcd::{Bucket, HashKv, Member, NoProgress, Query, Source, State, get, hash_kv, open};

use crate::support::{PASSWORD, lifeboat_ok, login, pairs, save_args, served};

/// Which of the two hashes a server of this version answers: Debian's 3.4 is one of the older releases.
pub fn answer(version: EtcdVersion, hash: u32, older_hash: Option<u32>) -> u32 {
    older_hash.filter(|_| version == EtcdVersion::V3_4).unwrap_or(hash)
}

/// An etcd on a copy.
pub struct Served {
    cluster: Cluster,
    dir: tempfile::TempDir,
}

/// Starts an etcd on a copy, with these flags.
pub fn serve(version: EtcdVersion, data_dir: &Path, flags: &[&str]) -> Served {
    let dir = tempfile::tempdir().unwrap();
    let member = dir.path().join("m1");
    copy_dir(data_dir, &member).unwrap();
    let layout = ClusterLayout::new(1).unwrap();
    let builder = ClusterBuilder::new(version).layout(layout).restored([&member]).unsafe_no_fsync();
    let builder = flags.iter().fold(builder, |builder, flag| builder.flag(*flag));
    Served { cluster: builder.start().unwrap(), dir }
}

impl Served {
    /// Expects it to serve what `ours` holds, in every respect that outlives a restart.
    pub fn expect(self, ours: &dyn Source, what: &str) {
        let client = login(&self.cluster, 0, "root").unwrap();
        let all = self.cluster.block_on(client.range(RangeRequest::all())).unwrap();
        let served: BTreeMap<_, _> = all
            .kvs
            .into_iter()
            .map(|kv| {
                let found = KeyState {
                    create_revision: kv.create_revision,
                    mod_revision: kv.mod_revision,
                    version: kv.version,
                    lease: kv.lease,
                    value: kv.value,
                };
                (kv.key, found)
            })
            .collect();
        let everything = Query { prefix: true, ..Query::default() };
        let (revision, found) = get(ours, &everything, &NoProgress).unwrap();
        assert_eq!(found, served, "{what}: keys");
        assert_eq!(revision, all.header.revision, "{what}: revision");

        self.expect_hash(&hash_kv(ours, None, None, &NoProgress).unwrap(), what);

        // What no request asks for is in its db.
        let snapshot = self.dir.path().join("snapshot.db");
        let root = format!("root:{PASSWORD}");
        lifeboat_ok(save_args(&self.cluster, 0, &snapshot, &["--allow-unhealthy", "--user", &root]));
        let db = open(&snapshot).unwrap();
        for bucket in [Bucket::Auth, Bucket::AuthUsers, Bucket::AuthRoles] {
            assert_eq!(pairs(ours, bucket), pairs(db.as_ref(), bucket), "{what}: {}", bucket.name());
        }
        let (ours, theirs) = (State::read(ours).unwrap(), State::read(db.as_ref()).unwrap());
        assert_eq!(ours.leases, theirs.leases, "{what}: leases");
        assert_eq!(ours.alarms, theirs.alarms, "{what}: alarms");
        assert_eq!(ours.downgrade, theirs.downgrade, "{what}: downgrade");
        // 3.4 stores it only with changes of keys.
        if self.cluster.version() >= EtcdVersion::V3_5 {
            assert!(ours.consistent_index <= theirs.consistent_index, "{what}: consistent index");
        }
        // Earlier ones settle it again when they start.
        if self.cluster.version() >= EtcdVersion::V3_6 {
            assert_eq!(ours.cluster_version, theirs.cluster_version, "{what}: cluster version");
        }
        // Those that it took out itself to be alone are among those removed now.
        let there = |members: &[Member]| {
            let kept = members.iter().filter(|member| !theirs.members_removed.contains(&member.id));
            kept.map(|member| (member.id, member.peer_urls.clone(), member.is_learner)).collect::<Vec<_>>()
        };
        assert_eq!(there(&ours.members), there(&theirs.members), "{what}: members");
        assert!(ours.members_removed.iter().all(|id| theirs.members_removed.contains(id)), "{what}: removed");
    }

    /// Expects it to answer this hash at its current revision.
    pub fn expect_hash(&self, ours: &HashKv, what: &str) {
        let client = login(&self.cluster, 0, "root").unwrap();
        let hash = answer(self.cluster.version(), ours.hash, ours.older_hash);
        // A compaction that the log asks for may still be at work, and shows while no key is alive.
        let mut theirs = None;
        for _ in 0..40 {
            let answer = self.cluster.block_on(client.hash_kv(0)).unwrap();
            theirs = Some((answer.hash, answer.compact_revision));
            if theirs == Some((hash, ours.compact_revision)) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        assert_eq!(Some((hash, ours.compact_revision)), theirs, "{what}: HashKV and compact revision");
    }

    /// Whether it serves a key.
    pub fn has(&self, key: &str) -> bool {
        let client = login(&self.cluster, 0, "root").unwrap();
        !self.cluster.block_on(client.range(RangeRequest::key(key))).unwrap().kvs.is_empty()
    }

    /// Every key and value.
    pub fn values(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        served(&self.cluster, 0)
    }
}
