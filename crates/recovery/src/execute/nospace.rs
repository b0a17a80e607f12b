//! etcd over its quota: compact, defragment, take the alarm off.

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

/// The order etcd's maintenance guide gives. The alarm comes off last, and only where room was made: etcd would
/// raise it again with the next write.
pub(super) async fn clear(context: &Context<'_>, members: &[String]) -> Result<(), StepError> {
    let first = members.first().ok_or_else(|| StepError::Fatal("no member named".into()))?;
    let client = context.etcd(first).await?.with_command_timeout(DEFRAGMENT);
    let revision = client.status().await?.header.revision;
    match client.compact(revision, true).await {
        Err(error) if !error.to_string().contains("has been compacted") => return Err(error.into()),
        _ => {}
    }
    for name in context.inventory.etcd.members.keys() {
        context.etcd(name).await?.with_command_timeout(DEFRAGMENT).defragment().await?;
    }
    for alarm in raised(context, members).await? {
        client.disarm(alarm).await?;
    }
    Ok(())
}

async fn raised(context: &Context<'_>, members: &[String]) -> Result<Vec<AlarmMember>, StepError> {
    let first = members.first().ok_or_else(|| StepError::Fatal("no member named".into()))?;
    let alarms = context.etcd(first).await?.alarms().await?.alarms;
    Ok(alarms.into_iter().filter(|alarm| alarm.alarm == NOSPACE).collect())
}

/// `AlarmType` of etcd's `rpc.proto`.
const NOSPACE: i32 = 1;
