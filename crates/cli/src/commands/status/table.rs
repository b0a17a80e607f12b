//! `status` for people: a table for each layer, aligned, in colour where that is wanted.

use std::io::{self, Write};

use lifeboat_recovery::finding::Severity;

use crate::output::bytes;
use crate::paint::Paint;
use crate::terminal::printable;

use super::body::{Body, Controller, DiskRow, State};

pub(super) fn write(out: &mut dyn Write, body: &Body, paint: Paint) -> io::Result<()> {
    heading(out, body, paint)?;
    let mut tables = Tables { out, paint };
    tables.hosts(body)?;
    tables.members(body)?;
    tables.masters(body)?;
    tables.nodes(body)?;
    tables.checks(body)?;
    if body.single_points_of_failure.is_empty() {
        return Ok(());
    }
    writeln!(tables.out, "{}", paint.strong("Single points of failure"))?;
    body.single_points_of_failure.iter().try_for_each(|point| writeln!(tables.out, "  {}", shown(point)))
}

fn heading(out: &mut dyn Write, body: &Body, paint: Paint) -> io::Result<()> {
    let cluster = paint.strong(shown(&body.cluster));
    match &body.worst {
        None if body.healthy => writeln!(out, "{cluster}: {}", paint.good("nothing found"))?,
        None => writeln!(
            out,
            "{cluster}: nothing found in what could be asked; what is not known: lifeboat diagnose"
        )?,
        Some(worst) => {
            let severity = paint.severity(worst.severity, worst.severity);
            let others = match body.causes {
                0 | 1 => String::new(),
                more => format!(" and {} more", more - 1),
            };
            writeln!(out, "{cluster}: {severity}: {} [{}]{others}", shown(&worst.summary), worst.id)?;
        }
    }
    writeln!(out)
}

/// A cell, and how it is painted.
type Cell = (String, Tone);

#[derive(Clone, Copy)]
enum Tone {
    Plain,
    Good,
    Bad,
    Dim,
}

struct Tables<'a> {
    out: &'a mut dyn Write,
    paint: Paint,
}

impl Tables<'_> {
    fn hosts(&mut self, body: &Body) -> io::Result<()> {
        let row = |host: &super::body::HostRow| {
            let clock = host.clock_offset.map_or("-".into(), |offset| format!("{offset:+.1} s"));
            let disks = host.disks.iter().map(free).collect::<Vec<_>>().join(", ");
            let roles = host.roles.join(", ");
            vec![
                plain(&host.name),
                plain(&host.address),
                state(host.state),
                plain(&clock),
                plain(&disks),
                plain(&roles),
            ]
        };
        self.table(
            &["MACHINE", "ADDRESS", "STATE", "CLOCK", "FREE", "ROLES"],
            body.hosts.iter().map(row).collect(),
        )
    }

    fn members(&mut self, body: &Body) -> io::Result<()> {
        let row = |member: &super::body::MemberRow| {
            let size = |size: Option<u64>| size.map_or("-".into(), bytes);
            let number = |revision: Option<i64>| revision.map_or("-".into(), |revision| revision.to_string());
            let leads = if member.leader { "leads" } else { "" };
            vec![
                plain(&member.name),
                state(member.state),
                plain(leads),
                plain(&number(member.revision)),
                plain(&size(member.db_size)),
                plain(&size(member.db_size_in_use)),
                plain(member.version.as_deref().unwrap_or("-")),
            ]
        };
        let titles = ["ETCD", "STATE", "", "REVISION", "DB", "IN USE", "VERSION"];
        self.table(&titles, body.members.iter().map(row).collect())
    }

    fn masters(&mut self, body: &Body) -> io::Result<()> {
        let row = |master: &super::body::MasterRow| {
            let days = master.certificate_days.map_or("-".into(), |days| format!("{days} days"));
            let controllers = [master.controller_manager, master.scheduler].map(controller);
            let [manager, scheduler] = controllers;
            vec![plain(&master.name), state(master.api), plain(&days), manager, scheduler]
        };
        let titles = ["MASTER", "API", "CERTIFICATE", "CONTROLLER-MANAGER", "SCHEDULER"];
        self.table(&titles, body.masters.iter().map(row).collect())
    }

    fn nodes(&mut self, body: &Body) -> io::Result<()> {
        let row = |node: &super::body::NodeRow| {
            let cordoned = if node.cordoned == Some(true) { "cordoned" } else { "" };
            vec![
                plain(&node.name),
                state(node.state),
                plain(node.ready.as_deref().unwrap_or("-")),
                plain(cordoned),
            ]
        };
        self.table(&["NODE", "STATE", "READY", ""], body.nodes.iter().map(row).collect())
    }

    fn checks(&mut self, body: &Body) -> io::Result<()> {
        let row = |check: &super::body::CheckRow| {
            vec![plain(&check.name), state(check.state), plain(&check.detail)]
        };
        self.table(&["CHECK", "STATE", "ANSWER"], body.checks.iter().map(row).collect())
    }

    /// Columns as wide as their widest cell, and an empty line behind; nothing for no rows.
    fn table(&mut self, titles: &[&str], rows: Vec<Vec<Cell>>) -> io::Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let titles = titles.iter().map(|title| ((*title).to_owned(), Tone::Dim)).collect();
        let lines: Vec<Vec<Cell>> = std::iter::once(titles).chain(rows).collect();
        let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            lines
                .iter()
                .filter_map(|line| line.get(column))
                .map(|(text, _)| text.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for line in &lines {
            let last = line.iter().rposition(|(text, _)| !text.is_empty()).unwrap_or(0);
            for (column, ((text, tone), width)) in line.iter().zip(&widths).enumerate().take(last + 1) {
                let gap = if column == last { 0 } else { width - text.chars().count() + 2 };
                self.cell(text, *tone)?;
                write!(self.out, "{:gap$}", "")?;
            }
            writeln!(self.out)?;
        }
        writeln!(self.out)
    }

    fn cell(&mut self, text: &str, tone: Tone) -> io::Result<()> {
        match tone {
            Tone::Plain => write!(self.out, "{text}"),
            Tone::Good => write!(self.out, "{}", self.paint.good(text)),
            Tone::Bad => write!(self.out, "{}", self.paint.severity(Severity::Error, text)),
            Tone::Dim => write!(self.out, "{}", self.paint.dim(text)),
        }
    }
}

fn plain(text: &str) -> Cell {
    (shown(text), Tone::Plain)
}

fn state(state: State) -> Cell {
    match state {
        State::Ok => ("ok".into(), Tone::Good),
        State::Unknown => ("unknown".into(), Tone::Dim),
        State::Found(id) => (id.to_string(), Tone::Bad),
    }
}

fn controller(controller: Controller) -> Cell {
    match controller {
        Controller::Leads => ("leads".into(), Tone::Plain),
        Controller::Runs => ("runs".into(), Tone::Plain),
        Controller::Stopped => ("stopped".into(), Tone::Bad),
        Controller::Unknown => ("unknown".into(), Tone::Dim),
    }
}

fn free(disk: &DiskRow) -> String {
    format!("{} of {}", bytes(disk.available), disk.mount.display())
}

/// Machines say what they like; a terminal must not obey it.
fn shown(text: &str) -> String {
    printable(text.as_bytes())
}
