//! `lifeboat save` of a data dir of a stopped member, or of a db file.

use std::io::Write;
use std::path::Path;

use anyhow::Result;
use lifeboat_etcd::Source;
use serde::Serialize;

use crate::commands::{Context, hash};
use crate::source::combination;
use crate::{atomic_file, output};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OfflineSaveView {
    file: String,
    source: String,
    /// What a data dir is read as, if its own db is not used.
    combination: Option<String>,
    size: u64,
    sha256: String,
    revision: i64,
    compact_revision: i64,
    hash: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    older_hash: Option<u32>,
}

/// Writes a snapshot of a source.
pub fn save(source: &dyn Source, file: &Path, context: &Context) -> Result<()> {
    let (pending, exported) = atomic_file::write_snapshot(source, file, &context.progress)?;
    let view = OfflineSaveView {
        file: file.display().to_string(),
        source: source.origin().path.display().to_string(),
        combination: combination(source),
        size: pending.size,
        sha256: pending.sha256.clone(),
        revision: exported.hash.hash_revision,
        compact_revision: exported.hash.compact_revision,
        hash: exported.hash.hash,
        older_hash: exported.hash.older_hash,
    };
    pending.persist(file)?;
    context.progress.finish();
    output::print(context.format, &view, |out: &mut dyn Write| {
        let mut fields = vec![
            ("saved", format!("{} ({})", view.file, output::bytes(view.size))),
            ("from", view.combination.clone().unwrap_or_else(|| view.source.clone())),
            ("revision", view.revision.to_string()),
            ("hash", format!("{} (compact revision {})", view.hash, view.compact_revision)),
        ];
        fields.extend(hash::older_field(view.older_hash));
        fields.push(("sha256", view.sha256.clone()));
        output::fields(out, &fields)
    })
}
