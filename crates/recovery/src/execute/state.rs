//! The data dirs of a restore: the old moved aside, the new written.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lifeboat_etcd::InitialCluster;

use crate::facts::DataDir;
use crate::host::Command;
use crate::inventory::MemberSpec;
use crate::ship::{self, Shipped};

use super::context::Context;
use super::error::StepError;
use super::{State, distribute};

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

pub(super) fn aside_inside(context: &Context<'_>, spec: &MemberSpec) -> PathBuf {
    spec.data_dir.join(format!("{ASIDE_INSIDE}{}", context.plan.id))
}

pub(super) fn aside_arguments(context: &Context<'_>, spec: &MemberSpec, to: &Path) -> [String; 3] {
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
    distribute::ensure_delivered(context, &spec.host).await?;
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
