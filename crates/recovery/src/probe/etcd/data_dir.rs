//! The data dir of a member that does not answer, read where it lies.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::agent::{self, Agent, LogPlace, Search};
use crate::error_text;
use crate::facts::{DataDir, Fact, FoundDir, LogState, Storage};
use crate::host::{Host, HostError};
use crate::inventory::{Inventory, MemberSpec};
use crate::probe::Hosts;
use crate::probe::access::Access;

use super::Depth;

/// Longest until a data dir is read, Lifeboat's way to the machine included; one of gigabytes takes a minute.
const LIMIT: Duration = Duration::from_secs(330);
/// A member that systemd starts over and over holds its data dir for moments.
const ATTEMPTS: usize = 6;
const PAUSE: Duration = Duration::from_millis(700);

/// What a member's data dir holds, if the member is silent; while it runs, only what its log says of its cluster.
pub(super) async fn collect(
    inventory: &Inventory,
    access: &Access,
    name: &str,
    spec: &MemberSpec,
    silent: bool,
    depth: Option<Depth<'_, '_>>,
    storage: Option<&Fact<Storage>>,
) -> Fact<DataDir> {
    let source = format!("ssh {}: {}", spec.host, spec.data_dir.display());
    let read = async {
        if !silent {
            return Err(format!("{name} runs on it"));
        }
        let depth = depth.ok_or("reading data dirs was not requested")?;
        // What lies where the inventory says is not the member's data if its service keeps it elsewhere.
        let known = storage.and_then(Fact::get);
        if let Some(conflict) = known.and_then(|storage| storage.conflict(name, spec)) {
            return Err(conflict);
        }
        if let Some(why) = known.and_then(|storage| storage.out_of_reach(name)) {
            return Err(why);
        }
        let active = running(inventory, spec, depth.hosts).await?;
        let host = access.hosts.get(&spec.host).ok_or_else(|| format!("no access to {}", spec.host))?;
        let _turn = depth.hosts.turn(&spec.host).await?;
        let attempts = if active.is_some() { 1 } else { ATTEMPTS };
        let is_named = known.is_some_and(|storage| storage.unnamed().is_none());
        let log = if is_named { LogPlace::Known } else { LogPlace::Unknown };
        let inspected = inspect(host.as_ref(), spec, log, attempts, depth.keep_program);
        let answer = match timeout(LIMIT, inspected).await {
            Ok(answer) => answer.map_err(|error| error_text::of(&error))?,
            Err(_) => return Err(format!("not read within {} s", LIMIT.as_secs())),
        };
        match (active, answer) {
            // A process that does not hold the data dir that is named works on another, or on none yet.
            (Some(active), DataDir::Absent | DataDir::Sound(_) | DataDir::Damaged(_)) => {
                Err(format!("{name} does not answer, but {} is {active}", spec.service.label()))
            }
            (None, DataDir::Absent) => absent(storage, spec),
            (_, answer) => Ok(answer),
        }
    };
    match read.await {
        Ok(dir) => Fact::value(source, dir),
        Err(why) => Fact::unknown(source, why),
    }
}

/// How far the log of a member goes that serves without a quorum; its db cannot be read meanwhile.
pub(super) async fn log(
    inventory: &Inventory,
    access: &Access,
    spec: &MemberSpec,
    depth: Option<Depth<'_, '_>>,
) -> Option<Fact<LogState>> {
    let depth = depth?;
    let source = format!("ssh {}: log of {}", spec.host, spec.data_dir.display());
    let read = async {
        depth.hosts.trusted(inventory, &spec.host).await?;
        let host = access.hosts.get(&spec.host).ok_or_else(|| format!("no access to {}", spec.host))?;
        let _turn = depth.hosts.turn(&spec.host).await?;
        let read = with_program(host.as_ref(), depth.keep_program, async |agent| {
            agent::inspect_log(host.as_ref(), agent, &spec.data_dir, spec.wal_dir.as_deref()).await
        });
        match timeout(LIMIT, read).await {
            Ok(read) => {
                read.map_err(|error| error_text::of(&error))?.ok_or_else(|| "it cannot be read".into())
            }
            Err(_) => Err(format!("not read within {} s", LIMIT.as_secs())),
        }
    };
    Some(match read.await {
        Ok(log) => Fact::value(source, log),
        Err(why) => Fact::unknown(source, why),
    })
}

