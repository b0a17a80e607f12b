//! Alarms. With NOSPACE, for a db at its quota: compact, defragment, disarm. With CORRUPT, once its member is replaced:
//! disarm; etcd keeps the alarm of a member that is removed, and refuses writes while it stands.

use lifeboat_client::Client;
use lifeboat_client::messages::{AlarmMember, AlarmType};

use super::context::Context;
use super::error::StepError;
use super::{State, wait};

/// Defragmentation stops a member for as long as its db takes to be copied.
const DEFRAGMENT: std::time::Duration = std::time::Duration::from_secs(300);

/// Whether no member has the alarm any more.
pub(super) async fn is_clear(context: &Context<'_>, members: &[String]) -> Result<State, StepError> {
    let left = raised(context, members).await?.len();
    match left {
        0 => Ok(State::Done),
        left => Ok(State::NotYet(format!("{left} NOSPACE alarms are raised"))),
    }
}

/// The order etcd's maintenance guide gives; the alarms come off last. A member that does not answer is left out: its
/// alarm blocks the others' writes all the same, and it raises it again if it comes back as large as it was.
pub(super) async fn clear(context: &Context<'_>, members: &[String]) -> Result<(), StepError> {
    let client = answering(context, members).await?.with_command_timeout(DEFRAGMENT);
    let revision = client.status().await?.header.revision;
    match client.compact(revision, true).await {
        Err(error) if !error.to_string().contains("has been compacted") => return Err(error.into()),
        _ => {}
    }
    // One after the other, for a member serves nobody meanwhile.
    for name in context.inventory.etcd.members.keys() {
        if let Ok(member) = answering(context, std::slice::from_ref(name)).await {
            member.with_command_timeout(DEFRAGMENT).defragment().await?;
        }
    }
    for alarm in raised(context, members).await? {
        client.disarm(alarm).await?;
    }
    Ok(())
}

async fn raised(context: &Context<'_>, members: &[String]) -> Result<Vec<AlarmMember>, StepError> {
    let alarms = answering(context, members).await?.alarms().await?.alarms;
    Ok(alarms.into_iter().filter(|alarm| alarm.alarm == i32::from(AlarmType::Nospace)).collect())
}

/// A client of the first of these members that answers.
async fn answering(context: &Context<'_>, members: &[String]) -> Result<Client, StepError> {
    let mut why = StepError::Fatal("no member named".into());
    for name in members {
        let client = async {
            let client = context.etcd(name).await?;
            client.status().await?;
            Ok(client)
        };
        match client.await {
            Ok(client) => return Ok(client),
            Err(error) => why = error,
        }
    }
    Err(why)
}

/// Whether no CORRUPT alarm of this id is raised.
pub(super) async fn is_disarmed(context: &Context<'_>, id: &str) -> Result<State, StepError> {
    let (_, alarm) = corrupt(context, id).await?;
    Ok(alarm.map_or(State::Done, |_| State::NotYet(format!("the CORRUPT alarm of {id} is raised"))))
}

/// Disarms the CORRUPT alarm of an id that is no longer in the cluster, once all members are seen to hold the same data.
pub(super) async fn disarm_corrupt(context: &Context<'_>, id: &str) -> Result<(), StepError> {
    let (client, alarm) = corrupt(context, id).await?;
    let Some(alarm) = alarm else { return Ok(()) };
    let members = client.member_list(true).await?.members;
    if members.iter().any(|member| member.id == alarm.member_id) {
        return Err(StepError::Fatal(format!("{id} is still a member: its alarm is not disarmed")));
    }
    let names: Vec<String> = context.inventory.etcd.members.keys().cloned().collect();
    if let State::NotYet(why) = wait::etcd(context, &names, None).await? {
        return Err(StepError::Passing(why));
    }
    client.disarm(alarm).await?;
    Ok(())
}

/// The CORRUPT alarm of an id, if it is raised, and a client of a member that answers.
async fn corrupt(context: &Context<'_>, id: &str) -> Result<(Client, Option<AlarmMember>), StepError> {
    let names: Vec<String> = context.inventory.etcd.members.keys().cloned().collect();
    let client = answering(context, &names).await?;
    let is_it = |alarm: &AlarmMember| {
        alarm.alarm == i32::from(AlarmType::Corrupt) && format!("{:x}", alarm.member_id) == id
    };
    let alarm = client.alarms().await?.alarms.into_iter().find(is_it);
    Ok((client, alarm))
}
