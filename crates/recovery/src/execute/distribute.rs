//! The state of a restore, brought to the machines as one snapshot file: fetched from a member if need be, compared with the
//! plan, sent compressed, and removed as soon as it is not needed. Where the source cannot change meanwhile this is done
//! before anything is fenced.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;
use futures::future::try_join_all;

use crate::agent::Agent;
use crate::facts::DataDirs;
use crate::host::{self, Command};
use crate::plan::{Action, Base, StateSource};
use crate::probe::snapshots;

use super::context::Context;
use super::error::StepError;
use super::{State, data_dir};

/// Longest an export of a member's data dir may take: what is read and written at 4 MiB a second, for the 8 GiB that etcd
/// is made for.
const EXPORT: Duration = Duration::from_secs(2048);

/// Names, sizes and times of all files of a data dir, and of its WAL dir where that is elsewhere: while these stay the same,
/// nothing was written.
const STAMP: &str = r#"
set -eu
files=$(
    for dir in "$1/member" ${2:+"$2"}; do
        cd "$dir" || exit
        # A file that goes away meanwhile makes another stamp.
        find -L . -type f -exec stat -L -c '%n %s %y' {} + || :
    done
)
printf '%s\n' "$files" | sort | sha256sum | cut -d ' ' -f 1
"#;

const TAKEN_AT: &str = "the state was taken at ";
const EXPORTED: &str = "a snapshot was made of ";

/// The state on this machine, or the way to it.
fn local_copy(context: &Context<'_>, source: &StateSource) -> PathBuf {
    match source {
        StateSource::Snapshot(path) => path.clone(),
        StateSource::Member(_) | StateSource::Log { .. } => {
            context.dir.join(format!("{}-state.db", context.plan.id))
        }
    }
}

/// The machines whose members are not all restored: only these need the state.
fn waiting<'a>(context: &Context<'_>, hosts: &'a [String]) -> Vec<&'a String> {
    let is_waiting = |host: &&String| {
        context.plan.steps.iter().any(|step| match &step.action {
            Action::RestoreMember { member, .. } => {
                let here = context.member(member).is_ok_and(|spec| spec.host == **host);
                here && !context.is_done(step.number)
            }
            _ => false,
        })
    };
    hosts.iter().filter(is_waiting).collect()
}

/// The step that brings the state to the machines, and where it comes from.
fn planned<'a>(context: &'a Context<'_>) -> Option<(u32, &'a StateSource)> {
    context.plan.steps.iter().find_map(|step| match &step.action {
        Action::Distribute { source, .. } => Some((step.number, source)),
        _ => None,
    })
}

/// Whether the state was brought to the machines.
pub(super) fn is_done(context: &Context<'_>) -> bool {
    planned(context).is_some_and(|(step, _)| context.is_done(step))
}

/// The size of the state that was brought here and to the machines.
pub(super) fn copied_bytes(context: &Context<'_>, source: &StateSource) -> Option<u64> {
    let copy = is_done(context).then(|| local_copy(context, source))?;
    fs::metadata(copy).ok().map(|metadata| metadata.len())
}

/// Whether every machine that still needs them has the bytes this machine has.
pub(super) async fn is_distributed(
    context: &Context<'_>,
    source: &StateSource,
    hosts: &[String],
) -> Result<State, StepError> {
    let local = local_copy(context, source);
    if !local.exists() {
        return Ok(State::NotYet(format!("{source} is not fetched yet")));
    }
    let (size, digest) = host::digest(local).await?;
    let remote = context.remote_state();
    let asked = waiting(context, hosts).into_iter().map(|host| {
        let (digest, remote) = (&digest, &remote);
        async move {
            let has = host::has_digest(context.host(host)?.as_ref(), remote, size, digest).await?;
            Ok::<_, StepError>((!has).then(|| format!("{host} does not have it yet")))
        }
    });
    let missing = try_join_all(asked).await?.into_iter().flatten().next();
    Ok(missing.map_or(State::Done, State::NotYet))
}

/// Fetches the state if a member has it, makes sure that it is what the plan says, and sends it to the machines that do
/// not have it. A copy that was cut short goes on where it stopped.
pub(super) async fn distribute(
    context: &Context<'_>,
    step: u32,
    source: &StateSource,
    revision: Option<i64>,
    hosts: &[String],
) -> Result<(), StepError> {
    let local = local_copy(context, source);
    if !local.exists() {
        match source {
            StateSource::Member(member) => fetch(context, step, member, &Log::Whole, &local).await?,
            StateSource::Log { member, base } => combine(context, step, member, base, &local).await?,
            StateSource::Snapshot(_) => {}
        }
    }
    verify(&local, revision).await?;
    let remote = context.remote_state();
    let sent = waiting(context, hosts).into_iter().map(|host| {
        let (local, remote) = (&local, &remote);
        async move {
            context.announce(host).await?;
            let machine = context.machine_id(host);
            Ok::<_, StepError>(host::send(context.host(host)?.as_ref(), machine, local, remote, 0o600).await?)
        }
    });
    try_join_all(sent).await?;
    Ok(())
}

