//! The state of a restore: brought to the machines, the old moved aside, the new written.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;
use futures::future::try_join_all;
use lifeboat_etcd::InitialCluster;
use sha2::{Digest, Sha256};

use crate::facts::DataDir;
use crate::host::Command;
use crate::inventory::MemberSpec;
use crate::plan::{Action, StateSource};
use crate::ship::{self, Shipped};

use super::State;
use super::context::Context;
use super::error::StepError;

/// A db of some gigabytes is read and written in a minute; a disk that is about to die takes longer.
const WORK: Duration = Duration::from_secs(900);

/// What a data dir that is a mount point keeps its old content in.
const ASIDE_INSIDE: &str = "lifeboat-aside-";

const IS_ASIDE: &str = r#"if [ -e "$1" ] || [ -e "$2" ]; then echo yes; else echo no; fi"#;

/// Leaves a directory with the new name even where nothing was there to move, since its being there is what tells
/// that the move is over: a data dir that is found later is the new one.
const MOVE_ASIDE: &str = r#"
set -eu
dir=$1 to=$2 inside=$3
if [ -e "$to" ] || [ -e "$inside" ]; then exit 0; fi
# An etcd holds this lock as long as it runs (bbolt); a file system without locks cannot tell.
db=$dir/member/snap/db
if [ -e "$db" ]; then
    flock -n -E 9 "$db" true || [ $? -ne 9 ] || {
        echo "a process still has $db open: an etcd that is not the inventory's service runs here" >&2
        exit 1
    }
fi
if ! [ -e "$dir" ]; then
    mkdir -p -m 0700 "$to"
elif mountpoint -q "$dir"; then
    mkdir -p -m 0700 "$inside.moving"
    for entry in "$dir/member" "$dir"/.lifeboat-restoring-*; do
        if [ -e "$entry" ]; then mv "$entry" "$inside.moving/"; fi
    done
    mv -T "$inside.moving" "$inside"
else
    mv -T "$dir" "$to"
fi
sync
"#;

/// What a restore that was cut short left behind is moved to what was moved aside: nothing is ever deleted here.
const CLEAR_LEFTOVER: &str = r#"
set -eu
dir=$1 to=$2 inside=$3
if [ -e "$inside" ]; then kept=$inside; else kept=$to; fi
for entry in "$dir"/.lifeboat-restoring-*; do
    if [ -e "$entry" ]; then mv "$entry" "$kept/leftover-$(date +%s)-${entry##*/}"; fi
done
"#;

/// Writes a data dir and gives it to its owner, in one command: what is killed between two would find it restored, and
/// leave it to root for ever.
const RESTORE: &str = r#"
set -eu
owner=$1 dir=$2; shift 2
"$@" < /dev/null
if [ -n "$owner" ]; then chown -R "$owner" "$dir"; fi
"#;

/// The state on this machine, or the way to it.
fn local_copy(context: &Context<'_>, source: &StateSource) -> PathBuf {
    match source {
        StateSource::Snapshot(path) => path.clone(),
        StateSource::Member(_) => context.dir.join(format!("{}-state.db", context.plan.id)),
    }
}

/// Whether every machine has the bytes this machine has.
pub(super) async fn is_distributed(
    context: &Context<'_>,
    source: &StateSource,
    hosts: &[String],
) -> Result<State, StepError> {
    let local = local_copy(context, source);
    if !local.exists() {
        return Ok(State::NotYet(format!("{source} is not fetched yet")));
    }
    let digest = digest(&local).await?;
    let remote = context.remote_state();
    for host in hosts {
        let script = r#"if [ -e "$1" ]; then sha256sum < "$1"; fi"#;
        let command = Command::script(script, [remote.display().to_string()]).within(WORK);
        if context.ask(host, command).await?.split_whitespace().next() != Some(&digest) {
            return Ok(State::NotYet(format!("{host} does not have it yet")));
        }
    }
    Ok(State::Done)
}

/// Fetches the state if a member has it, makes sure that it is what the plan says, and sends it.
pub(super) async fn distribute(
    context: &Context<'_>,
    source: &StateSource,
    revision: Option<i64>,
    hosts: &[String],
) -> Result<(), StepError> {
    let local = local_copy(context, source);
    if let (StateSource::Member(member), false) = (source, local.exists()) {
        fetch(context, member, &local).await?;
    }
    verify(&local, revision).await?;
    let remote = context.remote_state();
    let sent = hosts.iter().map(|host| {
        let (local, remote) = (&local, &remote);
        async move {
            // In one command: what is sent holds every Secret of the cluster.
            let machine = context.machine_id(host);
            Ok::<_, StepError>(context.host(host)?.upload_to(machine, local, remote, 0o600).await?)
        }
    });
    try_join_all(sent).await?;
    Ok(())
}

