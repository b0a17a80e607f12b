//! The inventory flag, and connections to what an inventory lists.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use lifeboat_recovery::host;
use lifeboat_recovery::inventory::{Cloud, Inventory, Loaded, Zstack};
use lifeboat_recovery::probe::Access;
use lifeboat_recovery::provider::{CloudProvider, ZStack, ZStackConfig};

use crate::terminal::stderr_line;

/// The cluster to work on.
#[derive(Debug, clap::Args)]
pub struct InventoryArgs {
    /// Inventory of the cluster, as written by `lifeboat init`.
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
    /// Reads the inventory; the path returned is absolute.
    pub fn load(&self) -> Result<(PathBuf, Inventory)> {
        let path = std::path::absolute(&self.inventory)?;
        let Loaded { inventory, warnings } = Inventory::load(&path)?;
        for warning in warnings {
            stderr_line(format_args!("warning: {warning}"));
        }
        Ok((path, inventory))
    }

    /// Connections to what an inventory lists; nothing is opened yet. A cloud without an access key is unknown, which
    /// must not block work on the machines.
    pub fn access(inventory: &Inventory) -> Access {
        let access = Access::new(inventory, host::hosts(inventory));
        let Some(Cloud::Zstack(spec)) = &inventory.cloud else { return access };
        let cloud = zstack(spec).map_err(|error| format!("{error:#}"));
        if let Err(why) = &cloud {
            stderr_line(format_args!("warning: cannot query the cloud, its state is unknown: {why}"));
        }
        access.with_cloud(cloud)
    }
}

/// A client for a ZStack. Warns if its API is not encrypted.
pub fn zstack(zstack: &Zstack) -> Result<Arc<dyn CloudProvider>> {
    if zstack.is_exposed() {
        stderr_line(format_args!(
            "warning: the cloud API is used over http ({}): anyone on the network path can change the requests; use https \
             (cloud.zstack.endpoint, and ca for a private CA)",
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