/// Whether what was sent before the fence is still all that its source holds. A snapshot file does not change; a member
/// may have been started until it was fenced.
pub(super) async fn is_current(context: &Context<'_>, source: &StateSource) -> Result<State, StepError> {
    let Some(member) = source.member() else { return Ok(State::Done) };
    let spec = context.member(member)?;
    let taken =
        context.all_notes().into_iter().rev().find_map(|note| note.strip_prefix(TAKEN_AT).map(str::to_owned));
    let now = stamp(context, &spec.host, &data_dir::now(context, member, spec).await?).await?;
    match taken {
        Some(taken) if taken == now => Ok(State::Done),
        _ => Ok(State::NotYet(format!("{member}'s data has changed since its state was taken"))),
    }
}

/// Takes the state once more from a member that was written to since, and sends it.
pub(super) async fn refresh(
    context: &Context<'_>,
    step: u32,
    source: &StateSource,
    revision: Option<i64>,
    hosts: &[String],
) -> Result<(), StepError> {
    let stale = local_copy(context, source);
    if source.member().is_some() && stale.exists() {
        fs::remove_file(&stale)?;
    }
    distribute(context, step, source, revision, hosts).await.map_err(|error| match error {
        StepError::Refused(why) => StepError::Refused(format!(
            "{why}. Services are already fenced: run `lifeboat recover rollback` first"
        )),
        error => error,
    })
}

/// How much of a member's log counts, and what it is read on top of.
enum Log {
    /// All of it: what the last of the members holds, clients may have been told of.
    Whole,
    /// What is known to be committed: another member's log goes on from there.
    Committed,
    /// All of it, on top of this file on the member's machine, which is a copy of the state that is named.
    On(PathBuf, StateSource),
}

/// Reads a member's log on top of another state: that is brought to the member's machine, where the log is, and removed from
/// there at once.
async fn combine(
    context: &Context<'_>,
    step: u32,
    member: &str,
    base: &Base,
    local: &Path,
) -> Result<(), StepError> {
    let host = &context.member(member)?.host;
    let (base_file, is_ours) = match base {
        Base::Snapshot(path) => (path.clone(), false),
        Base::Member(name) => {
            let file = context.dir.join(format!("{}-base.db", context.plan.id));
            fetch(context, step, name, &Log::Committed, &file).await?;
            (file, true)
        }
    };
    let remote = context.remote_dir().join("base.db");
    context.announce(host).await?;
    let machine = context.machine_id(host);
    host::send(context.host(host)?.as_ref(), machine, &base_file, &remote, 0o600).await?;
    let log = Log::On(remote.clone(), base.clone().into());
    let read = fetch(context, step, member, &log, local).await;
    let removed = remove(context, host, &remote).await;
    if is_ours {
        fs::remove_file(&base_file)?;
    }
    read.and(removed)
}

