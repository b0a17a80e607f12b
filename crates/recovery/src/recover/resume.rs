//! Resumes an interrupted operation, possibly an old one: the remaining steps are shown and confirmed, and a restore
//! does not continue if etcd was started meanwhile.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::timeout;

use crate::journal::{Entry, Event};
use crate::operation::{Operation, OperationError, Operations};
use crate::plan::{Action, Plan, Step};

use super::rollback::restored_cluster;
use super::{Declined, Desk, RecoverError, Recovery, Report};

/// Longest wait for a member: those that are fenced refuse at once, and those on machines that are gone say nothing.
const ANSWER: Duration = Duration::from_secs(2);

/// A member that sees a leader, and the cluster it is in, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Serving {
    pub member: String,
    pub cluster: String,
}

impl Recovery<'_> {
    /// Resumes the unfinished operation, once the remaining steps are confirmed.
    ///
    /// # Errors
    /// [`RecoverError`].
    pub async fn resume(&self, desk: &mut dyn Desk) -> Result<Report, RecoverError> {
        let operations = Operations::lock(&self.inventory_path)?;
        let mut operation = operations.resume()?;
        if operation.is_rolling_back() {
            return Err(OperationError::RollingBack(operation.id).into());
        }
        operation.plans(self.inventory)?;
        let current = operation.current(self.inventory)?;
        if let Some((plan, recorded)) = &current {
            self.refuse_unlisted(plan)?;
            self.agree(&operation, plan, recorded, desk).await?;
        }
        self.locked(&mut operation, desk, async |this, operation, desk, report| {
            if let Some((plan, recorded)) = &current {
                this.run(operation, plan, recorded, desk, report).await?;
            }
            match operation.has_rounds() {
                true => this.rounds(operation, desk, report).await,
                false => this.close(operation, desk, report).await,
            }
        })
        .await
    }

    async fn agree(
        &self,
        operation: &Operation,
        plan: &Plan,
        recorded: &[Entry],
        desk: &mut dyn Desk,
    ) -> Result<(), RecoverError> {
        if let Some(cluster) = restoring(plan, recorded) {
            refuse_served(&cluster, self.serving().await)?;
        }
        let left: Vec<&Step> = plan.steps.iter().filter(|step| !is_done(recorded, step)).collect();
        desk.resuming(operation, plan, &left);
        match desk.confirm(plan) {
            true => Ok(()),
            false => Err(RecoverError::Declined(Declined::Resumed)),
        }
    }

    /// The members that see a leader.
    pub(super) async fn serving(&self) -> Vec<Serving> {
        let asked = self.inventory.etcd.members.keys().map(|name| async move {
            let status = async { self.access.etcd(name).await.ok()?.status().await.ok() };
            let status = timeout(ANSWER, status).await.ok().flatten()?;
            let cluster = format!("{:x}", status.header.cluster_id);
            (status.leader != 0).then(|| Serving { member: name.clone(), cluster })
        });
        join_all(asked).await.into_iter().flatten().collect()
    }
}

fn is_done(recorded: &[Entry], step: &Step) -> bool {
    recorded.iter().any(|entry| matches!(entry.event, Event::Done { step: done, .. } if done == step.number))
}

/// The id of the cluster that a plan restores, once everything is fenced for it: before, the old one may well serve.
fn restoring(plan: &Plan, recorded: &[Entry]) -> Option<String> {
    let is_restore = |step: &&Step| matches!(step.action, Action::RestoreMember { .. });
    let first = plan.steps.iter().find(is_restore)?.number;
    let is_fence = |step: &&Step| step.number < first && matches!(step.action, Action::Fence { .. });
    let fenced = plan.steps.iter().filter(is_fence).all(|step| is_done(recorded, step));
    restored_cluster(plan).filter(|_| fenced)
}

fn refuse_served(restored: &str, serving: Vec<Serving>) -> Result<(), RecoverError> {
    match serving.into_iter().find(|serving| serving.cluster != restored) {
        Some(Serving { member, cluster }) => Err(RecoverError::Served { member, cluster }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::restore as plan;
    use super::*;

    fn done(step: u32) -> Entry {
        Entry { at: "2026-03-02T08:30:00Z".parse().unwrap(), event: Event::Done { step, already: false } }
    }

    #[test]
    fn a_restore_does_not_go_on_over_an_etcd_that_was_started_since() {
        let serving = |cluster: &str| vec![Serving { member: "a".into(), cluster: cluster.into() }];
        let restored = restoring(&plan(), &[done(1)]).expect("a restore behind its fence");
        assert!(matches!(refuse_served(&restored, serving("abc")), Err(RecoverError::Served { .. })));
        assert!(refuse_served(&restored, serving(&restored)).is_ok(), "what the restore has started itself");
        assert!(refuse_served(&restored, Vec::new()).is_ok());
    }

    #[test]
    fn the_old_etcd_may_serve_until_it_is_fenced() {
        assert_eq!(restoring(&plan(), &[]), None);
    }
}
