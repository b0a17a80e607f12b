//! Services on machines: fenced, released, started, restarted.
//!
//! A fence must outlive a reboot and hold for units in `/etc/systemd/system`, which `systemctl mask` cannot mask: it
//! is a drop-in with an assertion that fails, so that every start says why. The manifest of a static pod is moved
//! out of the kubelet's sight. Configuration management may undo either: a fence holds only while the fence is there
//! and what it holds is as it was.

use std::time::Duration;

use futures::future::{join_all, try_join_all};

use crate::host::Command;
use crate::inventory::{MemberSpec, Service};
use crate::plan::HostService;
use crate::probe;
use crate::probe::host::{FENCE_DROP_IN, FENCED_MANIFESTS, PODS};

use super::State;
use super::context::Context;
use super::error::StepError;

/// Time limit for stopping a service: an API server waits a minute for its clients.
const STOP: Duration = Duration::from_secs(150);

/// What a unit is defined by, except for the fence: one digest over its files.
const DEFINITION: &str = r#"
definition() {
    for path in $(systemctl show -p FragmentPath --value "$1") $(systemctl show -p DropInPaths --value "$1"); do
        if [ "${path##*/}" != "$2" ] && [ -e "$path" ]; then echo "$path"; cat "$path"; fi
    done | sha256sum | cut -d ' ' -f 1
}
"#;

/// The fence keeps the digest of what it fenced: a unit that is replaced meanwhile is noticed.
const FENCE_UNIT: &str = r#"
set -eu
unit=$1 file=$2
if [ "$(systemctl show -p LoadState --value "$unit")" = not-found ]; then
    echo "there is no unit $unit: what the inventory says of this machine is wrong" >&2
    exit 1
fi
dir=/etc/systemd/system/$unit.d
mkdir -p "$dir"
{
    printf '# Held stopped by lifeboat until its recovery releases it.\n# definition %s\n' "$(definition "$unit" "$file")"
    printf '[Unit]\nAssertPathExists=/fenced-by-lifeboat\n'
} > "$dir/.$file"
sync "$dir/.$file"
mv "$dir/.$file" "$dir/$file"
sync "$dir" "${dir%/*}"
systemctl daemon-reload
# An API server that has lost its etcd waits for it to the end of its time: nothing is lost by killing it, and what
# etcd has acknowledged is on its disk.
timeout 2 systemctl stop "$unit" || systemctl kill -s KILL "$unit" 2>/dev/null || :
systemctl stop "$unit"
systemctl reset-failed "$unit" 2>/dev/null || :
"#;

const UNFENCE_UNIT: &str = r#"
set -eu
unit=$1 file=$2
dir=/etc/systemd/system/$unit.d
rm -f "$dir/$file"
rmdir "$dir" 2>/dev/null || :
systemctl daemon-reload
systemctl reset-failed "$unit" 2>/dev/null || :
"#;

const START_UNIT: &str = r#"
systemctl reset-failed "$1" 2>/dev/null
systemctl start --no-block "$1"
"#;

const UNIT_STATE: &str = r#"
unit=$1 file=$2
fence=/etc/systemd/system/$unit.d/$file
# A drop-in alone makes no unit.
found=$(systemctl show -p LoadState --value "$unit")
if [ "$found" != not-found ] && [ -e "$fence" ]; then
    noted=$(sed -n 's/^# definition //p' "$fence")
    path=$(systemctl show -p FragmentPath --value "$unit")
    if [ -n "$noted" ] && [ "$noted" != "$(definition "$unit" "$file")" ]; then
        echo "changed $path or a drop-in of it, written $(stat -c %y "$path" 2>/dev/null)"
    else
        echo fenced
    fi
fi
systemctl show -p ActiveState --value "$unit"
systemctl show -p InvocationID --value "$unit"
"#;

