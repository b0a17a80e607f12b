//! Guards: what must be true right before a step takes something away, asked of the cluster itself.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};

use crate::facts::{Answer, DataDirs, MemberFacts, Storage};
use crate::host::Command;
use crate::inventory::MemberSpec;
use crate::plan::{Guard, StateSource};
use crate::planner::preflight::{self, Room};
use crate::probe;
use crate::quorum::{Margin, keep, seats};

use super::State;
use super::context::Context;
use super::distribute;
use super::error::StepError;

/// How long a guard may fail before the step is refused: an election takes a second or two.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often to ask again.
const POLL: Duration = Duration::from_secs(1);

/// What is noted once all guards of a plan held.
const PASSED: &str = "passed";

/// Whether this plan's preflight has passed. A resumed run does not repeat it, since steps change what it asks about:
/// each step's own guards are asked again right before it acts.
pub(super) fn preflight_state(context: &Context<'_>, step: u32) -> State {
    match context.notes(step).iter().any(|note| note == PASSED) {
        true => State::Done,
        false => State::NotYet("not checked yet".into()),
    }
}

/// Checks every guard of the plan.
pub(super) async fn preflight(context: &Context<'_>, step: u32) -> Result<(), StepError> {
    hold(context, &context.plan.guards()).await?;
    context.note(step, PASSED.into())
}

/// Succeeds once all of these hold; refuses when one still does not after some seconds, and says which and why.
pub(super) async fn hold(context: &Context<'_>, guards: &[&Guard]) -> Result<(), StepError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = Seen { context, votes: OnceCell::new() };
        let answers = join_all(guards.iter().map(|guard| seen.breach(guard))).await;
        let breaches: Vec<String> = answers.into_iter().flatten().collect();
        if breaches.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(StepError::Refused(breaches.join("; ")));
        }
        sleep(POLL).await;
    }
}

/// Prints those of the ports that something listens on: `/proc/net/tcp` has them in hexadecimal, and 0A is LISTEN.
const LISTENING: &str = r#"
for port in "$@"; do
    hex=$(printf '%04X' "$port")
    if cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -q "^ *[0-9]*: [0-9A-F]*:$hex [0-9A-F]*:[0-9A-F]* 0A "; then
        echo "$port"
    fi
done
"#;

/// The port of a URL, as decimal digits.
fn port(url: &str) -> Option<String> {
    let digits = url.trim_end_matches('/').rsplit(':').next()?;
    digits.parse::<u16>().ok().map(|port| port.to_string())
}

/// One round of questions; each is asked once, however many guards depend on it.
struct Seen<'a, 'c> {
    context: &'a Context<'c>,
    votes: OnceCell<BTreeMap<String, MemberFacts>>,
}

impl Seen<'_, '_> {
    async fn votes(&self) -> &BTreeMap<String, MemberFacts> {
        let ask = || probe::etcd::votes(self.context.inventory, self.context.access);
        self.votes.get_or_init(ask).await
    }

    /// Why a guard does not hold.
    async fn breach(&self, guard: &Guard) -> Option<String> {
        match guard {
            Guard::QuorumWithout { member } => self.quorum_without(member).await,
            Guard::QuorumKept { members } => self.quorum_kept(members).await,
            Guard::QuorumLost => self.quorum_lost().await,
            Guard::ApiserverKept { hosts } => self.apiserver_kept(hosts).await,
            Guard::Data { member, dirs } => self.data(member, dirs).await,
            Guard::Room { member, source } => self.room(member, source.as_ref()).await,
            Guard::PortsFree { member } => self.ports_free(member).await,
        }
    }

    async fn quorum_without(&self, member: &str) -> Option<String> {
        let seats = seats(self.context.inventory, self.votes().await);
        let margin = seats.as_deref().map(|seats| Margin::replacing(seats, member));
        match margin {
            Some(margin) if margin.holds() => None,
            margin => Some(keep(member, margin.as_ref())),
        }
    }

    async fn quorum_kept(&self, members: &[String]) -> Option<String> {
        let votes = self.votes().await;
        if !votes.values().any(MemberFacts::sees_quorum) {
            return None;
        }
        let names: Vec<&str> = members.iter().map(String::as_str).collect();
        match seats(self.context.inventory, votes).map(|seats| Margin::stopping(&seats, &names)) {
            Some(margin) if margin.holds() => None,
            Some(margin) => Some(format!("stopping {} would lose quorum: {margin}", names.join(", "))),
            None => Some(format!("cannot tell whether quorum holds without {}", names.join(", "))),
        }
    }

    async fn quorum_lost(&self) -> Option<String> {
        let serving = self.votes().await.iter().find(|(_, member)| member.sees_quorum());
        serving.map(|(name, _)| {
            format!("etcd serves again: a linearizable read through {name} succeeds; a restore would stop it, plan again")
        })
    }

