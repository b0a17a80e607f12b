//! Units that start at boot.

use crate::host::Command;
use crate::inventory::Service;
use crate::plan::HostService;

use super::State;
use super::context::Context;
use super::error::StepError;

/// Whether all of them start at boot. A static pod does as long as its manifest is in place.
pub(super) async fn are_enabled(context: &Context<'_>, services: &[HostService]) -> Result<State, StepError> {
    for HostService { host, service } in services {
        let Service::Unit(unit) = service else { continue };
        let command = Command::new(["systemctl", "show", "-p", "UnitFileState", "--value", "--", unit]);
        let state = context.ask(host, command).await?;
        if !crate::facts::starts_at_boot(state.trim()) {
            return Ok(State::NotYet(format!("{unit} on {host} is {}", state.trim())));
        }
    }
    Ok(State::Done)
}

/// Enables them; what runs goes on running.
pub(super) async fn enable(context: &Context<'_>, services: &[HostService]) -> Result<(), StepError> {
    for HostService { host, service } in services {
        let Service::Unit(unit) = service else { continue };
        context.change(host, Command::new(["systemctl", "enable", "--", unit])).await?;
    }
    Ok(())
}
