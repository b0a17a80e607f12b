//! Results on stdout: text for people, JSON and YAML for programs.

use std::io::{self, Write};

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::Serialize;

use crate::styles::Styles;
use crate::terminal::{Escape, Filter, printable};

/// Version of the JSON and YAML written; raised when a field changes its meaning or goes away.
pub const SCHEMA_VERSION: u32 = 1;

/// How results are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text for people.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
}

/// A document as programs get it: `schemaVersion` and the fields of `view`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a, T> {
    schema_version: u32,
    #[serde(flatten)]
    view: &'a T,
}

/// Stdout was closed by a reader such as `head` that has seen enough: no failure of ours. A type of its own,
/// since other pipes that break, such as a connection to a member, are one.
#[derive(Debug, thiserror::Error)]
#[error("stdout was closed")]
pub struct ReaderGone;

/// Writes to stdout what is all there at once.
pub fn write_all(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(reader_gone)
}

/// Writes bytes to stdout as they are, for programs: not for a terminal.
pub fn write_raw(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    write(&mut out).and_then(|()| out.flush()).map_err(reader_gone)
}

fn reader_gone(error: io::Error) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => ReaderGone.into(),
        _ => anyhow::Error::new(error).context("write to stdout"),
    }
}

/// Prints `view` as JSON or YAML, or lets `table` print it for people.
pub fn print<T: Serialize>(
    format: Format,
    view: &T,
    table: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let document = Document { schema_version: SCHEMA_VERSION, view };
    let escape = if format == Format::Table { Escape::Rust } else { Escape::Json };
    let mut safe = Filter::new(&mut out, escape, Styles::stdout().is_on());
    let written = match format {
        Format::Table => table(&mut safe),
        Format::Json => serde_json::to_writer_pretty(&mut safe, &document)
            .map_err(io::Error::from)
            .and_then(|()| writeln!(safe)),
        Format::Yaml => {
            safe.write_all(serde_saphyr::to_string(&document).context("encode as YAML")?.as_bytes())
        }
    };
    written.and_then(|()| safe.flush()).map_err(reader_gone)
}

/// Writes `name   value` lines, the values in one column.
pub fn fields(out: &mut dyn Write, fields: &[(&str, String)]) -> io::Result<()> {
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    fields
        .iter()
        .try_for_each(|(name, value)| writeln!(out, "{name:width$}  {}", printable(value.as_bytes())))
}

/// `798.7 kB`, with the exact number where it says more.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}
