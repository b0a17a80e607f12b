//! etcd members: each is queried by itself: what one reports of the others is another fact.

mod data_dir;
mod identity;
mod peers;
pub(crate) mod storage;

use std::collections::BTreeMap;

use futures::future::{OptionFuture, join_all};
use lifeboat_client::messages::{AlarmType, RangeRequest, StatusResponse};
use lifeboat_client::{Client, Code, Error};
use lifeboat_etcd::KubernetesIdentity;
use tokio::join;

use crate::agent::Search;
use crate::facts::{Alarm, Fact, HashKv, MemberEntry, MemberFacts, MemberStatus, Storage, has_corrupt_alarm};
use crate::inventory::{Inventory, MemberSpec};

use super::Hosts;
use super::access::Access;
use crate::error_text;

/// Any key does: it need not exist. `etcdctl endpoint health` asks for the same one.
const KEY: &str = "health";

/// Asks every member; data dirs are not read.
pub async fn members(inventory: &Inventory, access: &Access) -> BTreeMap<String, MemberFacts> {
    collect(inventory, access, None, true, &|_| ()).await
}

/// Asks every member for what decides about a quorum: status, member list, a linearizable read, alarms. Neither HashKV,
/// which costs a member a read of its whole db, nor data dirs.
pub async fn votes(inventory: &Inventory, access: &Access) -> BTreeMap<String, MemberFacts> {
    collect(inventory, access, None, false, &|_| ()).await
}

/// What it takes to read data dirs.
#[derive(Clone, Copy)]
pub(super) struct Depth<'a, 'b> {
    /// The machines, which show whether a member is stopped.
    pub hosts: &'b Hosts<'a>,
    /// Whether Lifeboat's program stays on them.
    pub keep_program: bool,
}

/// Asks every member, for HashKV too to `compare` their data, and reads the data dirs of those that are stopped if that is
/// wanted.
pub(super) async fn collect(
    inventory: &Inventory,
    access: &Access,
    depth: Option<Depth<'_, '_>>,
    compare: bool,
    seen: &(dyn Fn(&str) + Sync),
) -> BTreeMap<String, MemberFacts> {
    let asked = inventory.etcd.members.keys().map(|name| async move {
        let answers = Answers::of(inventory, access, name).await;
        seen(&format!("etcd member {name}"));
        (name, answers)
    });
    let mut answers: BTreeMap<&String, Answers> = join_all(asked).await.into_iter().collect();
    let dirs = inventory.etcd.members.iter().map(|(name, spec)| {
        let silent = answers.get(name).is_some_and(|answers| answers.status.get().is_none());
        let is_alone = answers.get(name).is_some_and(|answers| answers.linearizable.get() == Some(&false));
        async move {
            let storage = match depth {
                Some(depth) => Some(storage_of(inventory, access, name, spec, depth).await),
                None => None,
            };
            let known = storage.as_ref();
            let data_dir = data_dir::collect(inventory, access, name, spec, silent, depth, known).await;
            let log = match is_alone && !silent {
                true => data_dir::log(inventory, access, spec, depth).await,
                false => None,
            };
            (data_dir, storage, log)
        }
    });
    let checked = async {
        let alarms = alarms(&answers).await;
        let hashes = hashes(inventory, &answers, &alarms, depth, compare).await;
        (alarms, hashes)
    };
    let apart = answers.values().any(|answers| answers.linearizable.get() != Some(&true));
    let peers = peers::collect(inventory, access, depth.filter(|_| apart));
    let ((alarms, hashes), dirs, peers) = join!(checked, join_all(dirs), peers);
    if apart && depth.is_some() {
        join_all(answers.values_mut().map(Answers::ask_again)).await;
    }
    let beside = inventory.etcd.members.iter().zip(&dirs).map(|((name, spec), (dir, ..))| {
        let answers = answers.get(name);
        let lost = answers.is_some_and(|answers| answers.is_of_another_cluster(inventory));
        let silent = answers.is_some_and(|answers| answers.status.get().is_none());
        async move {
            let search = match lost {
                true => Search::All,
                false if data_dir::runs_elsewhere(inventory, spec, silent, dir, depth).await => Search::Open,
                false => return None,
            };
            data_dir::beside(inventory, access, spec, search, depth).await
        }
    });
    let beside = join_all(beside).await;
    let rest = answers.into_iter().zip(alarms).zip(hashes).zip(dirs).zip(beside).zip(peers);
    rest.map(|((((((name, answers), alarms), hash_kv), (data_dir, storage, log)), beside), peers)| {
        let Answers { status, member_list, linearizable, identity, .. } = answers;
        let facts = MemberFacts {
            status,
            member_list,
            linearizable,
            alarms,
            hash_kv,
            data_dir,
            log,
            storage,
            identity,
            beside,
            peers,
        };
        (name.clone(), facts)
    })
    .collect()
}

