//! What must hold after every round, whatever the faults were.

use std::collections::{BTreeMap, BTreeSet};

use super::faults::Fault;
use super::observe::{Disk, MachineState, Served};
use super::round::{Round, RunResult};

/// All violations.
pub fn violations(round: &Round) -> Vec<String> {
    let mut found = Vec::new();
    found.extend(ends_sensibly(round));
    found.extend(is_recovered_where_it_can_be(round));
    found.extend(healthy("recover", &round.before, &round.after));
    found.extend(healthy("the second run", &round.after, &round.finally));
    found.extend(lost_writes(round));
    found.extend(kept_data(round));
    found.extend(left_alone(round));
    found.extend(second_run(round));
    found.extend(power_loss(round));
    found
}

/// All faults are present before the run: it can refuse at the start what it cannot do.
fn ends_sensibly(round: &Round) -> Option<String> {
    let last = |run: &RunResult| run.stderr.trim().lines().last().unwrap_or_default().to_owned();
    match round.first.code {
        Some(0 | 3) => None,
        Some(4) if last(&round.first).contains("error:") => None,
        Some(4) => Some("refused without saying why".into()),
        Some(5) => Some(format!("stopped half way: {}", last(&round.first))),
        Some(code) => Some(format!("exit {code}: {}", last(&round.first))),
        None => Some("did not end in time".into()),
    }
}

fn is_recovered_where_it_can_be(round: &Round) -> Option<String> {
    let draw = &round.draw;
    let repairable = draw.injections.iter().all(|injection| injection.fault.is_repairable());
    let supported = draw.layout.as_ref().is_none_or(|(layout, _)| layout.is_supported());
    let has_state = draw.snapshot
        || round.before.keys.is_some()
        || round.disks.iter().any(|disk| disk.keys.as_ref().is_ok_and(|keys| !keys.is_empty()));
    // A refusal names the manual steps and has changed nothing. Of two states that both serve, the operator chooses
    // one.
    let recovered = match round.first.code {
        Some(0 | 4) => true,
        _ => {
            let names_none = round.first.stdout.contains("lifeboat recover --source member:NAME");
            names_none || round.first.leaves_choice_to_operator()
        }
    };
    (repairable && supported && has_state && !recovered)
        .then(|| "not recovered, though nothing of it needs hands".to_owned())
}

fn healthy(what: &str, before: &Served, after: &Served) -> Option<String> {
    let (before, after) = (&before.healthy, &after.healthy);
    (after.len() < before.len()).then(|| format!("{what} left {after:?} healthy, before were {before:?}"))
}

/// An acknowledged write is served, or the plan announced its loss and no disk has it.
fn lost_writes(round: &Round) -> Vec<String> {
    let Some(lost) = round.lost(&round.after).filter(|lost| !lost.is_empty()) else { return Vec::new() };
    let mut found = Vec::new();
    let served = |key: &&&String| round.before.keys.as_ref().is_some_and(|keys| keys.contains(**key));
    let count = lost.iter().filter(served).count();
    if count > 0 {
        found.push(format!("{count} acknowledged writes were served before and are not now"));
    }
    if round.first.leaves_choice_to_operator() {
        return found;
    }
    if let Some(why) = unannounced(&round.first, lost.len()) {
        found.push(format!("{} acknowledged writes lost: {why}", lost.len()));
    }
    for Disk { machine, dir, keys } in
        round.disks.iter().filter(|disk| !is_out_of_reach(round, &disk.machine))
    {
        let Ok(keys) = keys else { continue };
        let there = lost.iter().filter(|key| keys.contains(**key)).count();
        if there > 0 {
            found.push(format!("{there} of {} lost writes can be read from {machine}:{dir}", lost.len()));
        }
    }
    found
}

fn is_out_of_reach(round: &Round, machine: &str) -> bool {
    let cut_off = |fault| matches!(fault, Fault::NicDetached | Fault::CableUnplugged);
    round.draw.injections.iter().any(|injection| injection.machine == machine && cut_off(injection.fault))
}

