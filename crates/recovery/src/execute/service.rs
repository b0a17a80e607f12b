//! Services on machines: stopped for good, let go, started, restarted.
//!
//! A fence must outlive a reboot and hold for units in `/etc/systemd/system`, which `systemctl mask` cannot mask: it
//! is a drop-in with an assertion that fails, so that every start says why. The manifest of a static pod is moved
//! out of the kubelet's sight.

use std::path::Path;
use std::time::Duration;

use futures::future::{join_all, try_join_all};

use crate::host::Command;
use crate::inventory::Service;
use crate::plan::HostService;
use crate::probe::host::{FENCE_DROP_IN, FENCED_MANIFESTS};

use super::State;
use super::context::Context;
use super::error::StepError;

/// Longest a service takes to stop: an API server waits a minute for its clients.
const STOP: Duration = Duration::from_secs(150);

const FENCE_UNIT: &str = r#"
set -eu
unit=$1 file=$2
if [ "$(systemctl show -p LoadState --value "$unit")" = not-found ]; then
    echo "there is no unit $unit: what the inventory says of this machine is wrong" >&2
    exit 1
fi
dir=/etc/systemd/system/$unit.d
mkdir -p "$dir"
printf '[Unit]\n# Held stopped by lifeboat until its recovery releases it.\nAssertPathExists=/fenced-by-lifeboat\n' > "$dir/.$file"
sync "$dir/.$file"
mv "$dir/.$file" "$dir/$file"
systemctl daemon-reload
# An API server that has lost its etcd waits for it to the end of its time: nothing is lost by killing it, and what
# etcd has acknowledged is on its disk.
timeout 2 systemctl stop "$unit" || systemctl kill -s KILL "$unit" 2>/dev/null || :
systemctl stop "$unit"
systemctl reset-failed "$unit" 2>/dev/null || :
"#;

const RELEASE_UNIT: &str = r#"
set -eu
unit=$1 file=$2
dir=/etc/systemd/system/$unit.d
rm -f "$dir/$file"
rmdir "$dir" 2>/dev/null || :
systemctl daemon-reload
systemctl reset-failed "$unit" 2>/dev/null || :
systemctl start --no-block "$unit"
"#;

const START_UNIT: &str = r#"
systemctl reset-failed "$1" 2>/dev/null
systemctl start --no-block "$1"
"#;

const UNIT_STATE: &str = r#"
unit=$1 file=$2
# A drop-in alone makes no unit.
found=$(systemctl show -p LoadState --value "$unit")
if [ "$found" != not-found ] && [ -e "/etc/systemd/system/$unit.d/$file" ]; then echo fenced; fi
systemctl show -p ActiveState --value "$unit"
systemctl show -p InvocationID --value "$unit"
"#;

/// Processes are told by the name of their program, whole: the kernel's own `comm` is cut at 15 letters. Those of the
/// control plane are on the machine's own network; an etcd or API server that an application brings in its pod is not.
const POD_PROCESSES: &str = r#"
pids() {
    machine=$(readlink /proc/1/ns/net) || machine=
    for dir in /proc/[0-9]*; do
        name=$(tr '\0' '\n' < "$dir/cmdline" 2>/dev/null | head -n 1)
        if [ "${name##*/}" != "$1" ]; then continue; fi
        network=$(readlink "$dir/ns/net") || network=
        if [ -z "$machine" ] || [ -z "$network" ] || [ "$network" = "$machine" ]; then echo "${dir#/proc/}"; fi
    done
}
"#;

const FENCE_POD: &str = r#"
set -eu
manifest=$1 process=$2 aside=$3
mkdir -p -m 0700 "$aside"
if [ -e "$manifest" ]; then mv "$manifest" "$aside/"; sync; fi
turns=0
# The kubelet asks it to stop and gives it half a minute; without a kubelet nobody does. As with a unit, nothing is lost by
# killing one that takes long.
while found=$(pids "$process") && [ -n "$found" ] && [ $turns -lt 120 ]; do
    if [ $turns -ge 8 ]; then kill -KILL $found 2>/dev/null || :; elif [ $turns -ge 4 ]; then kill $found 2>/dev/null || :; fi
    sleep 0.5
    turns=$((turns + 1))
done
"#;

const RELEASE_POD: &str = r#"
set -eu
manifest=$1 process=$2 aside=$3
kept="$aside/${manifest##*/}"
if [ -e "$kept" ]; then mv "$kept" "$manifest"; sync; fi
rmdir "$aside" 2>/dev/null || :
turns=0
while [ -z "$(pids "$process")" ] && [ $turns -lt 8 ]; do
    sleep 0.5
    turns=$((turns + 1))
done
"#;

/// The manifest is there and nothing runs: the kubelet has seen it fail so often that it waits for minutes before it
/// tries again. Only a kubelet that is started anew forgets that; what runs goes on running.
const START_POD: &str = r#"
if [ -z "$(pids "$2")" ]; then systemctl restart kubelet; fi
"#;

const POD_STATE: &str = r#"
manifest=$1 process=$2 aside=$3
if [ -e "$aside/${manifest##*/}" ]; then echo fenced; fi
found=$(pids "$process")
if [ -n "$found" ]; then echo active; else echo inactive; fi
echo $found
"#;

/// What one look at a service shows.
pub(super) struct Seen {
    fenced: bool,
    active: String,
    /// Changes with every start.
    run: String,
}

/// A question about one service.
pub(super) type Question = fn(&str, &Seen) -> Option<String>;

