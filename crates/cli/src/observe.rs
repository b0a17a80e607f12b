//! Facts: collected now, or read from a file that was saved earlier.

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

/// Flags that select where facts come from.
#[derive(Debug, clap::Args)]
pub struct FactsArgs {
    #[command(flatten)]
    inventory: InventoryArgs,

    /// Read the facts from a file written by `lifeboat diagnose --save-facts` instead of collecting them. The file
    /// contains its inventory.
    #[arg(long, value_name = "FILE")]
    facts: Option<PathBuf>,
}

impl FactsArgs {
    /// Collects the facts, or reads them from the file.
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
            Usage(format!("no such facts file: {}; {next}", path.display())).into()
        }
        _ => anyhow::Error::from(error),
    })?;
    let invalid = |why: String| Usage(format!("{}: {why}", path.display()));
    let json: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|error| invalid(format!("not a facts file: {error}")))?;
    let version = json.get("schemaVersion").and_then(serde_json::Value::as_u64);
    match version {
        Some(version) if version == u64::from(SCHEMA_VERSION) => {}
        Some(version) => {
            return Err(invalid(format!(
                "facts have version {version}; this lifeboat reads version {SCHEMA_VERSION}"
            ))
            .into());
        }
        None => return Err(invalid("not a facts file: no schemaVersion".into()).into()),
    }
    serde_json::from_value(json).map_err(|error| invalid(format!("not a facts file: {error}")).into())
}
