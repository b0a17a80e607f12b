//! Facts: collected now, or read from a file that was saved earlier.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use lifeboat_recovery::facts::Facts;
use lifeboat_recovery::operation::{Operations, write_json};
use lifeboat_recovery::probe::{ProbeOptions, Progress, observe};

use crate::exit::Refused;
use crate::inventory::InventoryArgs;
use crate::progress::ProgressBar;

/// Flags that select where facts come from.
#[derive(Debug, clap::Args)]
pub struct FactsArgs {
    #[command(flatten)]
    inventory: InventoryArgs,

    #[command(flatten)]
    file: FactsFile,
}

impl FactsArgs {
    /// Collects the facts, or reads them from the file.
    pub fn facts(&self, options: &ProbeOptions<'_>, progress: &ProgressBar) -> Result<Facts> {
        match self.file.load()? {
            Some(facts) => Ok(facts),
            None => self.observe(options, progress),
        }
    }

    fn observe(&self, options: &ProbeOptions<'_>, progress: &ProgressBar) -> Result<Facts> {
        let (path, inventory) = self.inventory.load()?;
        let pending_operation = Operations::pending(&path)?;
        let access = InventoryArgs::access(&inventory);
        let watch = |now: Progress<'_>| progress.item(now.what, now.done, now.total);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start runtime")?;
        let facts = runtime.block_on(observe(&inventory, &access, &options.watched(&watch)));
        progress.finish();
        Ok(Facts { pending_operation, ..facts })
    }
}

/// The flag that reads facts instead of collecting them.
#[derive(Debug, clap::Args)]
pub struct FactsFile {
    /// Read the facts from a file written with --save-facts instead of collecting them. The file contains its
    /// inventory.
    #[arg(long, value_name = "FILE")]
    facts: Option<PathBuf>,
}

impl FactsFile {
    /// The file, if one is named.
    pub fn path(&self) -> Option<&PathBuf> {
        self.facts.as_ref()
    }

    /// The facts in the file, if one is named.
    pub fn load(&self) -> Result<Option<Facts>> {
        Ok(self.facts.as_deref().map(Facts::load).transpose()?)
    }
}

/// The flag that saves facts.
#[derive(Debug, clap::Args)]
pub struct SaveFacts {
    /// Save the collected facts to a file for --facts. It contains names, addresses and log lines; values that look like
    /// secrets are replaced.
    #[arg(long, value_name = "FILE")]
    save_facts: Option<PathBuf>,
}

impl SaveFacts {
    /// The file, if one is named.
    pub fn path(&self) -> Option<&PathBuf> {
        self.save_facts.as_ref()
    }

    /// Refuses a file that exists: an earlier facts file may be the only record of an incident.
    pub fn ensure_new(&self) -> Result<()> {
        match &self.save_facts {
            Some(path) if fs_err::symlink_metadata(path).is_ok() => {
                Err(Refused(format!("{} exists; choose another file name", path.display())).into())
            }
            _ => Ok(()),
        }
    }

    /// Saves the facts if a file is named.
    pub fn save(&self, facts: &Facts) -> Result<()> {
        let Some(path) = &self.save_facts else { return Ok(()) };
        write_json(path, facts).with_context(|| format!("write {}", path.display()))
    }
}