async fn exists(context: &Context<'_>, host: &str, path: &Path) -> Result<bool, StepError> {
    let look = Command::script(r#"if [ -e "$1" ]; then echo yes; fi"#, [path.display().to_string()]);
    Ok(context.ask(host, look).await?.trim() == "yes")
}

async fn remove(context: &Context<'_>, host: &str, path: &Path) -> Result<(), StepError> {
    let path = path.display().to_string();
    context.change(host, Command::new(["rm", "-f", "--", path.as_str()])).await.map(drop)
}

/// Makes a snapshot of a member's data dir on its machine, where the data is, and brings it here.
async fn fetch(
    context: &Context<'_>,
    step: u32,
    member: &str,
    log: &Log,
    local: &Path,
) -> Result<(), StepError> {
    let spec = context.member(member)?;
    let host = context.host(&spec.host)?;
    let agent = Agent::send(host.as_ref()).await?;
    let export = context.remote_dir().join(format!("export-{member}.db"));
    let dirs = data_dir::now(context, member, spec).await?;
    let before = stamp(context, &spec.host, &dirs).await?;
    let exported = format!("{EXPORTED}{member} at {before}");
    if !(context.notes(step).contains(&exported) && exists(context, &spec.host, &export).await?) {
        save(context, member, &agent, &dirs, log, &export).await?;
        // What is cut short from here on goes on with this file.
        context.note(step, exported)?;
    }
    host::fetch(host.as_ref(), &export, local).await?;
    remove(context, &spec.host, &export).await?;
    match log {
        Log::Committed => Ok(()),
        Log::Whole | Log::On(..) => context.note(step, format!("{TAKEN_AT}{before}")),
    }
}

/// Makes a snapshot of a member's data dir on its machine.
async fn save(
    context: &Context<'_>,
    member: &str,
    agent: &Agent,
    dirs: &DataDirs,
    log: &Log,
    export: &Path,
) -> Result<(), StepError> {
    let host = &context.member(member)?.host;
    let make = r#"set -eu; mkdir -p -m 0700 "$(dirname "$1")"; rm -f "$1""#;
    context.change(host, Command::script(make, [export.display().to_string()])).await?;
    let (from, to) = (dirs.data.display().to_string(), export.display().to_string());
    let mut arguments = vec!["save".to_owned(), from, to];
    match log {
        Log::Committed => {}
        Log::Whole => arguments.push("--uncommitted".into()),
        Log::On(file, _) => {
            arguments.extend(["--uncommitted".into(), "--base".into(), file.display().to_string()]);
            arguments.push("--proven-base".into());
        }
    }
    if let Some(wal) = &dirs.wal {
        arguments.extend(["--wal-dir".into(), wal.display().to_string()]);
    }
    let saved = context.change(host, agent.command(arguments).within(EXPORT)).await;
    saved.map(drop).map_err(|error| match (error, log) {
        (StepError::Fatal(why), _) if is_held(&why) => StepError::Rejected(why),
        // Nothing was touched: the log and what it was to be read on top of are as they were.
        (StepError::Fatal(why), Log::On(_, base)) => StepError::Refused(format!(
            "{member}'s log cannot be read on top of {base}: {why}; restore {base} alone with --source {base}, which loses what \
             the log adds, or make a file of what is left with `lifeboat salvage` on {host} and name that"
        )),
        (error, _) => error,
    })
}

/// Whether an etcd had the data dir open. One that fails at its start and is started again and again holds it for moments:
/// it is worth another try.
fn is_held(why: &str) -> bool {
    why.contains("an etcd is running on")
}

async fn stamp(context: &Context<'_>, host: &str, dirs: &DataDirs) -> Result<String, StepError> {
    let all = [Some(&dirs.data), dirs.wal.as_ref()].into_iter().flatten();
    let command =
        Command::script(STAMP, all.map(|dir| dir.display().to_string())).within(Duration::from_secs(30));
    Ok(context.ask(host, command).await?.trim().to_owned())
}

/// Reads the whole file once: a state that is damaged or older than planned must not replace anything.
async fn verify(local: &Path, at_least: Option<i64>) -> Result<(), StepError> {
    let path = local.to_path_buf();
    let inspected = tokio::task::spawn_blocking(move || snapshots::read(&path).revision);
    let inspected = inspected.await.map_err(|error| StepError::Fatal(error.to_string()))?;
    let found = inspected.map_err(|why| StepError::Fatal(format!("{}: {why}", local.display())))?;
    match at_least {
        Some(revision) if found < revision => Err(StepError::Fatal(format!(
            "{} has revision {found}, the plan says {revision}: plan again",
            local.display(),
        ))),
        _ => Ok(()),
    }
}

/// Removes the state from a member's machine once its last member there is restored: every Secret is in it.
pub(super) async fn drop_copy(context: &Context<'_>, step: u32, member: &str) -> Result<(), StepError> {
    let host = &context.member(member)?.host;
    let later =
        context.plan.steps.iter().filter(|later| later.number > step).any(|later| match &later.action {
            Action::RestoreMember { member, .. } => {
                context.member(member).is_ok_and(|spec| spec.host == *host)
            }
            _ => false,
        });
    if !later {
        let state = context.remote_state().display().to_string();
        context.change(host, Command::new(["rm", "-f", "--", state.as_str()])).await?;
    }
    Ok(())
}

/// Sends the state once more where it was removed: a member that was restored is to be restored again.
pub(super) async fn ensure_delivered(context: &Context<'_>, host: &str) -> Result<(), StepError> {
    let remote = context.remote_state();
    if exists(context, host, &remote).await? {
        return Ok(());
    }
    let (_, source) =
        planned(context).ok_or_else(|| StepError::Fatal("the plan names no state to restore".into()))?;
    let machine = context.machine_id(host);
    Ok(host::send(context.host(host)?.as_ref(), machine, &local_copy(context, source), &remote, 0o600)
        .await?)
}

#[cfg(test)]
mod tests {
    use rustix::fs::{FlockOperation, flock};

    use super::*;

    #[test]
    fn a_data_dir_that_an_etcd_holds_is_told_by_what_the_program_says() {
        let dir = tempfile::tempdir().unwrap();
        fs_err::create_dir_all(dir.path().join("member/snap")).unwrap();
        let db = fs_err::File::create(dir.path().join("member/snap/db")).unwrap();
        flock(db.file(), FlockOperation::LockExclusive).unwrap();
        let why = lifeboat_etcd::open(dir.path()).unwrap_err().to_string();
        assert!(is_held(&why), "{why}");
        assert!(!is_held("no space left on device"));
    }
}
