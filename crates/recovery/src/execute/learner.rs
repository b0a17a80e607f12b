//! Replacing one member while the others have a quorum.
//!
//! A member that joins must be started once with the cluster as it is (`--initial-cluster-state=existing`), which its
//! own service does not say. The later of two equal flags counts, so for its first start they are added behind its
//! command line: in a drop-in in `/run` that a reboot takes away, or in the static pod's manifest, where kubeadm
//! leaves the same flags for good. Once there is a data dir, etcd reads neither.

use std::time::Duration;

use lifeboat_client::Client;
use lifeboat_client::messages::Member;

use crate::host::Command;
use crate::inventory::Service;
use crate::plan::HostService;
use crate::probe::host::FENCED_MANIFESTS;

use super::context::Context;
use super::error::StepError;
use super::service::Change;
use super::{State, service};

const JOIN_UNIT: &str = r#"
set -eu
unit=$1 cluster=$2
line=$(systemctl cat "$unit" | sed -e ':join' -e '/\\$/{N' -e 's/\\\n//' -e 'b join' -e '}' | sed -n 's/^ExecStart=\(..*\)$/\1/p' | tail -n 1)
if [ -z "$line" ]; then echo "$unit has no ExecStart" >&2; exit 1; fi
case $line in *--config-file*) echo "$unit uses --config-file, which shuts out flags: set initial-cluster-state there" >&2; exit 1;; esac
dir=/run/systemd/system/$unit.d
mkdir -p "$dir"
printf '[Service]\nExecStart=\nExecStart=%s --initial-cluster-state=existing --initial-cluster=%s\n' "$line" "$cluster" > "$dir/50-lifeboat-join.conf"
systemctl daemon-reload
"#;

/// Units and static pods name the data dir as a place that is there. It belongs to whom the old one belonged to.
const EMPTY_DATA_DIR: &str = r#"
set -eu
dir=$1 aside=$2 owner=$3
if [ -e "$dir" ]; then exit 0; fi
mkdir -m 0700 "$dir"
if [ -n "$owner" ]; then chown "$owner" "$dir"; elif [ -e "$aside" ]; then chown --reference="$aside" "$dir"; fi
"#;

const JOINED_UNIT: &str = r#"
set -eu
dir=/run/systemd/system/$1.d
rm -f "$dir/50-lifeboat-join.conf"
rmdir "$dir" 2>/dev/null || :
systemctl daemon-reload
"#;

/// The manifest is fenced: it lies outside of the kubelet's sight while it is changed.
const JOIN_POD: &str = r#"
set -eu
cluster=$2 kept=$3
grep -v -e '- --initial-cluster=' -e '- --initial-cluster-state=' "$kept" |
    sed "s|^\( *\)- --name=.*|&\n\1- --initial-cluster-state=existing\n\1- --initial-cluster=$cluster|" > "$kept.lifeboat"
if ! grep -q -e '--initial-cluster-state=existing' "$kept.lifeboat"; then echo "$kept has no --name flag" >&2; exit 1; fi
sync "$kept.lifeboat"
mv "$kept.lifeboat" "$kept"
"#;

/// A client of a member that has a quorum behind it, other than this one.
async fn quorum(context: &Context<'_>, but: &str) -> Result<(Client, Vec<Member>), StepError> {
    let mut why = String::from("no other member");
    for name in context.inventory.etcd.members.keys().filter(|name| *name != but) {
        let answer = async {
            let client = context.etcd(name).await?;
            let members = client.member_list(true).await?.members;
            Ok::<_, StepError>((client, members))
        };
        match answer.await {
            Ok(answer) => return Ok(answer),
            Err(error) => why = error.to_string(),
        }
    }
    Err(StepError::Passing(format!("no member with a quorum answers: {why}")))
}

/// Whether an id is no longer in the cluster.
pub(super) async fn is_removed(context: &Context<'_>, member: &str, id: &str) -> Result<State, StepError> {
    let (_, members) = quorum(context, member).await?;
    match members.iter().any(|entry| format!("{:x}", entry.id) == id) {
        true => Ok(State::NotYet(format!("{id} is still a member"))),
        false => Ok(State::Done),
    }
}