/// Makes a snapshot of a member's data dir on its machine, where the data is, and brings it here. All of its log
/// counts: what the last of the members holds, clients may have been told of.
async fn fetch(context: &Context<'_>, member: &str, local: &Path) -> Result<(), StepError> {
    let spec = context.member(member)?;
    let host = context.host(&spec.host)?;
    let shipped = Shipped::send(host.as_ref()).await?;
    let export = context.remote_dir().join("export.db");
    let dir = data_dir_now(context, member, spec).await?;
    let make = r#"set -eu; mkdir -p -m 0700 "$(dirname "$1")"; rm -f "$1""#;
    context.change(&spec.host, Command::script(make, [export.display().to_string()])).await?;
    let (from, to) = (dir.display().to_string(), export.display().to_string());
    context
        .change(
            &spec.host,
            shipped.command(["save", "--uncommitted", from.as_str(), to.as_str()]).within(WORK),
        )
        .await?;
    host.download(&export, local).await?;
    Ok(())
}

/// Where a member's old data is: moved aside by this plan already, or still in its place.
async fn data_dir_now(context: &Context<'_>, member: &str, spec: &MemberSpec) -> Result<PathBuf, StepError> {
    let steps = &context.plan.steps;
    let moved = steps.iter().find_map(|step| match &step.action {
        Action::MoveAside { member: moved, to } if moved == member => Some(to),
        _ => None,
    });
    if let Some(to) = moved {
        let inside = aside_inside(context, spec);
        let script = r#"for dir in "$1" "$2"; do if [ -e "$dir/member" ]; then echo "$dir"; fi; done"#;
        let arguments = [to.display().to_string(), inside.display().to_string()];
        let said = context.ask(&spec.host, Command::script(script, arguments)).await?;
        if let Some(found) = said.lines().next() {
            return Ok(found.into());
        }
    }
    Ok(spec.data_dir.clone())
}

/// Reads the whole file once: a state that turns out broken or older than planned must not replace anything.
async fn verify(local: &Path, at_least: Option<i64>) -> Result<(), StepError> {
    let path = local.to_path_buf();
    let inspected = tokio::task::spawn_blocking(move || {
        let source = lifeboat_etcd::open(&path)?;
        source.verify_integrity(&lifeboat_etcd::NoProgress)?;
        lifeboat_etcd::inspect(source.as_ref(), &lifeboat_etcd::NoProgress)
    });
    let inspected = inspected.await.map_err(|error| StepError::Fatal(error.to_string()))?;
    let inspected = inspected.map_err(|error| StepError::Fatal(format!("{}: {error}", local.display())))?;
    match at_least {
        Some(revision) if inspected.revision < revision => Err(StepError::Fatal(format!(
            "{} has revision {}, the plan says {revision}: plan again",
            local.display(),
            inspected.revision
        ))),
        _ => Ok(()),
    }
}

