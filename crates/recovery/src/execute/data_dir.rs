//! Data dirs of members: the old one moved aside, the new one written, and proof that what runs is what was written.
//!
//! All paths are those the plan has shown: real ones, with symbolic links resolved when the plan was made.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lifeboat_etcd::InitialCluster;
use serde::{Deserialize, Serialize};

use crate::agent::{self, Agent, LogPlace};
use crate::facts::{DataDir, DataDirs, MemberStatus};
use crate::host::Command;
use crate::inventory::{MemberSpec, Service};
use crate::plan::{Action, RestoredCluster};

use super::context::Context;
use super::error::StepError;
use super::{State, distribute};

/// A db of some gigabytes is read and written in a minute; a disk that is about to die takes longer.
const WORK: Duration = Duration::from_secs(900);

/// What a data dir that is a mount point keeps its old content in.
const ASIDE_INSIDE: &str = "lifeboat-aside-";

const IS_ASIDE: &str = r#"if [ -e "$1" ] || [ -e "$2" ]; then echo yes; else echo no; fi"#;
const MOVE_ASIDE: &str = concat!(include_str!("../host/lock.sh"), include_str!("data_dir/move_aside.sh"));
const RESTORE: &str = include_str!("data_dir/restore.sh");
const OWN: &str = include_str!("data_dir/own.sh");

/// Whether a restore of this member was interrupted: its temporary directory exists.
const IS_PARTIAL: &str =
    r#"for stage in "$1"/.lifeboat-restoring-*; do if [ -e "$stage" ]; then echo yes; fi; done"#;

/// What is noted once a restored data dir has its owner, and of what was written.
const OWNED: &str = "owned";
const WRITTEN: &str = "written ";

/// What `lifeboat restore -o json` says it wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    revision: i64,
    hash: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    older_hash: Option<u32>,
}

/// New paths of a member's old data.
pub(super) struct Aside {
    to: PathBuf,
    inside: PathBuf,
    wal: Option<PathBuf>,
}

impl Aside {
    pub(super) fn of(context: &Context<'_>, dirs: &DataDirs) -> Self {
        let aside = |dir: &PathBuf| crate::plan::aside(dir, &context.plan.id);
        Self {
            to: aside(&dirs.data),
            inside: dirs.data.join(format!("{ASIDE_INSIDE}{}", context.plan.id)),
            wal: dirs.wal.as_ref().map(aside),
        }
    }