/// Where a member's data lies, as far as its machine can be believed.
async fn storage_of(
    inventory: &Inventory,
    access: &Access,
    name: &str,
    spec: &MemberSpec,
    depth: Depth<'_, '_>,
) -> Fact<Storage> {
    let host = match depth.hosts.trusted(inventory, &spec.host).await {
        Ok(_) => access.hosts.get(&spec.host).ok_or_else(|| format!("no access to {}", spec.host)),
        Err(why) => Err(why),
    };
    match host {
        Ok(host) => storage::collect(name, spec, host.as_ref()).await,
        Err(why) => Fact::unknown(format!("ssh {}: data dir and service of etcd", spec.host), why),
    }
}

/// What one member says, by itself.
struct Answers {
    name: String,
    client: Option<Client>,
    status: Fact<MemberStatus>,
    member_list: Fact<Vec<MemberEntry>>,
    linearizable: Fact<bool>,
    identity: Option<Fact<KubernetesIdentity>>,
}

fn source(member: &str, call: &str) -> String {
    format!("etcd {member}: {call}")
}

impl Answers {
    async fn of(inventory: &Inventory, access: &Access, name: &str) -> Self {
        let holds_kubernetes = !inventory.kubernetes.control_plane.is_empty();
        let of = |call| source(name, call);
        let (status, member_list, range) =
            (of("Maintenance.Status"), of("Cluster.MemberList"), of("KV.Range"));
        let client = match access.etcd(name).await {
            Ok(client) => client,
            Err(error) => {
                let why = error_text::of(&error);
                return Self {
                    name: name.into(),
                    client: None,
                    status: Fact::unknown(status, &why),
                    member_list: Fact::unknown(member_list, &why),
                    linearizable: Fact::unknown(range, &why),
                    identity: None,
                };
            }
        };
        let identity = OptionFuture::from(
            holds_kubernetes.then(|| identity::ask(&client, source(name, "KV.Range, namespace and nodes"))),
        );
        let answers =
            join!(client.status(), client.member_list(false), client.range(linearizable_read()), identity);
        let linearizable = match answers.2 {
            Ok(_) => Fact::value(range, true),
            Err(error) if is_no_quorum(&error) => Fact::value(range, false),
            Err(error) => Fact::unknown(range, error_text::of(&error)),
        };
        let entries = |list: lifeboat_client::messages::MemberListResponse| {
            list.members.into_iter().map(entry).collect::<Vec<_>>()
        };
        Self {
            name: name.into(),
            status: known(status, answers.0.map(self::status)),
            member_list: known(member_list, answers.1.map(entries)),
            linearizable,
            identity: answers.3,
            client: Some(client),
        }
    }

    /// Asks again how far a member that sees a quorum has come, once data dirs were read: what they hold is compared with what
    /// the cluster has by then.
    async fn ask_again(&mut self) {
        let Some(client) = self.client.as_ref().filter(|_| self.linearizable.get() == Some(&true)) else {
            return;
        };
        if client.range(linearizable_read()).await.is_err() {
            return;
        }
        let Ok(status) = client.status().await else { return };
        self.status = Fact::value(self.status.source.clone(), self::status(status));
    }

