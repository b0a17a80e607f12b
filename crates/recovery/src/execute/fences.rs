//! What a step relies on being fenced is looked at again right before it: configuration management may have put a
//! manifest or a unit back since, and started it on the data that is about to be replaced.

use crate::plan::{Action, HostService, Plan, Step};

use super::context::Context;
use super::error::StepError;
use super::{State, service};

/// The services that are fenced when a step begins.
fn held(plan: &Plan, step: &Step, member: impl Fn(&str) -> Option<HostService>) -> Vec<HostService> {
    let mut held: Vec<HostService> = Vec::new();
    for earlier in plan.steps.iter().filter(|earlier| earlier.number < step.number) {
        match &earlier.action {
            Action::Fence { services } => held.extend(services.iter().cloned()),
            Action::Release { services } => held.retain(|service| !services.contains(service)),
            Action::AddLearner { member: name, .. } => {
                let released = member(name);
                held.retain(|service| Some(service) != released.as_ref());
            }
            _ => {}
        }
    }
    held
}

/// Fails where a fence that a step relies on does not hold. `begun` says that an earlier run began the step: what it
/// releases itself may be released already.
pub(super) async fn ensure(context: &Context<'_>, step: &Step, begun: bool) -> Result<(), StepError> {
    let own: &[HostService] = match &step.action {
        Action::Release { services } if begun => services,
        Action::AddLearner { .. } if begun => return Ok(()),
        Action::Release { .. }
        | Action::MoveAside { .. }
        | Action::RestoreMember { .. }
        | Action::RemoveMember { .. }
        | Action::AddLearner { .. } => &[],
        _ => return Ok(()),
    };
    let member = |name: &str| {
        let spec = context.inventory.etcd.members.get(name)?;
        Some(HostService { host: spec.host.clone(), service: spec.service.clone() })
    };
    let mut services = held(context.plan, step, member);
    services.retain(|service| !own.contains(service));
    match service::are_fenced(context, &services).await? {
        State::Done => Ok(()),
        State::NotYet(why) => Err(StepError::Fatal(format!(
            "{why}. Something undoes the fence, such as configuration management (Puppet, Ansible, Chef, \
             kubespray): stop it on that machine and check the unit file"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::Service;

    fn service(host: &str, unit: &str) -> HostService {
        HostService { host: host.into(), service: Service::Unit(unit.into()) }
    }

    #[test]
    fn a_service_is_held_from_its_fence_to_its_own_release() {
        let (api, scheduler, etcd) =
            (service("m1", "api"), service("m1", "scheduler"), service("m1", "etcd"));
        let actions = [
            Action::Fence { services: vec![api.clone(), scheduler.clone()] },
            Action::Fence { services: vec![etcd.clone()] },
            Action::MoveAside {
                member: "a".into(),
                dirs: crate::facts::DataDirs { data: "/x".into(), wal: None },
                to: "/y".into(),
            },
            Action::Release { services: vec![etcd.clone()] },
            Action::Release { services: vec![api.clone()] },
            Action::Release { services: vec![scheduler.clone()] },
            Action::Stabilize { seconds: 1 },
        ];
        let steps = (1..).zip(actions).map(|(number, action)| Step {
            number,
            title: String::new(),
            action,
            changes: Vec::new(),
            irreversible: false,
            timeout_seconds: 1,
            needs: crate::plan::Needs::default(),
            holds_until: None,
            guards: Vec::new(),
        });
        let plan = Plan { steps: steps.collect(), ..crate::recover::tests::restore() };
        let held = |step: usize| held(&plan, &plan.steps[step - 1], |_| None);
        assert_eq!(held(1), []);
        assert_eq!(held(3), [api.clone(), scheduler.clone(), etcd.clone()]);
        assert_eq!(held(4), [api.clone(), scheduler.clone(), etcd]);
        assert_eq!(held(5), [api, scheduler.clone()]);
        assert_eq!(held(6), [scheduler]);
        assert_eq!(held(7), []);
    }
}