    /// The arguments of `move_aside.sh` and `put_back.sh`.
    pub(super) fn arguments(&self, dirs: &DataDirs) -> [String; 5] {
        [
            text(&dirs.data),
            text(&self.to),
            text(&self.inside),
            or_empty(dirs.wal.as_ref()),
            or_empty(self.wal.as_ref()),
        ]
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn or_empty(path: Option<&PathBuf>) -> String {
    path.map(|path| text(path)).unwrap_or_default()
}

/// Whether a member's old data dir has been moved.
pub(super) async fn is_aside(
    context: &Context<'_>,
    member: &str,
    dirs: &DataDirs,
) -> Result<State, StepError> {
    let spec = context.member(member)?;
    let aside = Aside::of(context, dirs);
    let arguments = [text(&aside.to), text(&aside.inside)];
    match context.ask(&spec.host, Command::script(IS_ASIDE, arguments)).await?.trim() {
        "yes" => Ok(State::Done),
        _ => Ok(State::NotYet(format!("{member}'s old data dir is in its place"))),
    }
}

/// Renames a member's old data dir, and its WAL dir; where the data dir is a mount point, what is in it.
pub(super) async fn move_aside(
    context: &Context<'_>,
    member: &str,
    dirs: &DataDirs,
) -> Result<(), StepError> {
    let spec = context.member(member)?;
    let aside = Aside::of(context, dirs);
    let command = Command::script(MOVE_ASIDE, aside.arguments(dirs)).within(Duration::from_secs(60));
    context.change(&spec.host, command).await?;
    Ok(())
}

/// Where a member's old data is: moved aside by this plan already, or still in its place.
pub(super) async fn now(
    context: &Context<'_>,
    member: &str,
    spec: &MemberSpec,
) -> Result<DataDirs, StepError> {
    let moved = context.plan.steps.iter().find_map(|step| match &step.action {
        Action::MoveAside { member: moved, dirs, .. } if moved == member => Some(dirs),
        _ => None,
    });
    let Some(dirs) = moved else {
        return Ok(DataDirs { data: spec.data_dir.clone(), wal: spec.wal_dir.clone() });
    };
    let aside = Aside::of(context, dirs);
    let script = r#"for dir in "$1" "$2"; do if [ -e "$dir/member" ]; then echo "$dir"; fi; done"#;
    let said =
        context.ask(&spec.host, Command::script(script, [text(&aside.to), text(&aside.inside)])).await?;
    Ok(match said.lines().next() {
        Some(found) => DataDirs { data: found.into(), wal: aside.wal },
        None => dirs.clone(),
    })
}

fn cluster(initial_cluster: &str, token: &str) -> Result<InitialCluster, StepError> {
    InitialCluster::parse(initial_cluster, token).map_err(|error| StepError::Fatal(error.to_string()))
}

/// Whether a member's data dir, or the member that runs on it, belongs to the restored cluster, and to its owner.
pub(super) async fn is_restored(
    context: &Context<'_>,
    step: u32,
    member: &str,
    restored: &RestoredCluster,
    dirs: &DataDirs,
) -> Result<State, StepError> {
    let spec = context.member(member)?;
    let expected = cluster(&restored.initial_cluster, &restored.token)?.id().to_string();
    let host = context.host(&spec.host)?;
    if context.ask(&spec.host, Command::script(IS_PARTIAL, [text(&dirs.data)])).await?.contains("yes") {
        return Ok(State::NotYet(format!("{member}'s restore was interrupted")));
    }
    let agent = Agent::send(host.as_ref()).await?;
    let found = match agent::inspect_data_dir(
        host.as_ref(),
        &agent,
        &dirs.data,
        dirs.wal.as_deref(),
        LogPlace::Known,
    )
    .await?
    {
        DataDir::Sound(state) => state.cluster_id,
        DataDir::InUse(Some(log)) => log.cluster_id,
        DataDir::InUse(None) => {
            format!("{:x}", context.etcd(member).await?.status().await?.header.cluster_id)
        }
        DataDir::Absent => return Ok(State::NotYet(format!("{member} has no data dir yet"))),
        DataDir::Damaged(damage) => {
            let why = damage.why.join("; ");
            return Ok(State::NotYet(format!("{member}'s data dir is damaged: {why}")));
        }
    };
    if found != expected {
        return Ok(State::NotYet(format!("{member}'s data dir belongs to cluster {found}")));
    }
    match context.notes(step).iter().any(|note| note == OWNED) {
        true => Ok(State::Done),
        false => Ok(State::NotYet(format!("{member}'s data dir does not have its owner yet"))),
    }
}

/// Writes a member's data dir from the distributed state, on its machine, and gives it to its owner.
pub(super) async fn restore(
    context: &Context<'_>,
    step: u32,
    member: &str,
    restored: &RestoredCluster,
    dirs: &DataDirs,
) -> Result<(), StepError> {
    let spec = context.member(member)?;
    let host = context.host(&spec.host)?;
    distribute::ensure_delivered(context, &spec.host).await?;
    let agent = Agent::send(host.as_ref()).await?;
    let (state, dir) = (text(&context.remote_state()), text(&dirs.data));
    let mut arguments = vec![
        "restore",
        &state,
        "--name",
        member,
        "--data-dir",
        &dir,
        "--initial-cluster",
        &restored.initial_cluster,
        "--initial-cluster-token",
        &restored.token,
        "--initial-advertise-peer-urls",
        &spec.peer_url,
        "--quiet",
        "-o",
        "json",
    ];
    let wal = or_empty(dirs.wal.as_ref());
    if !wal.is_empty() {
        arguments.extend(["--wal-dir", wal.as_str()]);
    }
    let command =
        Command::script(RESTORE, [dir.clone(), wal.clone()].into_iter().chain(agent.command(arguments).argv));
    let output = context.change(&spec.host, command.within(WORK)).await?;
    if let Ok(written) = serde_json::from_slice::<Written>(&output.stdout) {
        let written = serde_json::to_string(&written).map_err(|error| StepError::Fatal(error.to_string()))?;
        context.note(step, format!("{WRITTEN}{written}"))?;
    }
    own(context, spec, dirs).await?;
    context.note(step, OWNED.into())
}

/// Gives a new data dir what the old one had: owner, mode, label, ACL.
pub(super) async fn own(context: &Context<'_>, spec: &MemberSpec, dirs: &DataDirs) -> Result<(), StepError> {
    let aside = Aside::of(context, dirs);
    let unit = match &spec.service {
        Service::Unit(unit) => unit.clone(),
        Service::StaticPod(_) => String::new(),
    };
    let arguments = [
        text(&dirs.data),
        text(&aside.to),
        text(&aside.inside),
        or_empty(dirs.wal.as_ref()),
        or_empty(aside.wal.as_ref()),
        spec.owner.clone().unwrap_or_default(),
        unit,
    ];
    context.change(&spec.host, Command::script(OWN, arguments).within(Duration::from_secs(120))).await?;
    Ok(())
}

/// What a member that serves must show after a restore: the ids that were written, and a revision no lower.
pub(super) fn identity(
    context: &Context<'_>,
    member: &str,
    status: &MemberStatus,
    restored: &RestoredCluster,
) -> Result<(), StepError> {
    let spec = context.member(member)?;
    let cluster = cluster(&restored.initial_cluster, &restored.token)?;
    let own = cluster.members().into_iter().find(|known| known.name == member);
    let own =
        own.ok_or_else(|| StepError::Fatal(format!("{member} is not in {}", restored.initial_cluster)))?;
    let written = (cluster.id().to_string(), own.id.to_string());
    let dir = spec.data_dir.display();
    if (&status.cluster_id, &status.member_id) != (&written.0, &written.1) {
        return Err(StepError::Fatal(format!(
            "{member} serves as member {} of cluster {}, and member {} of cluster {} was written to {dir}: its etcd does not \
             run on what was restored; stop it, correct dataDir in the inventory or the unit, and plan again",
            status.member_id, status.cluster_id, written.1, written.0
        )));
    }
    let revision = self::written(context).map(|written| written.revision);
    match revision {
        Some(revision) if status.revision < revision => Err(StepError::Fatal(format!(
            "{member} serves revision {}, and revision {revision} was written to {dir}",
            status.revision
        ))),
        _ => Ok(()),
    }
}

/// Fails where HashKV of a member, up to the revision that was written, is not what was written. Where a run was killed
/// before it could note that, only the ids are compared.
pub(super) async fn same_data(context: &Context<'_>, member: &str) -> Result<(), StepError> {
    let Some(written) = written(context) else { return Ok(()) };
    let client = context.etcd(member).await?;
    let answer = client.hash_kv(written.revision).await?;
    if answer.hash == written.hash || written.older_hash == Some(answer.hash) {
        return Ok(());
    }
    Err(StepError::Fatal(format!(
        "{member}'s HashKV at revision {} is {:08x}, and {:08x} was written: keep clients out and check its log",
        written.revision, answer.hash, written.hash
    )))
}

/// What the restores of this plan wrote: the same for every member.
fn written(context: &Context<'_>) -> Option<Written> {
    let restores =
        context.plan.steps.iter().filter(|step| matches!(step.action, Action::RestoreMember { .. }));
    let notes = restores.flat_map(|step| context.notes(step.number));
    notes.into_iter().find_map(|note| serde_json::from_str(note.strip_prefix(WRITTEN)?).ok())
}

#[cfg(test)]
mod tests;