async fn digest(path: &Path) -> Result<String, StepError> {
    let path = path.to_path_buf();
    let hashed = tokio::task::spawn_blocking(move || {
        let (mut file, mut hasher) = (fs::File::open(&path)?, Sha256::new());
        let mut buffer = vec![0; 1 << 20];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok::<_, std::io::Error>(hasher.finalize()),
                read => hasher.update(buffer.get(..read).unwrap_or_default()),
            }
        }
    });
    let hashed = hashed.await.map_err(|error| StepError::Fatal(error.to_string()))??;
    Ok(hashed.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn aside_inside(context: &Context<'_>, spec: &MemberSpec) -> PathBuf {
    spec.data_dir.join(format!("{ASIDE_INSIDE}{}", context.plan.id))
}

fn aside_arguments(context: &Context<'_>, spec: &MemberSpec, to: &Path) -> [String; 3] {
    [&spec.data_dir, to, &aside_inside(context, spec)].map(|path: &Path| path.display().to_string())
}

/// Whether a member's old data dir has been moved.
pub(super) async fn is_aside(context: &Context<'_>, member: &str, to: &Path) -> Result<State, StepError> {
    let spec = context.member(member)?;
    let [_, to, inside] = aside_arguments(context, spec, to);
    match context.ask(&spec.host, Command::script(IS_ASIDE, [to, inside])).await?.trim() {
        "yes" => Ok(State::Done),
        _ => Ok(State::NotYet(format!("{member}'s old data dir is in its place"))),
    }
}

/// Renames a member's old data dir; where it is a mount point, what is in it.
pub(super) async fn move_aside(context: &Context<'_>, member: &str, to: &Path) -> Result<(), StepError> {
    let spec = context.member(member)?;
    let command = Command::script(MOVE_ASIDE, aside_arguments(context, spec, to));
    context.change(&spec.host, command.within(Duration::from_secs(60))).await?;
    Ok(())
}

fn cluster(initial_cluster: &str, token: &str) -> Result<InitialCluster, StepError> {
    InitialCluster::parse(initial_cluster, token).map_err(|error| StepError::Fatal(error.to_string()))
}

/// Whether a member's data dir, or the member that runs on it, belongs to the restored cluster.
pub(super) async fn is_restored(
    context: &Context<'_>,
    member: &str,
    initial_cluster: &str,
    token: &str,
) -> Result<State, StepError> {
    let spec = context.member(member)?;
    let expected = cluster(initial_cluster, token)?.id().to_string();
    let host = context.host(&spec.host)?;
    let shipped = Shipped::send(host.as_ref()).await?;
    let found = match ship::inspect_data_dir(host.as_ref(), &shipped, &spec.data_dir).await? {
        DataDir::Sound(state) => state.cluster_id,
        DataDir::InUse(Some(log)) => log.cluster_id,
        DataDir::InUse(None) => {
            format!("{:x}", context.etcd(member).await?.status().await?.header.cluster_id)
        }
        DataDir::Absent => return Ok(State::NotYet(format!("{member} has no data dir yet"))),
        DataDir::Damaged(why) => {
            return Ok(State::NotYet(format!("{member}'s data dir is damaged: {}", why.join("; "))));
        }
    };
    match found == expected {
        true => Ok(State::Done),
        false => Ok(State::NotYet(format!("{member}'s data dir belongs to cluster {found}"))),
    }
}

/// Writes a member's data dir from the distributed state, on its machine.
pub(super) async fn restore(
    context: &Context<'_>,
    member: &str,
    initial_cluster: &str,
    token: &str,
) -> Result<(), StepError> {
    let spec = context.member(member)?;
    let host = context.host(&spec.host)?;
    let shipped = Shipped::send(host.as_ref()).await?;
    let to = crate::planner::aside(&spec.data_dir, &context.plan.id);
    let leftover = Command::script(CLEAR_LEFTOVER, aside_arguments(context, spec, &to));
    context.change(&spec.host, leftover).await?;
    let (state, dir) = (context.remote_state().display().to_string(), spec.data_dir.display().to_string());
    let restore = shipped.command([
        "restore",
        &state,
        "--name",
        member,
        "--data-dir",
        &dir,
        "--initial-cluster",
        initial_cluster,
        "--initial-cluster-token",
        token,
        "--initial-advertise-peer-urls",
        &spec.peer_url,
    ]);
    let owner = spec.owner.clone().unwrap_or_default();
    let command = Command::script(RESTORE, [owner, dir].into_iter().chain(restore.argv));
    context.change(&spec.host, command.within(WORK)).await?;
    Ok(())
}

/// Whether nothing that was sent to the machines is left there.
pub(super) async fn is_clean(context: &Context<'_>, hosts: &[String]) -> Result<State, StepError> {
    let remote = context.remote_dir().display().to_string();
    for host in hosts {
        let command = Command::script(r#"if [ -e "$1" ]; then echo left; fi"#, [remote.as_str()]);
        if context.ask(host, command).await?.contains("left") {
            return Ok(State::NotYet(format!("{host} still has {remote}")));
        }
    }
    Ok(State::Done)
}

/// Removes from the machines what was sent there: Lifeboat's own copies, nothing else.
pub(super) async fn clean(context: &Context<'_>, hosts: &[String]) -> Result<(), StepError> {
    for host in hosts {
        let dir = context.remote_dir().display().to_string();
        context.change(host, Command::new(["rm", "-rf", "--", dir.as_str()])).await?;
        Shipped::forget(context.host(host)?.as_ref()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