/// Whether a member's service runs, or is between two starts, while nothing holds the data dir that is named: it may run on
/// another one.
pub(super) async fn runs_elsewhere(
    inventory: &Inventory,
    spec: &MemberSpec,
    silent: bool,
    dir: &Fact<DataDir>,
    depth: Option<Depth<'_, '_>>,
) -> bool {
    let is_free = silent && !matches!(dir.get(), Some(DataDir::InUse(_)));
    let Some(depth) = depth.filter(|_| is_free) else { return false };
    let Ok(facts) = depth.hosts.trusted(inventory, &spec.host).await else { return false };
    let state = facts.services.get().and_then(|services| services.get(&spec.service.key()));
    state.is_some_and(|state| matches!(state.active.as_str(), "active" | "activating"))
}

/// The data dirs on a member's machine, where that is wanted: what it runs on, and what lies beside.
pub(super) async fn beside(
    inventory: &Inventory,
    access: &Access,
    spec: &MemberSpec,
    search: Search,
    depth: Option<Depth<'_, '_>>,
) -> Option<Fact<Vec<FoundDir>>> {
    let depth = depth?;
    let source = format!("ssh {}: data dirs", spec.host);
    let found = async {
        depth.hosts.trusted(inventory, &spec.host).await?;
        let host = access.hosts.get(&spec.host).ok_or_else(|| format!("no access to {}", spec.host))?;
        let _turn = depth.hosts.turn(&spec.host).await?;
        let found = with_program(host.as_ref(), depth.keep_program, async |agent| {
            agent::find_data_dirs(host.as_ref(), agent, spec, search).await
        });
        match timeout(LIMIT, found).await {
            Ok(found) => found.map_err(|error| error_text::of(&error)),
            Err(_) => Err(format!("not read within {} s", LIMIT.as_secs())),
        }
    };
    Some(match found.await {
        Ok(found) => Fact::value(source, found),
        Err(why) => Fact::unknown(source, why),
    })
}

/// Data counts as gone only where the member's service is known to keep it there.
fn absent(storage: Option<&Fact<Storage>>, spec: &MemberSpec) -> Result<DataDir, String> {
    let dir = spec.data_dir.display();
    let why = match storage {
        Some(fact) => match (fact.get(), fact.why_unknown()) {
            (Some(storage), _) => storage.unnamed(),
            (None, why) => Some(why.unwrap_or("not asked").to_owned()),
        },
        None => Some("its service was not asked where its data is".into()),
    };
    match why {
        None => Ok(DataDir::Absent),
        Some(why) => Err(format!("nothing is in {dir}, and it may be elsewhere: {why}")),
    }
}

/// What a member's service is while it runs, and `None` while it is known not to run.
async fn running(
    inventory: &Inventory,
    spec: &MemberSpec,
    hosts: &Hosts<'_>,
) -> Result<Option<String>, String> {
    let facts = hosts.trusted(inventory, &spec.host).await?;
    let state = facts.services.get().and_then(|services| services.get(&spec.service.key()));
    let unknown = || format!("cannot tell whether {} runs on {}", spec.service.label(), spec.host);
    let state = state.ok_or_else(unknown)?;
    Ok(state.is_running().then(|| state.active.clone()))
}

/// Reads it there.
async fn inspect(
    host: &dyn Host,
    spec: &MemberSpec,
    log: LogPlace,
    attempts: usize,
    keep_program: bool,
) -> Result<DataDir, HostError> {
    with_program(host, keep_program, async |agent| read(host, agent, spec, log, attempts).await).await
}

/// Works with the Lifeboat binary on a machine. It goes again if it came for this; else somebody may be working with
/// it.
async fn with_program<T>(
    host: &dyn Host,
    keep_program: bool,
    work: impl AsyncFnOnce(&Agent) -> Result<T, HostError>,
) -> Result<T, HostError> {
    let agent = Agent::send(host).await?;
    let answer = work(&agent).await;
    if !keep_program && !agent.was_there() {
        // What was read counts, also when the machine goes away at the end.
        let _ = Agent::forget(host).await;
    }
    answer
}

async fn read(
    host: &dyn Host,
    agent: &Agent,
    spec: &MemberSpec,
    log: LogPlace,
    attempts: usize,
) -> Result<DataDir, HostError> {
    for _ in 1..attempts {
        match agent::inspect_data_dir(host, agent, &spec.data_dir, spec.wal_dir.as_deref(), log).await? {
            DataDir::InUse(_) => sleep(PAUSE).await,
            other => return Ok(other),
        }
    }
    agent::inspect_data_dir(host, agent, &spec.data_dir, spec.wal_dir.as_deref(), log).await
}
