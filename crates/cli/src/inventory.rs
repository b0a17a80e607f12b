//! The inventory on the command line, and the ways to what it names.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use lifeboat_recovery::host;
use lifeboat_recovery::inventory::{Cloud, Inventory, Zstack};
use lifeboat_recovery::probe::Access;
use lifeboat_recovery::provider::{CloudProvider, ZStack, ZStackConfig};

/// Which cluster.
#[derive(Debug, clap::Args)]
pub struct InventoryArgs {
    /// The cluster's inventory, as `lifeboat init` writes it.
    #[arg(
        long,
        global = true,
        env = "LIFEBOAT_INVENTORY",
        default_value = "lifeboat.yaml",
        value_name = "FILE"
    )]
    pub inventory: PathBuf,
}

impl InventoryArgs {
    /// Reads it; the path is absolute.
    pub fn load(&self) -> Result<(PathBuf, Inventory)> {
        let path = std::path::absolute(&self.inventory)?;
        let inventory = Inventory::load(&path).with_context(|| path.display().to_string())?;
        Ok((path, inventory))
    }

    /// The ways to what an inventory names. Nothing is opened yet.
    pub fn access(inventory: &Inventory) -> Result<Access> {
        let cloud = inventory.cloud.as_ref().map(cloud).transpose()?;
        Ok(Access::new(inventory, host::hosts(inventory), cloud))
    }
}

fn cloud(cloud: &Cloud) -> Result<Arc<dyn CloudProvider>> {
    let Cloud::Zstack(spec) = cloud;
    zstack(spec)
}

/// The way to a ZStack.
pub fn zstack(zstack: &Zstack) -> Result<Arc<dyn CloudProvider>> {
    let config = ZStackConfig {
        endpoint: zstack.endpoint.clone(),
        access_key_id: zstack.access_key_id.read().context("the cloud's accessKeyId")?,
        access_key_secret: zstack.access_key_secret.read().context("the cloud's accessKeySecret")?,
    };
    Ok(Arc::new(ZStack::new(config)?))
}
