//! `member:NAME` as a source: a copy of this program runs the same verb on the member's machine, and its output and
//! exit code are passed on.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task;
use std::time::Duration;

use anyhow::{Context as _, Result};
use lifeboat_etcd::{LogPosition, Source, is_data_dir, log_position};
use lifeboat_recovery::agent::Agent;
use lifeboat_recovery::host::{Command, Host, hosts};
use lifeboat_recovery::inventory::{HostSpec, Inventory};
use tokio::io::AsyncWrite;

use crate::commands::Context;
use crate::commands::comparison::Compared;
use crate::exit::{Refused, Status, Usage};
use crate::inventory::InventoryArgs;
use crate::output::ReaderGone;
use crate::source::ReplayArgs;
use crate::terminal;

/// Timeout of a verb on a machine: a check reads every page of a db of gigabytes.
const LIMIT: Duration = Duration::from_secs(1800);

/// A local source, or a member of the inventory.
#[derive(Debug, clap::Args)]
pub struct SourceArg {
    /// Snapshot, db file, or data dir of a stopped member. member:NAME is the data dir of a member in the inventory,
    /// read on its machine.
    source: PathBuf,

    #[command(flatten)]
    replay: ReplayArgs,

    /// WAL dir of a data dir, if etcd ran with --wal-dir.
    #[arg(long, value_name = "DIR")]
    wal_dir: Option<PathBuf>,

    #[command(flatten)]
    inventory: InventoryArgs,

    /// Path of member:NAME on this machine; passed by the Lifeboat that has sent this program here.
    #[arg(long, hide = true, value_name = "DIR")]
    member_dir: Option<PathBuf>,
}

impl SourceArg {
    /// Runs the verb on the source's machine, unless the source is local.
    pub fn run_remotely(&self, context: &Context) -> Result<Option<Status>> {
        match (member_name(&self.source), &self.member_dir) {
            (Some(name), None) => run(&self.inventory, name, context).map(Some),
            _ => Ok(None),
        }
    }

    /// Opens a local source.
    pub fn open(&self) -> Result<Box<dyn Source>> {
        self.replay.open(self.path(), self.wal_dir.as_deref())
    }

    /// Opens a local source without warnings, for a verb that reports them itself.
    pub fn open_quietly(&self) -> Result<Box<dyn Source>> {
        self.replay.open_quietly(self.path(), self.wal_dir.as_deref())
    }

    /// Compares it with other sources; all must be local.
    pub fn compare_with(&self, others: &[PathBuf], context: &Context) -> Result<Compared> {
        if self.wal_dir.is_some() {
            return Err(Usage("--wal-dir requires a single source".into()).into());
        }
        if self.replay.base.is_some() {
            let why = "--base requires a single source; with several, those that fit are used as bases automatically";
            return Err(Usage(why.into()).into());
        }
        Compared::new(&self.source, others, &self.replay, context)
    }

    /// How far the log of a local data dir goes.
    pub fn log_position(&self) -> Result<LogPosition> {
        if is_data_dir(self.path())? {
            return Ok(log_position(self.path(), self.wal_dir.as_deref())?);
        }
        Err(Usage("--raft requires a data dir; other sources have no log".into()).into())
    }

    /// Its local path.
    pub fn path(&self) -> &Path {
        self.member_dir.as_deref().unwrap_or(&self.source)
    }

    /// Its name on the command line.
    pub fn name(&self) -> String {
        self.source.display().to_string()
    }
}

/// The name in `member:NAME`.
pub fn member_name(source: &Path) -> Option<&str> {
    source.to_str()?.strip_prefix("member:")
}

/// The error for a member that is not in the inventory.
pub fn no_such_member(name: &str, inventory: &Inventory) -> anyhow::Error {
    let known = inventory.etcd.members.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    Usage(format!("no etcd member {name} in the inventory, which has {known}")).into()
}

/// The error for `member:NAME` with a verb that only reads local sources.
pub fn local_only(verb: &str, member: &str) -> anyhow::Error {
    let why = format!(
        "{verb} only reads local sources: run it on the machine of {member}, or copy its data dir here; `lifeboat recover` \
         restores a whole cluster from its members in place"
    );
    Usage(why).into()
}

