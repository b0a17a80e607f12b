//! etcd over its quota: compact, defragment, take the alarm off.

use lifeboat_client::Client;
use lifeboat_client::messages::AlarmMember;

use super::State;
use super::context::Context;
use super::error::StepError;

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
    Ok(alarms.into_iter().filter(|alarm| alarm.alarm == NOSPACE).collect())
}

/// The first of these members that answers.
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

/// `AlarmType` of etcd's `rpc.proto`.
const NOSPACE: i32 = 1;
