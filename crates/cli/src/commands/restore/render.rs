//! The output of `restore`.

use std::io::{self, Write};

use lifeboat_etcd::report::UncommittedReport;
use lifeboat_etcd::{Integrity, RestoreOptions, RestoreReport, Source};
use serde::Serialize;

use crate::commands::comparison::{Compared, ComparisonView};
use crate::commands::hash;
use crate::output;
use crate::source::combination;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RestoreView {
    source: String,
    /// What a data dir is read as, if its own db is not used.
    combination: Option<String>,
    /// `verified`, `none` or `skipped`.
    integrity: &'static str,
    source_revision: i64,
    source_revisions: u64,
    revision: i64,
    /// -1 when it was never compacted.
    compact_revision: i64,
    live_keys: u64,
    revisions: u64,
    keys_without_lease: u64,
    /// Revisions missing in the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<String>,
    uncommitted_entries: u64,
    /// Changes in these entries.
    uncommitted: Option<UncommittedReport>,
    /// With several sources: uncommitted entries that no source applies.
    #[serde(skip)]
    left_out: Option<String>,
    /// With several sources: a warning that they belong to several clusters.
    #[serde(skip)]
    mixed_clusters: Option<String>,
    hash: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    older_hash: Option<u32>,
    db_bytes: u64,
    etcd_version: String,
    cluster_id: String,
    initial_cluster: String,
    initial_cluster_token: String,
    members: Vec<MemberView>,
    /// With several sources.
    comparison: Option<ComparisonView>,
    #[serde(skip)]
    reasons: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MemberView {
    id: String,
    name: String,
    data_dir: String,
    wal_dir: Option<String>,
}

/// Why a source was chosen, how the others relate to it, and what proves how far its log is committed.
fn reasons(compared: &Compared, source: &str) -> Vec<String> {
    let mut lines = compared.reasons(source);
    lines.extend(compared.committed());
    lines
}

impl RestoreView {
    pub(super) fn new(
        source: String,
        read: &dyn Source,
        report: &RestoreReport,
        options: &RestoreOptions,
        compared: Option<&Compared>,
    ) -> Self {
        let member = |member: &lifeboat_etcd::RestoredMember| MemberView {
            id: member.id.to_string(),
            name: member.name.clone(),
            data_dir: member.data_dir.display().to_string(),
            wal_dir: member.wal_dir.as_ref().map(|dir| dir.display().to_string()),
        };
        Self {
            reasons: compared.map(|compared| reasons(compared, &source)).unwrap_or_default(),
            comparison: compared.map(ComparisonView::from),
            source,
            combination: combination(read),
            integrity: match report.integrity {
                Some(Integrity::Sha256(_)) => "verified",
                Some(Integrity::None) => "none",
                None => "skipped",
            },
            source_revision: report.source_revision,
            source_revisions: report.source_revisions,
            revision: report.revision,
            compact_revision: report.compact_revision.unwrap_or(-1),
            live_keys: report.live_keys,
            revisions: report.revisions,
            keys_without_lease: report.keys_without_lease,
            missing: report.missing.as_ref().map(ToString::to_string),
            uncommitted_entries: report.uncommitted_entries,
            uncommitted: UncommittedReport::of(read.notes()),
            left_out: compared.and_then(Compared::left_out),
            mixed_clusters: compared.and_then(Compared::mixed_clusters),
            hash: report.hash,
            older_hash: report.older_hash,
            db_bytes: report.db_bytes,
            etcd_version: report.version.to_string(),
            cluster_id: report.cluster_id.to_string(),
            initial_cluster: options.cluster.to_string(),
            initial_cluster_token: report.token.clone(),
            members: report.members.iter().map(member).collect(),
        }
    }

    pub(super) fn table(&self, out: &mut dyn Write) -> io::Result<()> {
        let integrity = match self.integrity {
            "verified" => "sha256 verified",
            "none" => "no digest (copy of a db): bit rot in values cannot be detected",
            _ => "not verified (--skip-hash-check)",
        };
        let compacted =
            if self.compact_revision == self.revision { "; all earlier revisions are compacted" } else { "" };
        let source = format!("{} at revision {}, {integrity}", self.source, self.source_revision);
        let mut fields = vec![("source", source)];
        fields.extend(self.combination.iter().map(|text| ("read as", text.clone())));
        let reasons = self.reasons.iter().enumerate();
        fields.extend(reasons.map(|(i, why)| (if i == 0 { "reason" } else { "" }, why.clone())));
        fields.extend([
            (
                "keys",
                format!("{} live, {} of {} revisions", self.live_keys, self.revisions, self.source_revisions),
            ),
            ("starts at", format!("revision {}{compacted}", self.revision)),
            ("hash", format!("{} on every member before its first write", self.hash)),
        ]);
        fields.extend(hash::older_field(self.older_hash));
        fields.extend([
            ("etcd", format!("{}, db of {}", self.etcd_version, output::bytes(self.db_bytes))),
            ("cluster", self.cluster_id.clone()),
        ]);
        if let Some(missing) = &self.missing {
            let text = format!("{missing}: their changes are lost (see `lifeboat check`)");
            fields.push(("warning", text));
        }
        if self.keys_without_lease > 0 {
            let text =
                format!("{} live keys refer to a missing lease and never expire", self.keys_without_lease);
            fields.push(("warning", text));
        }
        if let Some(left_out) = &self.left_out {
            fields.push(("warning", left_out.clone()));
        } else if self.uncommitted_entries > 0 {
            let text = format!(
                "entries at the end of the log that are not known to be committed and left out: {}; if no other member has a \
                 longer log, restore again with --uncommitted: clients may rely on them",
                self.uncommitted_entries
            );
            fields.push(("warning", text));
        }
        fields.extend(self.mixed_clusters.iter().map(|text| ("warning", text.clone())));
        for member in &self.members {
            let wal = member.wal_dir.as_ref().map(|dir| format!(", WAL in {dir}")).unwrap_or_default();
            fields.push(("member", format!("{} {} in {}{wal}", member.id, member.name, member.data_dir)));
        }
        output::fields(out, &fields)?;
        writeln!(out)?;
        writeln!(out, "Start etcd on each member's data dir with:")?;
        writeln!(out, "  --initial-cluster {}", self.initial_cluster)?;
        writeln!(out, "  --initial-cluster-token {}", self.initial_cluster_token)?;
        writeln!(out, "  --initial-cluster-state new")
    }
}
