//! Actions of the cloud.

use std::time::Duration;

use crate::inventory::{IpRangeSpec, NicSpec};
use crate::provider::{CloudProvider, Job, JobId};

use super::State;
use super::context::Context;
use super::error::StepError;

/// How long one job may take; the step's own limit ends it earlier or tries again.
const JOB: Duration = Duration::from_secs(60);

fn provider<'a>(context: &'a Context<'_>) -> Result<&'a dyn CloudProvider, StepError> {
    context.access.cloud.as_deref().map_err(|why| StepError::Fatal(why.clone()))
}

/// The same step of the same plan is the same job, however often it is asked for.
fn job(context: &Context<'_>, step: u32) -> Job {
    Job { id: JobId::derive(&[&context.plan.id, &step.to_string()]), deadline: JOB }
}

/// Whether the cloud has a range that covers this one.
pub(super) async fn has_range(context: &Context<'_>, range: &IpRangeSpec) -> Result<State, StepError> {
    match provider(context)?.ip_ranges().await?.iter().any(|known| known.covers(range)) {
        true => Ok(State::Done),
        false => Ok(State::NotYet(format!("the cloud has no range {}-{}", range.start_ip, range.end_ip))),
    }
}

/// Makes a range.
pub(super) async fn create_range(
    context: &Context<'_>,
    step: u32,
    range: &IpRangeSpec,
) -> Result<(), StepError> {
    Ok(provider(context)?.ensure_ip_range(range, &job(context, step)).await?)
}

/// Whether a VM has a NIC with this address and MAC.
pub(super) async fn has_nic(context: &Context<'_>, vm: &str, nic: &NicSpec) -> Result<State, StepError> {
    let nics = provider(context)?.nics().await?;
    let same = nics
        .iter()
        .any(|known| known.vm == vm && known.ip == nic.ip && known.mac.eq_ignore_ascii_case(&nic.mac));
    match same {
        true => Ok(State::Done),
        false => Ok(State::NotYet(format!("the VM has no NIC {} {}", nic.ip, nic.mac))),
    }
}

/// Attaches a NIC.
pub(super) async fn attach(
    context: &Context<'_>,
    step: u32,
    vm: &str,
    nic: &NicSpec,
) -> Result<(), StepError> {
    Ok(provider(context)?.attach_nic(vm, nic, &job(context, step)).await?)
}

/// Whether the cloud says that a VM runs.
pub(super) async fn is_running(context: &Context<'_>, vm: &str) -> Result<State, StepError> {
    let vms = provider(context)?.vms().await?;
    match vms.iter().find(|known| known.uuid == vm) {
        Some(known) if known.state == "Running" => Ok(State::Done),
        Some(known) => Ok(State::NotYet(format!("the cloud says it is {}", known.state))),
        None => Err(StepError::Fatal(format!("the cloud has no VM {vm}"))),
    }
}

/// Powers on a VM.
pub(super) async fn start(context: &Context<'_>, step: u32, vm: &str) -> Result<(), StepError> {
    Ok(provider(context)?.start_vm(vm, &job(context, step)).await?)
}
