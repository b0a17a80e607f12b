//! The text output of `status`: a table for each layer.

use std::io::{self, Write};

use lifeboat_recovery::finding::Severity;

use crate::output::bytes;
use crate::styles::Styles;
use crate::terminal::printable;

use super::view::{Controller, DiskRow, State, StatusView};

pub(super) fn write(out: &mut dyn Write, view: &StatusView, styles: Styles) -> io::Result<()> {
    heading(out, view, styles)?;
    let mut tables = Tables { out, styles };
    tables.hosts(view)?;
    tables.members(view)?;
    tables.control_plane(view)?;
    tables.nodes(view)?;
    tables.checks(view)?;
    if view.single_points_of_failure.is_empty() {
        return Ok(());
    }
    writeln!(tables.out, "{}", styles.strong("Single points of failure"))?;
    view.single_points_of_failure.iter().try_for_each(|point| writeln!(tables.out, "  {}", escaped(point)))
}

fn heading(out: &mut dyn Write, view: &StatusView, styles: Styles) -> io::Result<()> {
    let cluster = styles.strong(escaped(&view.cluster));
    match &view.worst {
        None if view.healthy => writeln!(out, "{cluster}: {}", styles.good("no problems found"))?,
        None => writeln!(
            out,
            "{cluster}: no problems found, but not everything could be determined: see lifeboat diagnose"
        )?,
        Some(worst) => {
            let severity = styles.severity(worst.severity, worst.severity);
            let others = match view.causes {
                0 | 1 => String::new(),
                more => format!(" and {} more", more - 1),
            };
            writeln!(out, "{cluster}: {severity}: {} [{}]{others}", escaped(&worst.summary), worst.id)?;
        }
    }
    writeln!(out)
}

/// The text of a cell and its style.
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
    styles: Styles,
}

impl Tables<'_> {
    fn hosts(&mut self, view: &StatusView) -> io::Result<()> {
        let row = |host: &super::view::HostRow| {
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
            view.hosts.iter().map(row).collect(),
        )
    }

    fn members(&mut self, view: &StatusView) -> io::Result<()> {
        let row = |member: &super::view::MemberRow| {
            let size = |size: Option<u64>| size.map_or("-".into(), bytes);
            let number = |revision: Option<i64>| revision.map_or("-".into(), |revision| revision.to_string());
            let leader = if member.leader { "leader" } else { "" };
            vec![
                plain(&member.name),
                state(member.state),
                plain(leader),
                plain(&number(member.revision)),
                plain(&size(member.db_size)),
                plain(&size(member.db_size_in_use)),
                plain(member.version.as_deref().unwrap_or("-")),
            ]
        };
        let titles = ["ETCD", "STATE", "", "REVISION", "DB", "IN USE", "VERSION"];
        self.table(&titles, view.members.iter().map(row).collect())
    }

    fn control_plane(&mut self, view: &StatusView) -> io::Result<()> {
        let row = |machine: &super::view::ControlPlaneRow| {
            let days = machine.certificate_days.map_or("-".into(), |days| format!("{days} days"));
            let controllers = [machine.controller_manager, machine.scheduler].map(controller);
            let [manager, scheduler] = controllers;
            vec![plain(&machine.name), state(machine.api), plain(&days), manager, scheduler]
        };
        let titles = ["CONTROL-PLANE", "API", "CERTIFICATE", "CONTROLLER-MANAGER", "SCHEDULER"];
        self.table(&titles, view.control_plane.iter().map(row).collect())
    }

    fn nodes(&mut self, view: &StatusView) -> io::Result<()> {
        let row = |node: &super::view::NodeRow| {
            let cordoned = if node.cordoned == Some(true) { "cordoned" } else { "" };
            vec![
                plain(&node.name),
                state(node.state),
                plain(node.ready.as_deref().unwrap_or("-")),
                plain(cordoned),
            ]
        };
        self.table(&["NODE", "STATE", "READY", ""], view.nodes.iter().map(row).collect())
    }

    fn checks(&mut self, view: &StatusView) -> io::Result<()> {
        let row = |check: &super::view::CheckRow| {
            vec![plain(&check.name), state(check.state), plain(&check.detail)]
        };
        self.table(&["CHECK", "STATE", "ANSWER"], view.checks.iter().map(row).collect())
    }

    /// Writes aligned columns and an empty line; nothing if there are no rows.
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
            Tone::Good => write!(self.out, "{}", self.styles.good(text)),
            Tone::Bad => write!(self.out, "{}", self.styles.severity(Severity::Error, text)),
            Tone::Dim => write!(self.out, "{}", self.styles.dim(text)),
        }
    }
}

fn plain(text: &str) -> Cell {
    (escaped(text), Tone::Plain)
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
        Controller::Leads => ("leader".into(), Tone::Plain),
        Controller::Runs => ("running".into(), Tone::Plain),
        Controller::Stopped => ("stopped".into(), Tone::Bad),
        Controller::Unknown => ("unknown".into(), Tone::Dim),
    }
}

fn free(disk: &DiskRow) -> String {
    format!("{} of {}", bytes(disk.available), disk.mount.display())
}

/// Escapes text from machines.
fn escaped(text: &str) -> String {
    printable(text.as_bytes())
}