fn run(inventory: &InventoryArgs, name: &str, context: &Context) -> Result<Status> {
    let (_, inventory) = inventory.load()?;
    let Some(member) = inventory.etcd.members.get(name) else {
        return Err(no_such_member(name, &inventory));
    };
    let hosts = hosts(&inventory);
    let (Some(host), Some(spec)) = (hosts.get(&member.host), inventory.hosts.get(&member.host)) else {
        return Err(Usage(format!("no host {} in the inventory", member.host)).into());
    };
    let mut arguments = arguments(std::env::args_os().skip(1))?;
    arguments.push(format!("--member-dir={}", member.data_dir.display()));
    if !context.progress.is_quiet() {
        // Progress would arrive in one piece, at the end.
        arguments.push("--quiet".into());
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("start runtime")?;
    runtime.block_on(run_on(host.as_ref(), spec, arguments))
}

async fn run_on(host: &dyn Host, spec: &HostSpec, arguments: Vec<String>) -> Result<Status> {
    if let Some(expected) = &spec.machine_id {
        let found = host.run_ok(&Command::new(["cat", "/etc/machine-id"])).await?.text();
        if found.trim() != expected {
            let (name, found) = (host.name(), terminal::printable(found.trim().as_bytes()));
            let why = format!(
                "{name} is the wrong machine: its machine id is {found}, the inventory has {expected}"
            );
            return Err(Refused(why).into());
        }
    }
    let agent = Agent::send(host).await?;
    let mut stdout = Stdout::new();
    let command = agent.command(arguments).within(LIMIT);
    let ended = host.pipe(&command, &mut tokio::io::empty(), &mut stdout).await;
    if !agent.was_there() {
        // A copy that a recovery has sent stays for the recovery.
        Agent::forget(host).await?;
    }
    if stdout.reader_gone {
        return Err(ReaderGone.into());
    }
    let ended = ended?;
    let stderr = String::from_utf8_lossy(&ended.stderr);
    if !stderr.trim().is_empty() {
        terminal::stderr_line(format_args!("{}", stderr.trim_end()));
    }
    Ok(Status::Remote(u8::try_from(ended.code).unwrap_or(1)))
}

/// The arguments as text, to be passed on.
fn arguments(given: impl Iterator<Item = OsString>) -> Result<Vec<String>> {
    let text = |argument: OsString| {
        let not_utf8 = |argument: OsString| {
            Usage(format!("{}: arguments for a member's machine must be valid UTF-8", argument.display()))
        };
        argument.into_string().map_err(not_utf8)
    };
    Ok(given.map(text).collect::<Result<_, _>>()?)
}

/// Our stdout. On a terminal, output from machines is escaped.
struct Stdout {
    terminal: bool,
    /// The start of a line that is not complete yet, on a terminal.
    line: Vec<u8>,
    reader_gone: bool,
}

impl Stdout {
    fn new() -> Self {
        Self { terminal: io::stdout().is_terminal(), line: Vec::new(), reader_gone: false }
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if !self.terminal {
            return out.write_all(bytes);
        }
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if let Some(line) = self.line.strip_suffix(b"\n") {
                writeln!(out, "{}", terminal::printable(line))?;
                self.line.clear();
            }
        }
        Ok(())
    }

    fn note_closed(&mut self, written: io::Result<()>) -> task::Poll<io::Result<()>> {
        self.reader_gone |= matches!(&written, Err(error) if error.kind() == io::ErrorKind::BrokenPipe);
        task::Poll::Ready(written)
    }
}

impl AsyncWrite for Stdout {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut task::Context<'_>,
        bytes: &[u8],
    ) -> task::Poll<io::Result<usize>> {
        let written = self.put(bytes);
        self.note_closed(written).map_ok(|()| bytes.len())
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut task::Context<'_>) -> task::Poll<io::Result<()>> {
        let rest = terminal::printable(&std::mem::take(&mut self.line));
        let mut out = io::stdout().lock();
        let written = out.write_all(rest.as_bytes()).and_then(|()| out.flush());
        self.note_closed(written)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut task::Context<'_>) -> task::Poll<io::Result<()>> {
        self.poll_flush(context)
    }
}
