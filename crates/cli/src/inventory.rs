//! The inventory on the command line, and the ways to what it names.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use lifeboat_recovery::host;
use lifeboat_recovery::inventory::{Cloud, Inventory, Loaded, Zstack};
use lifeboat_recovery::probe::Access;
use lifeboat_recovery::provider::{CloudProvider, ZStack, ZStackConfig};

use crate::terminal::stderr_line;

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
        let Loaded { inventory, warnings } = Inventory::load(&path)?;
        for warning in warnings {
            stderr_line(format_args!("warning: {warning}"));
        }
        Ok((path, inventory))
    }

    /// The ways to what an inventory names. Nothing is opened yet. A cloud whose access key is not at hand is unknown:
    /// that must keep nobody from the machines.
    pub fn access(inventory: &Inventory) -> Access {
        let access = Access::new(inventory, host::hosts(inventory));
        let Some(Cloud::Zstack(spec)) = &inventory.cloud else { return access };
        let cloud = zstack(spec).map_err(|error| format!("{error:#}"));
        if let Err(why) = &cloud {
            stderr_line(format_args!("warning: the cloud cannot be asked, and is unknown: {why}"));
        }
        access.with_cloud(cloud)
    }
}

/// The way to a ZStack.
pub fn zstack(zstack: &Zstack) -> Result<Arc<dyn CloudProvider>> {
    if zstack.is_exposed() {
        stderr_line(format_args!(
            "warning: the cloud is asked over http ({}): anyone on the network path can change the requests; use https \
             (cloud.zstack.endpoint, and ca for a CA of your own)",
            zstack.endpoint
        ));
    }
    let config = ZStackConfig {
        endpoint: zstack.endpoint.clone(),
        ca: zstack.ca.clone(),
        access_key_id: zstack.access_key_id.read().context("the cloud's accessKeyId")?,
        access_key_secret: zstack.access_key_secret.read().context("the cloud's accessKeySecret")?,
    };
    Ok(Arc::new(ZStack::new(config)?))
}
