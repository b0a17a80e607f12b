//! etcd members: each is asked by itself, since what one says of the others is another fact than what they say.

mod data_dir;

use std::collections::BTreeMap;

use futures::future::{OptionFuture, join_all};
use lifeboat_client::messages::{AlarmType, RangeRequest, StatusResponse};
use lifeboat_client::{Client, Code, Error};
use tokio::join;

use crate::facts::{Alarm, Fact, HashKv, MemberEntry, MemberFacts, MemberStatus};
use crate::inventory::Inventory;

use super::access::Access;
use super::{Hosts, reason};

/// Any key does: it need not exist. `etcdctl endpoint health` asks for the same one.
const KEY: &str = "health";

/// Asks every member; data dirs are not read.
pub async fn members(inventory: &Inventory, access: &Access) -> BTreeMap<String, MemberFacts> {
    look(inventory, access, None, &|_| ()).await
}

/// What it takes to read data dirs.
#[derive(Clone, Copy)]
pub(super) struct Depth<'a, 'b> {
    /// The machines, which show whether a member is stopped.
    pub hosts: &'b Hosts<'a>,
    /// Whether Lifeboat's program stays on them.
    pub keep_program: bool,
}

/// Asks every member, and reads the data dirs of those that are stopped if that is wanted.
pub(super) async fn look(
    inventory: &Inventory,
    access: &Access,
    depth: Option<Depth<'_, '_>>,
    seen: &(dyn Fn(&str) + Sync),
) -> BTreeMap<String, MemberFacts> {
    let asked = inventory.etcd.members.keys().map(|name| async move {
        let answers = Answers::of(access, name).await;
        seen(&format!("etcd member {name}"));
        (name, answers)
    });
    let answers: BTreeMap<&String, Answers> = join_all(asked).await.into_iter().collect();
    let dirs = inventory.etcd.members.iter().map(|(name, spec)| {
        let silent = answers.get(name).is_some_and(|answers| answers.status.get().is_none());
        async move { data_dir::look(inventory, access, name, spec, silent, depth).await }
    });
    let (alarms, hashes, dirs) = join!(alarms(&answers), hashes(&answers), join_all(dirs));
    let rest = answers.into_iter().zip(alarms).zip(hashes).zip(dirs);
    rest.map(|((((name, answers), alarms), hash_kv), data_dir)| {
        let Answers { status, member_list, linearizable, .. } = answers;
        (name.clone(), MemberFacts { status, member_list, linearizable, alarms, hash_kv, data_dir })
    })
    .collect()
}

/// What one member says, by itself.
struct Answers {
    name: String,
    client: Option<Client>,
    status: Fact<MemberStatus>,
    member_list: Fact<Vec<MemberEntry>>,
    linearizable: Fact<bool>,
}

fn source(member: &str, call: &str) -> String {
    format!("etcd {member}: {call}")
}

impl Answers {
    async fn of(access: &Access, name: &str) -> Self {
        let of = |call| source(name, call);
        let (status, member_list, range) =
            (of("Maintenance.Status"), of("Cluster.MemberList"), of("KV.Range"));
        let client = match access.etcd(name).await {
            Ok(client) => client,
            Err(error) => {
                let why = reason::of(&error);
                return Self {
                    name: name.into(),
                    client: None,
                    status: Fact::unknown(status, &why),
                    member_list: Fact::unknown(member_list, &why),
                    linearizable: Fact::unknown(range, &why),
                };
            }
        };
        let read = RangeRequest { limit: 1, keys_only: true, ..RangeRequest::key(KEY) };
        let answers = join!(client.status(), client.member_list(false), client.range(read));
        let linearizable = match answers.2 {
            Ok(_) => Fact::value(range, true),
            Err(error) if is_no_quorum(&error) => Fact::value(range, false),
            Err(error) => Fact::unknown(range, reason::of(&error)),
        };
        let entries = |list: lifeboat_client::messages::MemberListResponse| {
            list.members.into_iter().map(entry).collect::<Vec<_>>()
        };
        Self {
            name: name.into(),
            status: known(status, answers.0.map(self::status)),
            member_list: known(member_list, answers.1.map(entries)),
            linearizable,
            client: Some(client),
        }
    }

    fn cluster(&self) -> Option<&str> {
        self.status.get().map(|status| status.cluster_id.as_str())
    }
}

fn known<T>(source: String, answer: lifeboat_client::Result<T>) -> Fact<T> {
    match answer {
        Ok(value) => Fact::value(source, value),
        Err(error) => Fact::unknown(source, reason::of(&error)),
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
        let why = "asking for alarms needs a quorum, and no member of its cluster has one";
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

/// HashKV of each member, at the lowest revision of those of its cluster that answer.
async fn hashes(answers: &BTreeMap<&String, Answers>) -> Vec<Fact<HashKv>> {
    let mut lowest: BTreeMap<&str, i64> = BTreeMap::new();
    for status in answers.values().filter_map(|answers| answers.status.get()) {
        let revision = lowest.entry(&status.cluster_id).or_insert(status.revision);
        *revision = status.revision.min(*revision);
    }
    let asked = answers.values().map(|answers| {
        let revision = answers.cluster().and_then(|cluster| lowest.get(cluster)).copied();
        async move {
            let source = source(&answers.name, "Maintenance.HashKV");
            match (&answers.client, revision) {
                (Some(client), Some(revision)) => hash_kv(client, source, revision).await,
                _ => Fact::unknown(source, "the member does not answer"),
            }
        }
    });
    join_all(asked).await
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