    /// Whether it serves a state that has none of the inventory's nodes.
    fn is_of_another_cluster(&self, inventory: &Inventory) -> bool {
        let identity = self.identity.as_ref().and_then(Fact::get);
        identity.is_some_and(|identity| !inventory.kubernetes.owns(identity))
    }

    /// Why a heavy question is not asked of it. A full db is no doubt of what is in it.
    fn doubt(&self, alarms: &Fact<Vec<Alarm>>) -> Option<String> {
        let status = self.status.get()?;
        let is_raised = has_corrupt_alarm(alarms.get().into_iter().flatten(), &status.member_id);
        is_raised.then(|| "its CORRUPT alarm is raised".to_owned())
    }

    fn cluster(&self) -> Option<&str> {
        self.status.get().map(|status| status.cluster_id.as_str())
    }
}

/// A read that only a member with a leader and a quorum answers.
fn linearizable_read() -> RangeRequest {
    RangeRequest { limit: 1, keys_only: true, ..RangeRequest::key(KEY) }
}

fn known<T>(source: String, answer: lifeboat_client::Result<T>) -> Fact<T> {
    match answer {
        Ok(value) => Fact::value(source, value),
        Err(error) => Fact::unknown(source, error_text::of(&error)),
    }
}

/// What a learner says to everything but its status and serializable reads
/// (`server/etcdserver/api/v3rpc/interceptor.go`).
const LEARNER: &str = "etcdserver: rpc not supported for learner";

/// Whether a member that could be asked says, or shows by its silence, that no quorum stands behind it.
fn is_no_quorum(error: &Error) -> bool {
    match error {
        Error::Timeout { .. } => true,
        Error::Call { code, message, cause, .. } => {
            let own_answer = cause.is_none() && message != LEARNER;
            own_answer && matches!(code, Code::Unavailable | Code::DeadlineExceeded)
        }
        _ => false,
    }
}

fn hex(id: u64) -> String {
    format!("{id:x}")
}

fn status(status: StatusResponse) -> MemberStatus {
    MemberStatus {
        cluster_id: hex(status.header.cluster_id),
        member_id: hex(status.header.member_id),
        version: status.version,
        leader: (status.leader != 0).then(|| hex(status.leader)),
        raft_term: status.raft_term,
        raft_index: status.raft_index,
        revision: status.header.revision,
        learner: status.is_learner,
        db_size: status.db_size.try_into().unwrap_or(0),
        db_size_in_use: status.db_size_in_use.try_into().unwrap_or(0),
        quota: u64::try_from(status.db_size_quota).ok().filter(|quota| *quota > 0),
        errors: status.errors,
    }
}

fn entry(member: lifeboat_client::messages::Member) -> MemberEntry {
    MemberEntry {
        id: hex(member.id),
        name: member.name,
        peer_urls: member.peer_urls,
        learner: member.is_learner,
    }
}

/// The alarms of each member's cluster, asked of one member of it that has a quorum: every one would say the same.
async fn alarms(answers: &BTreeMap<&String, Answers>) -> Vec<Fact<Vec<Alarm>>> {
    let mut clusters: BTreeMap<&str, &Answers> = BTreeMap::new();
    for answer in answers.values().filter(|answers| answers.linearizable.get() == Some(&true)) {
        if let Some(cluster) = answer.cluster() {
            clusters.entry(cluster).or_insert(answer);
        }
    }
    let asked = clusters.into_iter().map(|(cluster, member)| async move {
        let call = OptionFuture::from(member.client.as_ref().map(Client::alarms)).await;
        let alarms = call.map(|answer| answer.map(|alarms| alarms.alarms.into_iter().map(alarm).collect()));
        let fact = alarms.map(|alarms| known(source(&member.name, "Maintenance.Alarm"), alarms));
        Some((cluster, fact?))
    });
    let told: BTreeMap<&str, Fact<Vec<Alarm>>> = join_all(asked).await.into_iter().flatten().collect();
    let of = |answers: &Answers| {
        let told = answers.cluster().and_then(|cluster| told.get(cluster)).cloned();
        let why = "listing alarms needs quorum, which its cluster has lost";
        told.unwrap_or_else(|| Fact::unknown(source(&answers.name, "Maintenance.Alarm"), why))
    };
    answers.values().map(of).collect()
}

