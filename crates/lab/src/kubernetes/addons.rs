//! The workloads: CoreDNS, and a small web server behind a Service.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use fs_err as fs;

use super::ready::retry;
use crate::machines::Lab;
use crate::process;

const COREDNS: &str = include_str!("../../../../lab/guest/coredns.yaml");
const WEB: &str = include_str!("../../../../lab/guest/web.yaml");

/// Applies both.
pub(crate) fn apply(lab: &Lab, state: &Path) -> Result<()> {
    let mut arguments = vec!["apply".to_owned()];
    for (name, text) in [("coredns.yaml", COREDNS), ("web.yaml", WEB)] {
        let path = state.join(name);
        fs::write(&path, text)?;
        arguments.push(format!("--filename={}", path.display()));
    }
    // Refused until the controllers have created the namespaces and their service accounts.
    retry("apply CoreDNS and the workload", Duration::from_secs(60), || {
        process::run_ok(lab.kubectl().args(&arguments), Duration::from_secs(30)).map(drop)
    })
}