/// Where a manifest lies while it is fenced. One that is in place as well was written by somebody else since: neither
/// may overwrite the other.
const KEPT: &str = r#"
manifest=$1 process=$2 aside=$3 node=$4 kubelet=$5
kept=$aside/${manifest##*/}
refuse_both() {
    if [ -e "$manifest" ] && [ -e "$kept" ]; then
        echo "$manifest was written at $(stat -c %y "$manifest" 2>/dev/null) while its older version is fenced in $kept: both are kept. \
Stop what writes it (configuration management?), then leave the right one in $kept, none in $manifest, and go on" >&2
        exit 78
    fi
}
find_pids() { pod_pids "$manifest" "$process" "$kept" "$node"; }
"#;

const FENCE_POD: &str = r#"
set -eu
refuse_both
if ! [ -e "$manifest" ] && ! [ -e "$kept" ]; then
    echo "there is no manifest $manifest: put it back, or correct what the inventory says of this machine" >&2
    exit 1
fi
# Refuses before anything is changed where processes cannot be told apart.
find_pids >/dev/null
mkdir -p -m 0700 "$aside"
if [ -e "$manifest" ]; then mv "$manifest" "$aside/"; sync; fi
turns=0
# The kubelet asks it to stop and gives it half a minute; without a kubelet nobody does. As with a unit, nothing is lost by
# killing one that takes long.
while found=$(find_pids) && [ -n "$found" ] && [ $turns -lt 120 ]; do
    if [ $turns -ge 8 ]; then kill -KILL $found 2>/dev/null || :; elif [ $turns -ge 4 ]; then kill $found 2>/dev/null || :; fi
    sleep 0.5
    turns=$((turns + 1))
done
"#;

const UNFENCE_POD: &str = r#"
set -eu
refuse_both
if [ -e "$kept" ]; then mv "$kept" "$manifest"; sync; fi
rmdir "$aside" 2>/dev/null || :
"#;

/// Gives the kubelet the time to see the manifest.
const AWAIT_POD: &str = r#"
turns=0
while found=$(find_pids) && [ -z "$found" ] && [ $turns -lt 8 ]; do
    sleep 0.5
    turns=$((turns + 1))
done
"#;

/// The manifest is there and nothing runs: the kubelet has seen it fail so often that it waits for minutes before it
/// tries again. Only a kubelet that is restarted forgets that; what runs goes on running.
const START_POD: &str = r#"
set -eu
found=$(find_pids)
if [ -z "$found" ]; then systemctl restart "$kubelet"; fi
"#;

const RESTART_POD: &str = r#"
set -eu
found=$(find_pids)
if [ -n "$found" ]; then kill $found 2>/dev/null || :; fi
"#;

const POD_STATE: &str = r#"
set -eu
if [ -e "$kept" ]; then
    if [ -e "$manifest" ]; then
        echo "changed $manifest, written $(stat -c %y "$manifest" 2>/dev/null)"
    else
        echo fenced
    fi
fi
found=$(find_pids)
if [ -n "$found" ]; then echo active; else echo inactive; fi
echo $found
"#;

/// State of a service on its machine.
pub(super) struct Seen {
    fence: Fence,
    active: String,
    /// Invocation id or PIDs: changes with every start.
    run: String,
}

/// State of a service's fence.
enum Fence {
    /// Not at all.
    Open,
    /// Stopped for good.
    Closed,
    /// There is a fence, and what it holds was written since: which file, and when.
    Undone(String),
}

/// A question about one service.
pub(super) type Question = fn(&str, &Seen) -> Option<String>;

/// Whether a service is fenced and its processes are gone; else why not.
pub(super) fn fenced(label: &str, seen: &Seen) -> Option<String> {
    match (&seen.fence, seen.active.as_str()) {
        (Fence::Closed, "inactive" | "failed") => None,
        (Fence::Closed, active) => Some(format!("{label} is {active}")),
        (Fence::Undone(file), _) => Some(format!("{label} was changed while it was fenced: {file}")),
        (Fence::Open, _) => Some(format!("{label} is not fenced")),
    }
}

/// Whether a service runs; else why not. Whether it does its work, once it is up, is asked of itself: an etcd that
/// waits for others, or is started over and over, is for the next observation to judge.
pub(super) fn running(label: &str, seen: &Seen) -> Option<String> {
    match (&seen.fence, seen.active.as_str()) {
        (Fence::Closed | Fence::Undone(_), _) => Some(format!("{label} is fenced")),
        (Fence::Open, "active" | "activating" | "reloading") => None,
        (Fence::Open, active) => Some(format!("{label} is {active}")),
    }
}

/// Queries every service; the reason of the first that is not as wanted.
pub(super) async fn all(
    context: &Context<'_>,
    services: &[HostService],
    question: Question,
) -> Result<State, StepError> {
    let asked = services.iter().map(|service| async move {
        let seen = query(context, service).await?;
        Ok::<_, StepError>(
            question(service.service.label(), &seen).map(|why| format!("{}: {why}", service.host)),
        )
    });
    let reasons = try_join_all(asked).await?;
    Ok(reasons.into_iter().flatten().next().map_or(State::Done, State::NotYet))
}

/// Whether every service is fenced. A manifest that was written back beside its fenced version needs a person's
/// decision: neither may overwrite the other.
pub(super) async fn are_fenced(context: &Context<'_>, services: &[HostService]) -> Result<State, StepError> {
    let seen = services
        .iter()
        .map(|service| async move { Ok::<_, StepError>((service, query(context, service).await?)) });
    let seen = try_join_all(seen).await?;
    let written_back = seen.iter().find_map(|(service, seen)| match (&seen.fence, &service.service) {
        (Fence::Undone(file), Service::StaticPod(pod)) => Some((&service.host, file, pod)),
        _ => None,
    });
    if let Some((host, file, pod)) = written_back {
        return Err(StepError::Fatal(format!(
            "{host}: {file}, while its older version is fenced in {FENCED_MANIFESTS}: both are kept. Stop what writes it \
             (configuration management?), keep the right one in {FENCED_MANIFESTS} and none at {}",
            pod.manifest.display()
        )));
    }
    let open = seen.into_iter().find_map(|(service, seen)| {
        fenced(service.service.label(), &seen).map(|why| format!("{}: {why}", service.host))
    });
    Ok(open.map_or(State::Done, State::NotYet))
}

/// What can be done to a service.
#[derive(Clone, Copy)]
pub(super) enum Change {
    /// Stop it and keep it stopped.
    Fence,
    /// Take its fence away and start it.
    Release,
    /// Take its fence away; the kubelet starts a static pod all the same.
    Unfence,
    /// Start it. One that is fenced stays so: the start says it.
    Start,
}

/// Does the same to all services concurrently: members of etcd wait for each other.
pub(super) async fn each(
    context: &Context<'_>,
    services: &[HostService],
    change: Change,
) -> Result<(), StepError> {
    // Every one is tried, also when another fails: a fence with a hole is better than none.
    let results = join_all(services.iter().map(|service| one(context, service, change))).await;
    results.into_iter().collect()
}

/// Fences services, after writing down how each was before: that is what a rollback brings back.
pub(super) async fn fence(
    context: &Context<'_>,
    step: u32,
    services: &[HostService],
) -> Result<(), StepError> {
    let notes = context.notes(step);
    let open = services.iter().filter(|service| !notes.iter().any(|note| note.starts_with(&before(service))));
    let seen =
        open.map(|service| async move { Ok::<_, StepError>((service, query(context, service).await?)) });
    for (service, seen) in try_join_all(seen).await? {
        let state = match seen.fence {
            Fence::Open => seen.active,
            Fence::Closed | Fence::Undone(_) => FENCED.into(),
        };
        context.note(step, format!("{}{state}", before(service)))?;
    }
    each(context, services, Change::Fence).await
}

/// Takes back what [`fence`] did: what ran is started, what was stopped or fenced before stays so.
pub(super) async fn unfence(
    context: &Context<'_>,
    step: u32,
    services: &[HostService],
) -> Result<(), StepError> {
    let notes = context.notes(step);
    let undone = services.iter().map(|service| {
        let before = notes.iter().find_map(|note| note.strip_prefix(&before(service)));
        async move {
            match before {
                // Nothing was done to it, or it was fenced by another operation.
                None | Some(FENCED) => Ok(()),
                Some("inactive" | "failed") => one(context, service, Change::Unfence).await,
                Some(_) => one(context, service, Change::Release).await,
            }
        }
    });
    join_all(undone).await.into_iter().collect()
}

/// What a service that was fenced already is noted as.
const FENCED: &str = "fenced";

fn before(service: &HostService) -> String {
    format!("before the fence {} on {} was ", service.service.key(), service.host)
}

/// Does it to one service.
pub(super) async fn one(
    context: &Context<'_>,
    service: &HostService,
    change: Change,
) -> Result<(), StepError> {
    let (for_unit, for_pod) = match change {
        Change::Fence => (format!("{DEFINITION}{FENCE_UNIT}"), FENCE_POD.to_owned()),
        // The kubelet remembers how often it failed before the fence.
        Change::Release => {
            (format!("{UNFENCE_UNIT}{START_UNIT}"), format!("{UNFENCE_POD}{AWAIT_POD}{START_POD}"))
        }
        Change::Unfence => (UNFENCE_UNIT.to_owned(), UNFENCE_POD.to_owned()),
        Change::Start => (START_UNIT.to_owned(), START_POD.to_owned()),
    };
    run(context, service, &for_unit, &for_pod).await
}

/// Whether a service needs no restart any more: an etcd member that serves, since one that waited for a quorum may do so once
/// others are started; an API server that is ready.
async fn is_well(context: &Context<'_>, service: &HostService) -> bool {
    let is_member = |spec: &MemberSpec| spec.host == service.host && spec.service == service.service;
    if let Some((name, _)) = context.inventory.etcd.members.iter().find(|(_, spec)| is_member(spec)) {
        let read = async { Ok::<_, StepError>(context.etcd(name).await?.member_list(true).await?) };
        return read.await.is_ok();
    }
    let spec = context.inventory.kubernetes.control_plane.get(&service.host);
    if spec.is_none_or(|spec| spec.apiserver != service.service) {
        return false;
    }
    let facts = probe::kubernetes::api_server(context.inventory, context.access, &service.host).await;
    facts.readyz.get().is_some_and(|health| health.ok)
}

/// Whether every service has been restarted since a run of this step noted what ran before, or needs no restart any more.
pub(super) async fn restarted(
    context: &Context<'_>,
    step: u32,
    services: &[HostService],
) -> Result<State, StepError> {
    let notes = context.notes(step);
    for service in services {
        let Some(before) = notes.iter().find_map(|note| note.strip_prefix(&noted(service))) else {
            if is_well(context, service).await {
                continue;
            }
            return Ok(State::NotYet(format!("{}: not restarted yet", service.host)));
        };
        let seen = query(context, service).await?;
        if seen.run == before {
            return Ok(State::NotYet(format!("{}: still the old run", service.host)));
        }
        if let Some(why) = running(service.service.label(), &seen) {
            return Ok(State::NotYet(format!("{}: {why}", service.host)));
        }
    }
    Ok(State::Done)
}

/// Restarts services one after the other; one that was restarted by an earlier run of this step, or needs it no more, is left
/// alone.
pub(super) async fn restart(
    context: &Context<'_>,
    step: u32,
    services: &[HostService],
) -> Result<(), StepError> {
    for service in services {
        let prefix = noted(service);
        let before =
            context.notes(step).iter().find_map(|note| note.strip_prefix(&prefix).map(str::to_owned));
        let seen = query(context, service).await?;
        if before.as_ref().is_some_and(|before| *before != seen.run) || is_well(context, service).await {
            continue;
        }
        if before.is_none() {
            context.note(step, format!("{prefix}{}", seen.run))?;
        }
        run(context, service, "systemctl restart --no-block \"$1\"", RESTART_POD).await?;
    }
    Ok(())
}

fn noted(service: &HostService) -> String {
    format!("restart {} on {}, which ran as ", service.service.label(), service.host)
}

async fn query(context: &Context<'_>, service: &HostService) -> Result<Seen, StepError> {
    let command = command(context, service, &format!("{DEFINITION}{UNIT_STATE}"), POD_STATE);
    let said = context.ask(&service.host, command).await?;
    let mut lines = said.lines().peekable();
    let undone = lines.next_if(|line| line.starts_with("changed "));
    let fence = match undone.and_then(|line| line.strip_prefix("changed ")) {
        Some(file) => Fence::Undone(file.to_owned()),
        None if lines.next_if_eq(&"fenced").is_some() => Fence::Closed,
        None => Fence::Open,
    };
    let mut line = || lines.next().unwrap_or_default().to_owned();
    Ok(Seen { fence, active: line(), run: line() })
}

async fn run(
    context: &Context<'_>,
    service: &HostService,
    for_unit: &str,
    for_pod: &str,
) -> Result<(), StepError> {
    let command = command(context, service, for_unit, for_pod);
    context.change(&service.host, command.within(STOP)).await?;
    Ok(())
}

fn command(context: &Context<'_>, service: &HostService, for_unit: &str, for_pod: &str) -> Command {
    match &service.service {
        Service::Unit(unit) => Command::script(for_unit, [unit.as_str(), FENCE_DROP_IN]),
        Service::StaticPod(pod) => {
            let manifest = pod.manifest.display().to_string();
            let kubelet = context.inventory.kubelet_on(&service.host);
            let node = context.inventory.node_name(&service.host);
            let script = format!("{PODS}{KEPT}{for_pod}");
            Command::script(&script, [&manifest, &pod.process, FENCED_MANIFESTS, node, &kubelet])
        }
    }
}

#[cfg(test)]
mod tests;