fn alarm(alarm: lifeboat_client::messages::AlarmMember) -> Alarm {
    let kind = match AlarmType::try_from(alarm.alarm) {
        Ok(AlarmType::Nospace) => "NOSPACE".to_owned(),
        Ok(AlarmType::Corrupt) => "CORRUPT".to_owned(),
        _ => format!("alarm {}", alarm.alarm),
    };
    Alarm { member_id: hex(alarm.member_id), kind }
}

/// HashKV of each member, at the lowest revision of those of its cluster that answer. It reads the member's whole db, so
/// members are asked one after the other, and none that is in doubt: a page that is broken would end its process.
async fn hashes(
    inventory: &Inventory,
    answers: &BTreeMap<&String, Answers>,
    alarms: &[Fact<Vec<Alarm>>],
    depth: Option<Depth<'_, '_>>,
    compare: bool,
) -> Vec<Fact<HashKv>> {
    let mut lowest: BTreeMap<&str, i64> = BTreeMap::new();
    for status in answers.values().filter_map(|answers| answers.status.get()) {
        let revision = lowest.entry(&status.cluster_id).or_insert(status.revision);
        *revision = status.revision.min(*revision);
    }
    let mut hashes = Vec::new();
    for (answers, alarms) in answers.values().zip(alarms) {
        let source = source(&answers.name, "Maintenance.HashKV");
        let revision = answers.cluster().and_then(|cluster| lowest.get(cluster)).copied();
        if !compare {
            hashes.push(Fact::unknown(source, "not asked"));
            continue;
        }
        let doubt = match answers.doubt(alarms) {
            None => is_restarting(inventory, &answers.name, depth).await,
            doubt => doubt,
        };
        hashes.push(match (&answers.client, revision, doubt) {
            (Some(_), Some(_), Some(doubt)) => Fact::unknown(source, format!("not asked: {doubt}")),
            (Some(client), Some(revision), None) => hash_kv(client, source, revision).await,
            _ => Fact::unknown(source, "the member does not answer"),
        });
    }
    hashes
}

/// Whether a member's service is between two starts.
async fn is_restarting(inventory: &Inventory, name: &str, depth: Option<Depth<'_, '_>>) -> Option<String> {
    let spec = inventory.etcd.members.get(name)?;
    let host = depth?.hosts.trusted(inventory, &spec.host).await.ok()?;
    let state = host.services.get()?.get(&spec.service.key())?;
    (!state.is_running()).then(|| format!("{} is {}", spec.service.label(), state.active))
}

async fn hash_kv(client: &Client, source: String, revision: i64) -> Fact<HashKv> {
    let answer = client.hash_kv(revision).await;
    let hash = |answer: lifeboat_client::messages::HashKvResponse| HashKv {
        revision,
        hash: answer.hash,
        compact_revision: answer.compact_revision,
    };
    known(source, answer.map(hash))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn call(code: Code, message: &str) -> Error {
        Error::Call { endpoint: "e1".into(), rpc: "KV/Range", code, message: message.into(), cause: None }
    }

    #[test]
    fn only_what_a_member_says_of_its_quorum_counts_as_none() {
        let silent =
            Error::Timeout { endpoint: "e1".into(), rpc: "KV/Range", timeout: Duration::from_secs(3) };
        assert!(is_no_quorum(&silent));
        assert!(is_no_quorum(&call(Code::Unavailable, "etcdserver: no leader")));
        assert!(is_no_quorum(&call(Code::Unavailable, "etcdserver: request timed out")));
        assert!(!is_no_quorum(&call(Code::Unavailable, LEARNER)));
        assert!(!is_no_quorum(&call(Code::PermissionDenied, "etcdserver: permission denied")));
    }
}
