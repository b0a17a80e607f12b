//! `--log-file`: what Lifeboat asked, and how it was answered, a line each.

use std::path::Path;

use anyhow::{Context as _, Result};
use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The crates that log. What libraries log is left out: it may hold what they send.
const CRATES: [&str; 3] = ["lifeboat", "lifeboat_client", "lifeboat_recovery"];

/// Appends to the file from now on; a new one is readable by its owner alone.
pub fn open(path: &Path) -> Result<()> {
    let file = fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(file.into_file());
    let ours = Targets::new().with_targets(CRATES.map(|name| (name, Level::DEBUG)));
    tracing_subscriber::registry().with(ours).with(lines).try_init().context("start the log")?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "lifeboat starts");
    Ok(())
}