/// Takes an id out of the cluster, unless those that answer would be no quorum of what is left.
pub(super) async fn remove(context: &Context<'_>, member: &str, id: &str) -> Result<(), StepError> {
    let (client, members) = quorum(context, member).await?;
    let left: Vec<&Member> =
        members.iter().filter(|m| format!("{:x}", m.id) != id && !m.is_learner).collect();
    let mut healthy = 0;
    for name in left.iter().map(|member| member.name.as_str()) {
        let Ok(client) = context.etcd(name).await else { continue };
        healthy += usize::from(client.status().await.is_ok_and(|status| status.leader != 0));
    }
    let needed = left.len() / 2 + 1;
    if healthy < needed {
        return Err(StepError::Fatal(format!(
            "only {healthy} of the {} members that would be left answer, and {needed} must: not removing {id}",
            left.len()
        )));
    }
    let id = u64::from_str_radix(id, 16).map_err(|_| StepError::Fatal(format!("{id} is no member id")))?;
    client.member_remove(id).await?;
    Ok(())
}

fn entry<'a>(members: &'a [Member], peer_url: &str) -> Option<&'a Member> {
    members.iter().find(|member| member.peer_urls.iter().any(|url| url == peer_url))
}

/// Whether a member is in the list and has started.
pub(super) async fn is_added(context: &Context<'_>, member: &str) -> Result<State, StepError> {
    let spec = context.member(member)?;
    let (_, members) = quorum(context, member).await?;
    match entry(&members, &spec.peer_url) {
        None => Ok(State::NotYet(format!("{member} is not added yet"))),
        Some(entry) if entry.name.is_empty() => Ok(State::NotYet(format!("{member} has not started yet"))),
        Some(_) => service::all(context, &[service_of(context, member)?], service::running).await,
    }
}

/// Adds a member as a learner, if it is not in the list, and lets it start with the cluster as it is.
pub(super) async fn add(context: &Context<'_>, member: &str) -> Result<(), StepError> {
    let spec = context.member(member)?;
    let (client, mut members) = quorum(context, member).await?;
    if entry(&members, &spec.peer_url).is_none() {
        members = client.member_add(vec![spec.peer_url.clone()], true).await?.members;
    }
    let of = |entry: &Member| {
        let name = if entry.peer_urls.contains(&spec.peer_url) { member } else { entry.name.as_str() };
        let urls = entry.peer_urls.iter().map(|url| format!("{name}={url}"));
        urls.collect::<Vec<_>>()
    };
    let cluster = members.iter().flat_map(of).collect::<Vec<_>>().join(",");
    let (script, third) = match &spec.service {
        Service::Unit(_) => (JOIN_UNIT, String::new()),
        Service::StaticPod(pod) => {
            let name = pod.manifest.file_name().unwrap_or_default().to_string_lossy();
            (JOIN_POD, format!("{FENCED_MANIFESTS}/{name}"))
        }
    };
    let aside = crate::planner::aside(&spec.data_dir, &context.plan.id).display().to_string();
    let empty = [spec.data_dir.display().to_string(), aside, spec.owner.clone().unwrap_or_default()];
    context.change(&spec.host, Command::script(EMPTY_DATA_DIR, empty)).await?;
    let arguments = [spec.service.key(), cluster, third];
    context.change(&spec.host, Command::script(script, arguments)).await?;
    service::one(context, &service_of(context, member)?, Change::Release).await
}

fn service_of(context: &Context<'_>, member: &str) -> Result<HostService, StepError> {
    let spec = context.member(member)?;
    Ok(HostService { host: spec.host.clone(), service: spec.service.clone() })
}

/// Whether a member votes.
pub(super) async fn is_promoted(context: &Context<'_>, member: &str) -> Result<State, StepError> {
    let spec = context.member(member)?;
    let (_, members) = quorum(context, member).await?;
    match entry(&members, &spec.peer_url) {
        Some(entry) if !entry.is_learner => Ok(State::Done),
        Some(_) => Ok(State::NotYet(format!("{member} is a learner"))),
        None => Err(StepError::Fatal(format!("{member} is not in the cluster"))),
    }
}

/// Promotes a learner. etcd refuses until it has caught up, which is no failure.
pub(super) async fn promote(context: &Context<'_>, member: &str) -> Result<(), StepError> {
    let spec = context.member(member)?;
    let (client, members) = quorum(context, member).await?;
    let Some(entry) = entry(&members, &spec.peer_url) else {
        return Err(StepError::Fatal(format!("{member} is not in the cluster")));
    };
    if let Service::Unit(unit) = &spec.service {
        context.change(&spec.host, Command::script(JOINED_UNIT, [unit.as_str()])).await?;
    }
    client.with_command_timeout(Duration::from_secs(10)).member_promote(entry.id).await?;
    Ok(())
}
