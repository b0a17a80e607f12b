//! The leader leases of fenced controller-managers and schedulers.
//!
//! A restored state names a leader, and its successors wait out the lease, 15 s by default, counted from when they
//! first see it. While every candidate is fenced there is no leader, and the lease can be released for it, as a
//! leader does on a clean exit (`client-go/tools/leaderelection/leaderelection.go`, `release`).

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Api;
use kube::api::PostParams;

use crate::plan::HostService;
use crate::probe::kubernetes::{CONTROLLER_MANAGER, SCHEDULER, ready};

use super::context::Context;
use super::error::StepError;
use super::{State, service};

/// Whether all leader leases are released.
pub(super) async fn are_released(context: &Context<'_>) -> Result<State, StepError> {
    let held = held(context).await?.1;
    Ok(held.first().map_or(State::Done, |lease| {
        let name = lease.metadata.name.as_deref().unwrap_or_default();
        State::NotYet(format!("the lease of {name} is held"))
    }))
}

/// Releases the leases, once none of the possible holders runs.
pub(super) async fn release(context: &Context<'_>, candidates: &[HostService]) -> Result<(), StepError> {
    if let State::NotYet(why) = service::are_fenced(context, candidates).await? {
        return Err(StepError::Fatal(format!("{why}: a process that may lead must not lose its lease")));
    }
    let (api, held) = held(context).await?;
    for mut lease in held {
        let name = lease.metadata.name.clone().unwrap_or_default();
        lease.spec = lease.spec.map(given_up);
        // Carries the resource version that was read: a lease that changes meanwhile is not overwritten.
        api.replace(&name, &PostParams::default(), &lease).await.map_err(|error| passing(&error))?;
    }
    Ok(())
}

fn given_up(spec: LeaseSpec) -> LeaseSpec {
    let now = Some(MicroTime(Timestamp::now()));
    LeaseSpec {
        holder_identity: Some(String::new()),
        lease_duration_seconds: Some(1),
        renew_time: now.clone(),
        acquire_time: now,
        ..spec
    }
}

/// The leases that have a holder. A missing one has none.
async fn held(context: &Context<'_>) -> Result<(Api<Lease>, Vec<Lease>), StepError> {
    let server = ready(context.inventory, context.access).await;
    let server = server.ok_or_else(|| StepError::Passing("no API server is ready".into()))?;
    let client = context.access.api(server).await.map_err(|error| StepError::Fatal(error.to_string()))?;
    let api: Api<Lease> = Api::namespaced(client, "kube-system");
    let mut held = Vec::new();
    for name in [CONTROLLER_MANAGER, SCHEDULER] {
        held.extend(api.get_opt(name).await.map_err(|error| passing(&error))?.filter(is_held));
    }
    Ok((api, held))
}

fn is_held(lease: &Lease) -> bool {
    let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_ref());
    holder.is_some_and(|holder| !holder.is_empty())
}

fn passing(error: &kube::Error) -> StepError {
    StepError::Passing(crate::error_text::of(error))
}