    /// Where a member's data lies on its machine, which must be the right one.
    async fn storage(&self, member: &str) -> Result<(&MemberSpec, Storage), String> {
        let spec = self.context.member(member).map_err(|error| error.to_string())?;
        let same = self.context.guarded(&spec.host, Command::new(["true"]));
        self.context.ask(&spec.host, same).await.map_err(|error| error.to_string())?;
        let host = self.context.host(&spec.host).map_err(|error| error.to_string())?;
        let fact = probe::etcd::storage::collect(member, spec, host.as_ref()).await;
        match fact.answer {
            Answer::Value(storage) => Ok((spec, storage)),
            Answer::Unknown(why) => Err(format!("{member}: data location unknown: {why}")),
        }
    }

    async fn data(&self, member: &str, planned: &DataDirs) -> Option<String> {
        match self.storage(member).await {
            Ok((spec, storage)) => match preflight::member(member, spec, &storage) {
                Ok(dirs) if dirs == *planned => None,
                Ok(dirs) => Some(format!(
                    "{member}: its data is in {} now, the plan expects {}: plan again",
                    dirs.data.display(),
                    planned.data.display()
                )),
                Err(wrong) => Some(wrong.join("; ")),
            },
            Err(why) => Some(why),
        }
    }

    /// The size of a state, as far as it is known.
    async fn state_bytes(&self, source: &StateSource) -> Option<u64> {
        let mut most = 0;
        if let Some(path) = source.snapshot() {
            most = self.context.snapshot_bytes(path).await?;
        }
        for member in source.members() {
            let stored = self.storage(member).await.ok().and_then(|(_, it)| preflight::stored_bytes(&it));
            let known = stored.max(served(member, self.votes().await));
            // Once it was copied, the data dir that it came from may have been moved aside.
            most = most.max(known.or_else(|| distribute::copied_bytes(self.context, source))?);
        }
        Some(most)
    }

    async fn room(&self, member: &str, source: Option<&StateSource>) -> Option<String> {
        let state = match source {
            Some(source) => self.state_bytes(source).await,
            None => {
                let votes = self.votes().await;
                votes.keys().filter_map(|name| served(name, votes)).max()
            }
        };
        let Some(state) = state else {
            return Some(format!("{member}: size of the new data unknown"));
        };
        let room = match source {
            Some(source) if distribute::is_done(self.context) => {
                Room::to_restore(state, source, member).delivered(state)
            }
            Some(source) => Room::to_restore(state, source, member),
            None => Room::to_replace(state),
        };
        match self.storage(member).await {
            Ok((_, storage)) => {
                Some(room.lacks(member, &storage).join("; ")).filter(|short| !short.is_empty())
            }
            Err(why) => Some(why),
        }
    }

    async fn ports_free(&self, member: &str) -> Option<String> {
        let answer = async {
            let spec = self.context.member(member)?;
            let ports = [&spec.client_url, &spec.peer_url].into_iter().filter_map(|url| port(url));
            let said = self.context.ask(&spec.host, Command::script(LISTENING, ports)).await?;
            Ok::<_, StepError>((spec, said))
        };
        match answer.await {
            Ok((_, said)) if said.trim().is_empty() => None,
            Ok((spec, said)) => Some(format!(
                "{member}: port {} on {} is in use: an etcd other than the inventory's service runs there",
                said.split_whitespace().collect::<Vec<_>>().join(", "),
                spec.host
            )),
            Err(error) => Some(error.to_string()),
        }
    }

    async fn apiserver_kept(&self, hosts: &[String]) -> Option<String> {
        let inventory = self.context.inventory;
        let asked = inventory.kubernetes.control_plane.keys().map(|host| async move {
            let facts = probe::kubernetes::api_server(inventory, self.context.access, host).await;
            (host, facts.readyz.get().is_some_and(|health| health.ok))
        });
        let ready: Vec<&String> =
            join_all(asked).await.into_iter().filter(|(_, ready)| *ready).map(|(host, _)| host).collect();
        keeps_one(&ready, hosts)
    }
}

/// Whether another API server is ready where one of those that are stopped is.
fn keeps_one(ready: &[&String], stopped: &[String]) -> Option<String> {
    if ready.is_empty() || ready.iter().any(|host| !stopped.contains(host)) {
        return None;
    }
    Some(format!("no API server is ready beside the one on {}, which would be stopped", stopped.join(", ")))
}

/// Bytes of the db that a member serves.
fn served(member: &str, votes: &BTreeMap<String, MemberFacts>) -> Option<u64> {
    Some(votes.get(member)?.status.get()?.db_size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_api_server_that_is_ready_is_not_stopped() {
        let [m1, m2] = ["m1", "m2"].map(str::to_owned);
        let stopped = std::slice::from_ref(&m1);
        assert!(keeps_one(&[&m1], stopped).is_some_and(|why| why.contains("on m1")));
        for ready in [&[&m1, &m2][..], &[&m2], &[]] {
            assert_eq!(keeps_one(ready, stopped), None, "{ready:?}");
        }
        assert!(keeps_one(&[&m1, &m2], &[m1.clone(), m2.clone()]).is_some());
    }
}
