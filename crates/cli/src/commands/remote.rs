//! `member:NAME` as a source: the same verb, run on the member's machine by the same Lifeboat, where the data is.
//! What it prints and how it ends comes through.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::pin::Pin;
use std::task;
use std::time::Duration;

use anyhow::{Context as _, Result};
use lifeboat_etcd::Source;
use lifeboat_recovery::host::{Command, Host, hosts};
use lifeboat_recovery::inventory::HostSpec;
use lifeboat_recovery::ship::Shipped;
use tokio::io::AsyncWrite;

use crate::commands::Context;
use crate::exit::{Refused, Status, Usage};
use crate::inventory::InventoryArgs;
use crate::output::{self, ReaderGone};
use crate::source::SourceArgs;

/// Longest a verb may take on a machine: a check reads every page of gigabytes.
const LIMIT: Duration = Duration::from_secs(1800);

/// A source here, or a member of the inventory.
#[derive(Debug, clap::Args)]
pub struct AnySource {
    #[command(flatten)]
    source: SourceArgs,

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
        match (self.member(), &self.member_dir) {
            (Some(name), None) => run(&self.inventory, &name, context).map(Some),
            _ => Ok(None),
        }
    }

    /// Opens a source that is here.
    pub fn open(&self) -> Result<Box<dyn Source>> {
        match &self.member_dir {
            Some(dir) => self.source.at(dir).open(self.wal_dir.as_deref()),
            None => self.source.open(self.wal_dir.as_deref()),
        }
    }

    /// A data dir that is here.
    pub fn data_dir(&self) -> Result<PathBuf> {
        let dir = self.member_dir.clone().unwrap_or_else(|| self.source.name().into());
        if dir.join("member").is_dir() {
            return Ok(dir);
        }
        Err(Usage(format!("{} is no data dir of an etcd member", dir.display())).into())
    }

    /// As it was named.
    pub fn name(&self) -> String {
        self.source.name()
    }

    fn member(&self) -> Option<String> {
        self.source.name().strip_prefix("member:").map(str::to_owned)
    }
}

fn run(inventory: &InventoryArgs, name: &str, context: &Context) -> Result<Status> {
    let (_, inventory) = inventory.load()?;
    let Some(member) = inventory.etcd.members.get(name) else {
        let known = inventory.etcd.members.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        return Err(Usage(format!("the inventory has no etcd member {name}; it has {known}")).into());
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
            let (name, found) = (host.name(), output::printable(found.trim().as_bytes()));
            let why =
                format!("{name} is another machine: its machine id is {found}, the inventory has {expected}");
            return Err(Refused(why).into());
        }
    }
    let shipped = Shipped::send(host).await?;
    let mut stdout = Stdout::new();
    let command = shipped.command(arguments).within(LIMIT);
    let ended = host.pipe(&command, &mut tokio::io::empty(), &mut stdout).await;
    if !shipped.was_there() {
        // What a recovery has sent stays for the recovery.
        Shipped::forget(host).await?;
    }
    if stdout.reader_gone {
        return Err(ReaderGone.into());
    }
    let ended = ended?;
    let said = String::from_utf8_lossy(&ended.stderr);
    said.lines().for_each(|line| eprintln!("{}", output::printable(line.as_bytes())));
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
                writeln!(out, "{}", output::printable(line))?;
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
        let rest = output::printable(&std::mem::take(&mut self.line));
        let mut out = io::stdout().lock();
        let written = out.write_all(rest.as_bytes()).and_then(|()| out.flush());
        self.noted(written)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut task::Context<'_>) -> task::Poll<io::Result<()>> {
        self.poll_flush(context)
    }
}
