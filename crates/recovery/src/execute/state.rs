//! What was sent to machines, removed from them.

use crate::host::Command;
use crate::ship::Shipped;

use super::State;
use super::context::Context;
use super::error::StepError;

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
        Shipped::forget(context.host(host)?.as_ref()).await?;
    }
    Ok(())
}
