//! `lifeboat recover plan`: plans one round, from the cluster as it is or from recorded facts.

use std::path::PathBuf;

use anyhow::Result;
use lifeboat_recovery::facts::Facts;
use lifeboat_recovery::finding::Diagnosis;
use lifeboat_recovery::operation::write_json;
use lifeboat_recovery::plan::Plan;
use lifeboat_recovery::recover::{RecoverError, Recovery, replay};

use crate::commands::Context;
use crate::exit::{Status, Usage};
use crate::observe::{FactsFile, SaveFacts};
use crate::output;

use super::{Flags, Reboot, StateSourceArg, ensure_members_exist, render};

/// Show the plan and change nothing.
///
/// With --facts, everything comes from the file: no machine, member, cloud or snapshot is accessed. `recover apply`
/// plans again from the current state in any case, so a plan from recorded facts is applied only if it still fits.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  Plan now, and keep the facts and snapshots that the plan is based on:
    lifeboat recover plan --save-facts facts.json

  Plan again without the cluster, for example with another state:
    lifeboat recover plan --facts facts.json --source member:m1")]
pub struct Args {
    /// Write the plan to a file, for `recover apply`.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    #[command(flatten)]
    facts: FactsFile,

    #[command(flatten)]
    save_facts: SaveFacts,

    #[command(flatten)]
    pub(super) source: StateSourceArg,

    #[command(flatten)]
    pub(super) reboot: Reboot,
}

impl Args {
    /// Plans from recorded facts, if a file of them is named.
    pub fn replay(&self, flags: &Flags, context: &Context) -> Result<Option<Status>> {
        self.save_facts.ensure_new()?;
        self.ensure_out_differs()?;
        let Some(facts) = self.facts.load()? else { return Ok(None) };
        if let Some(source) = &flags.source {
            ensure_members_exist(source, &facts.inventory)?;
        }
        let planned = replay(&facts, flags.source.clone(), flags.reboots);
        self.finish(&facts, planned, context).map(Some)
    }

    /// The plan must not take the place of the facts.
    fn ensure_out_differs(&self) -> Result<()> {
        let facts = [self.facts.path(), self.save_facts.path()];
        match &self.out {
            Some(out) if facts.contains(&Some(out)) => {
                Err(Usage(format!("{} cannot be both the plan and the facts", out.display())).into())
            }
            _ => Ok(()),
        }
    }

    /// Plans from the cluster as it is.
    pub async fn run(&self, recovery: &Recovery<'_>, context: &Context) -> Result<Status> {
        let mut facts = recovery.facts().await?;
        let planned = recovery.plan(&mut facts).await;
        self.finish(&facts, planned, context)
    }

    /// Shows the plan. Exits with 3 if there are findings, as `diagnose` does.
    fn finish(
        &self,
        facts: &Facts,
        planned: Result<(Diagnosis, Plan), RecoverError>,
        context: &Context,
    ) -> Result<Status> {
        // They are of most use where there is no plan.
        self.save_facts.save(facts)?;
        let (diagnosis, plan) = planned?;
        if let Some(out) = &self.out {
            write_json(out, &plan)?;
        }
        // The plan file has its own schemaVersion, which would clash with that of the output.
        let mut fields = serde_json::to_value(&plan)?;
        fields.as_object_mut().and_then(|fields| fields.remove("schemaVersion"));
        output::print(context.format, &fields, |to| render::plan(to, &diagnosis, &plan))?;
        Ok(if diagnosis.is_healthy() { Status::Ok } else { Status::Findings })
    }
}