/// Why the announcement of the plan does not cover this loss.
fn unannounced(run: &RunResult, lost: usize) -> Option<String> {
    let chosen: Vec<&str> =
        run.stderr.lines().filter_map(|line| line.trim_start().strip_prefix("-> ")).collect();
    if chosen.is_empty() {
        return Some("no plan printed that a state is restored".into());
    }
    let covers = |remark: &&str| {
        let revisions =
            remark.split("loses ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<usize>().ok());
        !remark.contains("loses nothing") && revisions.is_none_or(|revisions| revisions >= lost)
    };
    (!chosen.iter().any(covers)).then(|| format!("the plan printed: {}", chosen.join(" | ")))
}

/// Data on the disks is kept, under the same name or moved aside.
fn kept_data(round: &Round) -> Vec<String> {
    // Defragmenting rewrites a db.
    let rewritten = round.draw.injections.iter().any(|injection| injection.fault == Fault::NospaceAlarm);
    let mut found = Vec::new();
    for (machine, before) in &round.machines_before {
        let Some(after) = round.machines_finally.get(machine) else { continue };
        for (inode, path) in &before.data {
            let was_rewritten = rewritten && path.ends_with("/db");
            if !after.data.contains_key(inode) && !was_rewritten {
                found.push(format!("{machine}: {path} is gone"));
            }
        }
    }
    found
}

/// After an operation that ended, nothing stays fenced, changed or left behind; and a refusal changes nothing.
fn left_alone(round: &Round) -> Vec<String> {
    let mut found = Vec::new();
    if !matches!(round.first.code, Some(0 | 3 | 4)) {
        return found;
    }
    let refused = round.first.code == Some(4) && round.first.steps() == 0;
    for (machine, before, after) in pairs(&round.machines_before, &round.machines_after) {
        let changed: Vec<&String> = before.units.symmetric_difference(&after.units).collect();
        if !changed.is_empty() {
            found.push(format!("{machine}: units are not as they were: {changed:?}"));
        }
        let moved: Vec<&String> = before.layout.symmetric_difference(&after.layout).collect();
        if !moved.is_empty() {
            found.push(format!("{machine}: data does not lie where it did: {moved:?}"));
        }
        let new: BTreeSet<&String> = after.left.iter().filter(|name| !before.left.contains(name)).collect();
        if !new.is_empty() {
            found.push(format!("{machine}: left behind: {new:?}"));
        }
        let moved = before.data.iter().filter(|(inode, path)| after.data.get(*inode) != Some(*path));
        if let (true, Some((_, path))) = (refused, moved.into_iter().next()) {
            found.push(format!("{machine}: refused, and moved {path}"));
        }
    }
    found
}

fn pairs<'a>(
    before: &'a BTreeMap<String, MachineState>,
    after: &'a BTreeMap<String, MachineState>,
) -> impl Iterator<Item = (&'a String, &'a MachineState, &'a MachineState)> {
    before.iter().filter_map(|(machine, before)| Some((machine, before, after.get(machine)?)))
}

/// It finds nothing to do after a recovery, gives the same answer after a refusal, and makes nothing worse.
fn second_run(round: &Round) -> Vec<String> {
    let mut found = Vec::new();
    let first = round.resumed.as_ref().unwrap_or(&round.first);
    let (first_code, second_code) = (first.code, round.second.code);
    let same = match first_code {
        Some(0) => second_code == Some(0) && round.second.steps() == 0,
        Some(4) => {
            second_code == Some(0) || (second_code == Some(4) && reason(first) == reason(&round.second))
        }
        Some(3) => matches!(second_code, Some(0 | 3)),
        _ => true,
    };
    if !same {
        found.push(format!(
            "the second run ends with {second_code:?} after {} steps, the first with {first_code:?}: {}",
            round.second.steps(),
            reason(&round.second)
        ));
    }
    if let (Some(after), Some(finally)) = (round.lost(&round.after), round.lost(&round.finally))
        && finally.len() > after.len()
    {
        found.push(format!("the second run lost {} more writes", finally.len() - after.len()));
    }
    found
}

/// The last error, without what differs from run to run.
fn reason(run: &RunResult) -> String {
    let line = run.stderr.lines().rev().find(|line| line.starts_with("error:")).unwrap_or_default();
    line.chars().filter(|letter| !letter.is_ascii_digit()).collect()
}

fn power_loss(round: &Round) -> Vec<String> {
    let Some(rebooted) = &round.rebooted else { return Vec::new() };
    let mut found: Vec<String> =
        healthy("a power loss of all machines", &round.finally, rebooted).into_iter().collect();
    if let (Some(finally), Some(now)) = (round.lost(&round.finally), round.lost(rebooted))
        && now.len() > finally.len()
    {
        found.push(format!("a power loss after the recovery lost {} more writes", now.len() - finally.len()));
    }
    found
}
