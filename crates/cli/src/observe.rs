//! Facts on the command line: gathered now, or read from a file that was saved earlier.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use fs_err as fs;
use lifeboat_recovery::facts::{Facts, SCHEMA_VERSION};
use lifeboat_recovery::operation::Operations;
use lifeboat_recovery::probe::{ProbeOptions, Progress, observe};

use crate::commands::Context;
use crate::exit::Usage;
use crate::inventory::InventoryArgs;

/// Where the facts come from.
#[derive(Debug, clap::Args)]
pub struct FactsArgs {
    #[command(flatten)]
    inventory: InventoryArgs,

    /// Ask nobody: take the facts from a file that `lifeboat diagnose --save-facts` wrote. It carries its own
    /// inventory.
    #[arg(long, value_name = "FILE")]
    facts: Option<PathBuf>,
}

impl FactsArgs {
    /// Gathers the facts, or reads them.
    pub fn facts(&self, options: &ProbeOptions<'_>, context: &Context) -> Result<Facts> {
        match &self.facts {
            Some(path) => read(path),
            None => self.observe(options, context),
        }
    }

    fn observe(&self, options: &ProbeOptions<'_>, context: &Context) -> Result<Facts> {
        let (path, inventory) = self.inventory.load()?;
        let pending_operation = Operations::pending(&path)?;
        let access = InventoryArgs::access(&inventory);
        let watch = |progress: Progress<'_>| {
            context.progress.item(progress.what, progress.done, progress.total);
        };
        let runtime =
            tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start runtime")?;
        let facts = runtime.block_on(observe(&inventory, &access, &options.watched(&watch)));
        context.progress.finish();
        Ok(Facts { pending_operation, ..facts })
    }
}

fn read(path: &Path) -> Result<Facts> {
    let bytes = fs::read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            let next = "`lifeboat diagnose --save-facts FILE` writes one";
            Usage(format!("no such file of facts: {}; {next}", path.display())).into()
        }
        _ => anyhow::Error::from(error),
    })?;
    let unfit = |why: String| Usage(format!("{}: {why}", path.display()));
    let json: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|error| unfit(format!("not a file of facts: {error}")))?;
    let version = json.get("schemaVersion").and_then(serde_json::Value::as_u64);
    match version {
        Some(version) if version == u64::from(SCHEMA_VERSION) => {}
        Some(version) => {
            return Err(
                unfit(format!("facts of version {version}; this lifeboat reads {SCHEMA_VERSION}")).into()
            );
        }
        None => return Err(unfit("not a file of facts: no schemaVersion".into()).into()),
    }
    serde_json::from_value(json).map_err(|error| unfit(format!("not a file of facts: {error}")).into())
}
