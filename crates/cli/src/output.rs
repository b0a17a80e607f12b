//! Results on stdout: text, JSON or YAML.

use std::io::{self, Write};

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::Serialize;

use crate::styles::Styles;
use crate::terminal::{Escape, Filter, printable};

/// Schema version of JSON and YAML output; raised when a field is removed or changes its meaning.
pub const SCHEMA_VERSION: u32 = 1;

/// Output formats.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Human-readable text.
    #[default]
    Table,
    /// JSON document.
    Json,
    /// YAML document.
    Yaml,
}

/// A JSON or YAML document: `schemaVersion` and the fields of `view`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a, T> {
    schema_version: u32,
    #[serde(flatten)]
    view: &'a T,
}

/// The reader of stdout, such as `head`, has closed it. Not a failure, unlike other broken pipes such as a lost
/// connection to a member.
#[derive(Debug, thiserror::Error)]
#[error("stdout was closed")]
pub struct ReaderGone;

/// Writes bytes to stdout and flushes it.
pub fn write_all(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(reader_gone)
}

/// Writes unescaped bytes to stdout; not for terminals.
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

/// Prints `view` as JSON or YAML, or as text with `table`.
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

/// A size such as `798.7 kB`.
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