/// Whether a service is fenced and its processes are gone: what stands in the way, if not.
pub(super) fn fenced(label: &str, seen: &Seen) -> Option<String> {
    match (seen.fenced, seen.active.as_str()) {
        (true, "inactive" | "failed") => None,
        (true, active) => Some(format!("{label} is {active}")),
        (false, _) => Some(format!("{label} is not fenced")),
    }
}

/// Whether a service runs: what stands in the way, if not. Whether it does its work, once it is up, is asked of itself: an
/// etcd that waits for others, or is started over and over, is for the next look to judge.
pub(super) fn running(label: &str, seen: &Seen) -> Option<String> {
    match (seen.fenced, seen.active.as_str()) {
        (true, _) => Some(format!("{label} is fenced")),
        (false, "active" | "activating" | "reloading") => None,
        (false, active) => Some(format!("{label} is {active}")),
    }
}

/// Asks every service; what stands in the way of the first that is not as wanted.
pub(super) async fn all(
    context: &Context<'_>,
    services: &[HostService],
    question: Question,
) -> Result<State, StepError> {
    let asked = services.iter().map(|service| async move {
        let seen = look(context, service).await?;
        Ok::<_, StepError>(
            question(service.service.label(), &seen).map(|why| format!("{}: {why}", service.host)),
        )
    });
    let reasons = try_join_all(asked).await?;
    Ok(reasons.into_iter().flatten().next().map_or(State::Done, State::NotYet))
}

/// What can be done to a service.
#[derive(Clone, Copy)]
pub(super) enum Change {
    /// Stop it and keep it stopped.
    Fence,
    /// Take its fence away and start it.
    Release,
    /// Start it. One that is fenced stays so: the start says it.
    Start,
}

/// Does the same to every service, at the same time: members of etcd wait for each other.
pub(super) async fn each(
    context: &Context<'_>,
    services: &[HostService],
    change: Change,
) -> Result<(), StepError> {
    // Every one is tried, also when another fails: a fence with a hole is better than none.
    let results = join_all(services.iter().map(|service| one(context, service, change))).await;
    results.into_iter().collect()
}

/// Does it to one service.
pub(super) async fn one(
    context: &Context<'_>,
    service: &HostService,
    change: Change,
) -> Result<(), StepError> {
    let (for_unit, for_pod) = match change {
        Change::Fence => (FENCE_UNIT, FENCE_POD.to_owned()),
        // The kubelet remembers how often it failed before the fence.
        Change::Release => (RELEASE_UNIT, format!("{RELEASE_POD}{START_POD}")),
        Change::Start => (START_UNIT, START_POD.to_owned()),
    };
    run(context, service, for_unit, &for_pod).await
}

/// Whether every service has been restarted since a run of this step noted what ran before.
pub(super) async fn restarted(
    context: &Context<'_>,
    step: u32,
    services: &[HostService],
) -> Result<State, StepError> {
    let notes = context.notes(step);
    for service in services {
        let seen = look(context, service).await?;
        let Some(before) = notes.iter().find_map(|note| note.strip_prefix(&noted(service))) else {
            return Ok(State::NotYet(format!("{}: not restarted yet", service.host)));
        };
        if seen.run == before {
            return Ok(State::NotYet(format!("{}: still the old run", service.host)));
        }
        if let Some(why) = running(service.service.label(), &seen) {
            return Ok(State::NotYet(format!("{}: {why}", service.host)));
        }
    }
    Ok(State::Done)
}

/// Restarts services one after the other; one that was restarted by an earlier run of this step is left alone.
pub(super) async fn restart(
    context: &Context<'_>,
    step: u32,
    services: &[HostService],
) -> Result<(), StepError> {
    for service in services {
        let prefix = noted(service);
        let before =
            context.notes(step).iter().find_map(|note| note.strip_prefix(&prefix).map(str::to_owned));
        let seen = look(context, service).await?;
        if before.as_ref().is_some_and(|before| *before != seen.run) {
            continue;
        }
        if before.is_none() {
            context.note(step, format!("{prefix}{}", seen.run))?;
        }
        let stop = format!("{POD_PROCESSES}\nkill $(pids \"$2\") 2>/dev/null || :");
        run(context, service, "systemctl restart --no-block \"$1\"", &stop).await?;
    }
    Ok(())
}

fn noted(service: &HostService) -> String {
    format!("restart {} on {}, which ran as ", service.service.label(), service.host)
}

async fn look(context: &Context<'_>, service: &HostService) -> Result<Seen, StepError> {
    let command = command(&service.service, UNIT_STATE, &format!("{POD_PROCESSES}{POD_STATE}"));
    let said = context.ask(&service.host, command).await?;
    let mut lines = said.lines().peekable();
    let fenced = lines.next_if_eq(&"fenced").is_some();
    let mut line = || lines.next().unwrap_or_default().to_owned();
    Ok(Seen { fenced, active: line(), run: line() })
}

async fn run(
    context: &Context<'_>,
    service: &HostService,
    for_unit: &str,
    for_pod: &str,
) -> Result<(), StepError> {
    let command = command(&service.service, for_unit, &format!("{POD_PROCESSES}{for_pod}"));
    context.change(&service.host, command.within(STOP)).await?;
    Ok(())
}

fn command(service: &Service, for_unit: &str, for_pod: &str) -> Command {
    match service {
        Service::Unit(unit) => Command::script(for_unit, [unit.as_str(), FENCE_DROP_IN]),
        Service::StaticPod(pod) => {
            let manifest = Path::new(&pod.manifest).display().to_string();
            Command::script(for_pod, [manifest.as_str(), &pod.process, FENCED_MANIFESTS])
        }
    }
}
