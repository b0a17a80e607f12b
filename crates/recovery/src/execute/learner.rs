//! Replacing one member while the others have a quorum.

use std::time::Duration;

use lifeboat_client::Client;
use lifeboat_client::messages::Member;

use crate::facts::DataDirs;
use crate::host::Command;
use crate::plan::HostService;

use super::context::Context;
use super::error::StepError;
use super::service::Change;
use super::{State, data_dir, join, service};

/// Units and static pods name the data dir as a place that is there.
const EMPTY_DATA_DIR: &str = r#"if ! [ -e "$1" ]; then mkdir -m 0700 "$1"; fi"#;

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

/// Removes an id from the cluster. The step's guard has shown that the others are a quorum.
pub(super) async fn remove(context: &Context<'_>, member: &str, id: &str) -> Result<(), StepError> {
    let (client, members) = quorum(context, member).await?;
    let spec = context.member(member)?;
    if let Some(victim) = members.iter().find(|entry| format!("{:x}", entry.id) == id)
        && !victim.peer_urls.contains(&spec.peer_url)
    {
        return Err(StepError::Fatal(format!(
            "{id} is the id of {:?}, not of {member}: not removing it",
            victim.name
        )));
    }
    let id = u64::from_str_radix(id, 16).map_err(|_| StepError::Fatal(format!("{id} is not a member id")))?;
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
pub(super) async fn add(context: &Context<'_>, member: &str, dirs: &DataDirs) -> Result<(), StepError> {
    let spec = context.member(member)?;
    let (client, mut members) = quorum(context, member).await?;
    if entry(&members, &spec.peer_url).is_none() {
        members = client.member_add(vec![spec.peer_url.clone()], true).await?.members;
    }
    let cluster = join::cluster(member, spec, &members)?;
    let empty = [dirs.data.display().to_string()];
    context.change(&spec.host, Command::script(EMPTY_DATA_DIR, empty)).await?;
    data_dir::own(context, spec, dirs).await?;
    join::prepare(context, spec, &cluster).await?;
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
    join::undo(context, spec).await?;
    client.with_command_timeout(Duration::from_secs(10)).member_promote(entry.id).await?;
    Ok(())
}
