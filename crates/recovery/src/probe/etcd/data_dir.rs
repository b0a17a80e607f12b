//! The data dir of a member that is stopped, read where it lies.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::facts::{DataDir, Fact};
use crate::host::{Host, HostError};
use crate::inventory::{Inventory, MemberSpec};
use crate::probe::access::Access;
use crate::probe::{Hosts, reason};
use crate::ship::{self, Shipped};

use super::Depth;

/// Longest until a data dir is read, Lifeboat's way to the machine included; one of gigabytes takes a minute.
const LIMIT: Duration = Duration::from_secs(330);
/// A member that systemd starts over and over holds its data dir for moments.
const ATTEMPTS: usize = 6;
const PAUSE: Duration = Duration::from_millis(700);

/// What a member's data dir holds, if the member is silent and does not run.
pub(super) async fn look(
    inventory: &Inventory,
    access: &Access,
    name: &str,
    spec: &MemberSpec,
    silent: bool,
    depth: Option<Depth<'_, '_>>,
) -> Fact<DataDir> {
    let source = format!("ssh {}: {}", spec.host, spec.data_dir.display());
    let read = async {
        if !silent {
            return Err(format!("{name} runs on it"));
        }
        let depth = depth.ok_or("data dirs were not to be read")?;
        stopped(inventory, name, spec, depth.hosts).await?;
        let host = access.hosts.get(&spec.host).ok_or_else(|| format!("there is no way to {}", spec.host))?;
        let _turn = depth.hosts.turn(&spec.host).await?;
        match timeout(LIMIT, inspect(host.as_ref(), spec, depth.keep_program)).await {
            Ok(answer) => answer.map_err(|error| reason::of(&error)),
            Err(_) => Err(format!("not read within {} s", LIMIT.as_secs())),
        }
    };
    match read.await {
        Ok(dir) => Fact::value(source, dir),
        Err(why) => Fact::unknown(source, why),
    }
}

/// Whether a member's service is known not to run; else why its data dir is left alone.
async fn stopped(
    inventory: &Inventory,
    name: &str,
    spec: &MemberSpec,
    hosts: &Hosts<'_>,
) -> Result<(), String> {
    let facts = hosts.trusted(inventory, &spec.host).await?;
    let label = spec.service.label();
    let state = facts.services.get().and_then(|services| services.get(&spec.service.key()));
    match state {
        None => Err(format!("it is not known whether {label} runs on {}", spec.host)),
        Some(state) if state.is_running() => {
            Err(format!("{name} does not answer, but {label} is {}", state.active))
        }
        Some(_) => Ok(()),
    }
}

/// Reads it there. Lifeboat's program goes again if it came for this; else somebody may be working with it.
async fn inspect(host: &dyn Host, spec: &MemberSpec, keep_program: bool) -> Result<DataDir, HostError> {
    let shipped = Shipped::send(host).await?;
    let answer = read(host, &shipped, spec).await;
    if !keep_program && !shipped.was_there() {
        // What was read counts, also when the machine goes away at the end.
        let _ = Shipped::forget(host).await;
    }
    answer
}

async fn read(host: &dyn Host, shipped: &Shipped, spec: &MemberSpec) -> Result<DataDir, HostError> {
    for _ in 1..ATTEMPTS {
        match ship::inspect_data_dir(host, shipped, &spec.data_dir).await? {
            DataDir::InUse(_) => sleep(PAUSE).await,
            other => return Ok(other),
        }
    }
    ship::inspect_data_dir(host, shipped, &spec.data_dir).await
}
