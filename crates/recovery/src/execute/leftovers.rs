//! What Lifeboat itself leaves on machines: the state that was sent there, with every Secret in it, and its program. Both
//! go when they are no longer needed; what an operation could not remove is removed by the next one.

use std::sync::Arc;

use futures::future::join_all;

use crate::agent::Agent;
use crate::host::{Command, Host, Hosts};
use crate::plan::is_id;

use super::State;
use super::context::Context;
use super::error::StepError;

/// Removes the directories of plans, by id, and tells which there were. Nothing else is ever removed.
const SWEEP: &str = r#"
for plan in "$@"; do
    dir=/var/lib/lifeboat/$plan
    if [ -d "$dir" ] && ! [ -L "$dir" ]; then rm -rf -- "$dir" && echo "$dir"; fi
done
"#;

/// Removes what these plans, which have all ended, left on machines; what it was, by machine. A machine that does not
/// answer keeps it for the next time.
pub async fn sweep(hosts: &Hosts, plans: &[String]) -> Vec<String> {
    let plans: Vec<&str> = plans.iter().map(String::as_str).filter(|plan| is_id(plan)).collect();
    if plans.is_empty() {
        return Vec::new();
    }
    let swept = hosts.values().map(|host| {
        let command =
            Command::script(SWEEP, plans.iter().copied()).logged("remove what ended operations left");
        async move {
            let Ok(output) = host.run(&command.exclusive()).await else { return Vec::new() };
            let removed: Vec<String> =
                output.text().lines().map(|dir| format!("{}: {dir}", host.name())).collect();
            if !removed.is_empty() {
                forget_one(host).await;
            }
            removed
        }
    });
    join_all(swept).await.into_iter().flatten().collect()
}

/// Removes Lifeboat's program from machines.
pub async fn forget(hosts: &Hosts) {
    join_all(hosts.values().map(forget_one)).await;
}

async fn forget_one(host: &Arc<dyn Host>) {
    // It is no secret, and harmless where it stays.
    let _ = Agent::forget(host.as_ref()).await;
}

/// Whether nothing that was sent to the machines is left there.
pub(super) async fn is_clean(context: &Context<'_>, hosts: &[String]) -> Result<State, StepError> {
    let remote = context.remote_dir().display().to_string();
    for host in hosts {
        let command = Command::script(r#"if [ -e "$1" ]; then echo left; fi"#, [remote.as_str()]);
        if context.ask(host, command).await?.contains("left") {
            return Ok(State::NotYet(format!("{host} still has {remote}")));
        }
    }
    Ok(State::Done)
}

/// Removes from the machines what was sent there: Lifeboat's own copies, nothing else.
pub(super) async fn clean(context: &Context<'_>, hosts: &[String]) -> Result<(), StepError> {
    for host in hosts {
        let dir = context.remote_dir().display().to_string();
        context.change(host, Command::new(["rm", "-rf", "--", dir.as_str()])).await?;
        Agent::forget(context.host(host)?.as_ref()).await?;
    }
    Ok(())
}
