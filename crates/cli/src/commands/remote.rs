//! `member:NAME` as a source: the same verb, run on the member's machine by the same Lifeboat, where the data is.
//! What it prints and how it ends comes through.

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
use crate::comparison::Compared;
use crate::exit::{Refused, Status, Usage};
use crate::inventory::InventoryArgs;
use crate::output::ReaderGone;
use crate::source::ReplayArgs;
use crate::terminal;

/// Longest a verb may take on a machine: a check reads every page of gigabytes.
const LIMIT: Duration = Duration::from_secs(1800);

/// A source here, or a member of the inventory.
#[derive(Debug, clap::Args)]
pub struct AnySource {
    /// Snapshot, db file, or the data dir of a stopped member; member:NAME is the data dir of a member in the
    /// inventory, read on its machine.
    source: PathBuf,

    #[command(flatten)]
    replay: ReplayArgs,

    /// Where the log of a data dir is, when etcd ran with --wal-dir.
    #[arg(long, value_name = "DIR")]
    wal_dir: Option<PathBuf>,

    #[command(flatten)]
    inventory: InventoryArgs,

    /// Where member:NAME is on this machine: what a Lifeboat elsewhere says to the one it has sent here.
    #[arg(long, hide = true, value_name = "DIR")]
    member_dir: Option<PathBuf>,
}

impl AnySource {
    /// Runs the verb where the source is, if that is not here.
    pub fn elsewhere(&self, context: &Context) -> Result<Option<Status>> {
        match (member(&self.source), &self.member_dir) {
            (Some(name), None) => run(&self.inventory, name, context).map(Some),
            _ => Ok(None),
        }
    }

    /// Opens a source that is here.
    pub fn open(&self) -> Result<Box<dyn Source>> {
        self.replay.open(self.path(), self.wal_dir.as_deref())
    }

    /// Opens a source that is here and whose log is going to be checked.
    pub fn open_unwarned(&self) -> Result<Box<dyn Source>> {
        self.replay.open_unwarned(self.path(), self.wal_dir.as_deref())
    }

    /// Compares it with others; all of them are here.
    pub fn beside(&self, others: &[PathBuf], context: &Context) -> Result<Compared> {
        if self.wal_dir.is_some() {
            return Err(Usage("--wal-dir is for one data dir, and there are several sources".into()).into());
        }
        if self.replay.base.is_some() {
            let why =
                "--base is for one data dir: of several sources, those that fit are used as such anyway";
            return Err(Usage(why.into()).into());
        }
        Compared::new(&self.source, others, &self.replay, context)
    }

    /// How far the log of a data dir goes that is here.
    pub fn log_position(&self) -> Result<LogPosition> {
        if is_data_dir(self.path())? {
            return Ok(log_position(self.path(), self.wal_dir.as_deref())?);
        }
        Err(Usage("--raft is for a data dir: other sources have no log".into()).into())
    }

    /// Where it is here.
    pub fn path(&self) -> &Path {
        self.member_dir.as_deref().unwrap_or(&self.source)
    }

    /// As it was named.
    pub fn name(&self) -> String {
        self.source.display().to_string()
    }
}

/// The name of the member that a source is the data dir of, elsewhere.
pub fn member(source: &Path) -> Option<&str> {
    source.to_str()?.strip_prefix("member:")
}

/// A member that an inventory does not have.
pub fn no_such_member(name: &str, inventory: &Inventory) -> anyhow::Error {
    let known = inventory.etcd.members.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    Usage(format!("the inventory has no etcd member {name}; it has {known}")).into()
}

/// Why a verb does not take a member's data dir elsewhere.
pub fn only_here(verb: &str, member: &str) -> anyhow::Error {
    let why = format!(
        "{verb} reads what is on this machine: run it on {member}'s, or bring its data dir here; `lifeboat recover` \
         restores a whole cluster from its members where they are"
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
        return Err(Usage(format!("the inventory has no host {}", member.host)).into());
    };
    let mut arguments = arguments(std::env::args_os().skip(1))?;
    arguments.push(format!("--member-dir={}", member.data_dir.display()));
    if !context.progress.is_quiet() {
        // It would come in one piece, at the end.
        arguments.push("--quiet".into());
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("start runtime")?;
    runtime.block_on(on_machine(host.as_ref(), spec, arguments))
}

async fn on_machine(host: &dyn Host, spec: &HostSpec, arguments: Vec<String>) -> Result<Status> {
    if let Some(expected) = &spec.machine_id {
        let found = host.run_ok(&Command::new(["cat", "/etc/machine-id"])).await?.text();
        if found.trim() != expected {
            let (name, found) = (host.name(), terminal::printable(found.trim().as_bytes()));
            let why =
                format!("{name} is another machine: its machine id is {found}, the inventory has {expected}");
            return Err(Refused(why).into());
        }
    }
    let agent = Agent::send(host).await?;
    let mut stdout = Stdout::new();
    let command = agent.command(arguments).within(LIMIT);
    let ended = host.pipe(&command, &mut tokio::io::empty(), &mut stdout).await;
    if !agent.was_there() {
        // What a recovery has sent stays for the recovery.
        Agent::forget(host).await?;
    }
    if stdout.reader_gone {
        return Err(ReaderGone.into());
    }
    let ended = ended?;
    let said = String::from_utf8_lossy(&ended.stderr);
    if !said.trim().is_empty() {
        terminal::stderr_line(format_args!("{}", said.trim_end()));
    }
    Ok(Status::Elsewhere(u8::try_from(ended.code).unwrap_or(1)))
}

/// The same arguments, for there.
fn arguments(given: impl Iterator<Item = OsString>) -> Result<Vec<String>> {
    let text = |argument: OsString| {
        let no_text = |argument: OsString| {
            Usage(format!("{}: only text can be given to a member's machine", argument.display()))
        };
        argument.into_string().map_err(no_text)
    };
    Ok(given.map(text).collect::<Result<_, _>>()?)
}

/// Our stdout. Where it is a terminal, nothing that comes from a machine may drive it.
struct Stdout {
    terminal: bool,
    /// The begin of a line, on a terminal.
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

    fn noted(&mut self, written: io::Result<()>) -> task::Poll<io::Result<()>> {
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
        self.noted(written).map_ok(|()| bytes.len())
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut task::Context<'_>) -> task::Poll<io::Result<()>> {
        let rest = terminal::printable(&std::mem::take(&mut self.line));
        let mut out = io::stdout().lock();
        let written = out.write_all(rest.as_bytes()).and_then(|()| out.flush());
        self.noted(written)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut task::Context<'_>) -> task::Poll<io::Result<()>> {
        self.poll_flush(context)
    }
}
