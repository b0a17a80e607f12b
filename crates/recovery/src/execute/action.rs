//! One action, asked and done. What is asked here is what must be true afterwards, no matter what made it so.

use crate::plan::{Action, Step};

use super::context::Context;
use super::error::StepError;
use super::service::Change;
use super::{
    State, alarm, cloud, data_dir, distribute, enable, guard, leader_lease, learner, leftovers, node, reboot,
    service, wait,
};

/// Whether a step's result is there.
pub(super) async fn state(context: &Context<'_>, step: &Step) -> Result<State, StepError> {
    match &step.action {
        Action::Preflight => Ok(guard::preflight_state(context, step.number)),
        Action::CreateIpRange { range } => cloud::has_range(context, range).await,
        Action::AttachNic { vm, nic, .. } => cloud::has_nic(context, vm, nic).await,
        Action::StartVm { vm, .. } => cloud::is_running(context, vm).await,
        Action::WaitForHosts { hosts } => wait::hosts(context, step.number, hosts).await,
        Action::Stabilize { seconds } => wait::stabilized(context, step.number, *seconds).await,
        Action::Fence { services } => service::are_fenced(context, services).await,
        Action::Release { services } | Action::Start { services } => {
            service::all(context, services, service::running).await
        }
        Action::Restart { services } => service::restarted(context, step.number, services).await,
        Action::Enable { services } => enable::are_enabled(context, services).await,
        Action::Distribute { source, hosts, .. } => distribute::is_distributed(context, source, hosts).await,
        Action::ConfirmState { source, .. } => distribute::is_current(context, source).await,
        Action::MoveAside { member, dirs, .. } => data_dir::is_aside(context, member, dirs).await,
        Action::RestoreMember { member, dirs, cluster } => {
            data_dir::is_restored(context, step.number, member, cluster, dirs).await
        }
        Action::WaitForEtcd { members, restored } => wait::etcd(context, members, restored.as_ref()).await,
        Action::RemoveMember { member, id } => learner::is_removed(context, member, id).await,
        Action::AddLearner { member, .. } => learner::is_added(context, member).await,
        Action::PromoteLearner { member } => learner::is_promoted(context, member).await,
        Action::ClearNospace { members } => alarm::is_clear(context, members).await,
        Action::DisarmCorrupt { id } => alarm::is_disarmed(context, id).await,
        Action::WaitForApiservers { hosts } => wait::apiservers(context, hosts).await,
        Action::ReleaseLeases { .. } => leader_lease::are_released(context).await,
        Action::WaitForLeaders => wait::leaders(context, step.number).await,
        Action::RecoverNodes { hosts } => node::are_ready(context, step.number, hosts).await,
        Action::RebootNode { host } => reboot::is_settled(context, step.number, host).await,
        Action::WaitForChecks { checks } => wait::checks(context, checks).await,
        Action::CleanUp { hosts } => leftovers::is_clean(context, hosts).await,
    }
}

/// Does a step; idempotent.
pub(super) async fn act(context: &Context<'_>, step: &Step) -> Result<(), StepError> {
    let number = step.number;
    match &step.action {
        Action::Preflight => guard::preflight(context, number).await,
        Action::CreateIpRange { range } => cloud::create_range(context, number, range).await,
        Action::AttachNic { vm, nic, .. } => cloud::attach(context, number, vm, nic).await,
        Action::StartVm { vm, .. } => cloud::start(context, number, vm).await,
        Action::Fence { services } => service::fence(context, number, services).await,
        Action::Release { services } => service::each(context, services, Change::Release).await,
        Action::Start { services } => service::each(context, services, Change::Start).await,
        Action::Restart { services } => service::restart(context, number, services).await,
        Action::Enable { services } => enable::enable(context, services).await,
        Action::Distribute { source, revision, hosts } => {
            distribute::distribute(context, number, source, *revision, hosts).await
        }
        Action::ConfirmState { source, revision, hosts } => {
            distribute::refresh(context, number, source, *revision, hosts).await
        }
        Action::MoveAside { member, dirs, .. } => data_dir::move_aside(context, member, dirs).await,
        Action::RestoreMember { member, dirs, cluster } => {
            data_dir::restore(context, number, member, cluster, dirs).await
        }
        Action::RemoveMember { member, id } => learner::remove(context, member, id).await,
        Action::AddLearner { member, dirs } => learner::add(context, member, dirs).await,
        Action::PromoteLearner { member } => learner::promote(context, member).await,
        Action::ClearNospace { members } => alarm::clear(context, members).await,
        Action::DisarmCorrupt { id } => alarm::disarm_corrupt(context, id).await,
        Action::ReleaseLeases { candidates } => leader_lease::release(context, candidates).await,
        Action::RecoverNodes { hosts } => node::recover(context, number, hosts).await,
        Action::RebootNode { host } => reboot::reboot(context, number, host).await,
        Action::CleanUp { hosts } => leftovers::clean(context, hosts).await,
        Action::WaitForHosts { .. }
        | Action::Stabilize { .. }
        | Action::WaitForEtcd { .. }
        | Action::WaitForApiservers { .. }
        | Action::WaitForLeaders
        | Action::WaitForChecks { .. } => Ok(()),
    }
}

/// What is no longer needed once a step's result is there.
pub(super) async fn tidy_up(context: &Context<'_>, step: &Step) {
    if let Action::RestoreMember { member, .. } = &step.action {
        // The end of the plan, or the next operation, tries again.
        let _ = distribute::drop_copy(context, step.number, member).await;
    }
}
