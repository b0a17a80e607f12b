//! The output of `salvage`.

use std::io::{self, Write};
use std::path::Path;

use lifeboat_etcd::report::FindingReport;
use lifeboat_etcd::salvage::{Alternative, BucketOrigin, BucketReport, LogReport, Report, RootKind};
use lifeboat_etcd::{Exported, Integrity, KeyList, Ranges};
use serde::Serialize;

use crate::commands::check::write_finding;
use crate::{output, terminal};

/// Findings, ranges and keys listed in the text output, which should fit a screen.
const MAX_LISTED: usize = 8;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SalvageView {
    file: String,
    source: String,
    complete: bool,
    /// `newest`, `older` or `found`; null if no root was found, or if the data dir's own db is not used.
    state: Option<&'static str>,
    /// What a data dir is read as, if its own db is not used.
    combination: Option<String>,
    /// What the alternative would have kept.
    passed_over: Option<PassedOverView>,
    /// `verified`, `none` or `mismatch`.
    integrity: &'static str,
    size: u64,
    sha256: String,
    revision: i64,
    /// -1 when the store was never compacted.
    compact_revision: i64,
    hash: u32,
    live_keys: u64,
    revisions: u64,
    revisions_from_pages: u64,
    revisions_left_out: u64,
    lost: Vec<RangeView>,
    lost_ranges: u64,
    /// null if the number is unknown.
    lost_revisions: Option<u64>,
    possibly_lost: Vec<RangeView>,
    possibly_lost_ranges: u64,
    conflicts: Vec<String>,
    unlisted_conflicts: u64,
    doubtful_keys: Vec<String>,
    unlisted_doubtful_keys: u64,
    page_size: u32,
    pages: u64,
    broken_pages: u64,
    broken_bytes: u64,
    buckets: Vec<BucketView>,
    /// For a data dir.
    log: Option<ReplayView>,
    findings: Vec<FindingReport>,
    unlisted_findings: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PassedOverView {
    revision: i64,
    live_keys: u64,
}

#[derive(Serialize)]
struct RangeView {
    first: i64,
    last: Option<i64>,
}

#[derive(Serialize)]
struct BucketView {
    name: &'static str,
    from: Option<&'static str>,
    whole: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReplayView {
    replayed: u64,
    not_replayed: Option<EntriesView>,
    uncommitted: u64,
    /// Keys in entries that are not replayed.
    not_replayed_keys: Vec<String>,
    unlisted_not_replayed_keys: u64,
}

#[derive(Serialize)]
struct EntriesView {
    first: u64,
    last: u64,
}

fn which(which: RootKind) -> &'static str {
    match which {
        RootKind::Newest => "newest",
        RootKind::Older => "older",
        RootKind::Found => "found",
    }
}

fn ranges(ranges: &Ranges) -> Vec<RangeView> {
    ranges.listed.iter().map(|(first, last)| RangeView { first: *first, last: *last }).collect()
}

impl From<&BucketReport> for BucketView {
    fn from(account: &BucketReport) -> Self {
        let from = match account.origin {
            BucketOrigin::Root(state) => Some(which(state)),
            BucketOrigin::Pages => Some("pages"),
            BucketOrigin::Base => Some("base"),
            BucketOrigin::Lost => None,
        };
        Self { name: account.bucket.name(), from, whole: account.is_whole }
    }
}

impl ReplayView {
    fn new(account: LogReport, keys: &KeyList) -> Self {
        let LogReport { replayed, not_replayed, uncommitted } = account;
        Self {
            replayed,
            not_replayed: not_replayed.map(|(first, last)| EntriesView { first, last }),
            uncommitted,
            not_replayed_keys: keys.listed.iter().map(|key| terminal::printable(key)).collect(),
            unlisted_not_replayed_keys: keys.count.saturating_sub(keys.listed.len() as u64),
        }
    }
}

impl SalvageView {
    pub(super) fn new(
        path: &Path,
        out: &Path,
        combination: Option<String>,
        account: &Report,
        exported: &Exported,
    ) -> Self {
        let keys = &account.doubtful_keys;
        let unlisted = |count: u64, listed: usize| count.saturating_sub(listed as u64);
        Self {
            file: out.display().to_string(),
            source: path.display().to_string(),
            complete: account.is_complete,
            state: account.root.map(which),
            combination,
            passed_over: account
                .alternative
                .map(|Alternative { revision, live_keys }| PassedOverView { revision, live_keys }),
            integrity: match account.integrity {
                Some(Integrity::Sha256(_)) => "verified",
                Some(Integrity::None) => "none",
                None => "mismatch",
            },
            size: exported.size,
            sha256: exported.sha256.clone(),
            revision: exported.hash.hash_revision,
            compact_revision: exported.hash.compact_revision,
            hash: exported.hash.hash,
            live_keys: account.live_keys,
            revisions: account.revisions,
            revisions_from_pages: account.from_pages,
            revisions_left_out: account.left_out,
            lost: ranges(&account.lost),
            lost_ranges: account.lost.count,
            lost_revisions: account.lost.mains(),
            possibly_lost: ranges(&account.possibly_lost),
            possibly_lost_ranges: account.possibly_lost.count,
            conflicts: account.conflicts.listed.iter().map(ToString::to_string).collect(),
            unlisted_conflicts: unlisted(account.conflicts.count, account.conflicts.listed.len()),
            doubtful_keys: keys.listed.iter().map(|key| terminal::printable(key)).collect(),
            unlisted_doubtful_keys: unlisted(keys.count, keys.listed.len()),
            page_size: account.page_size,
            pages: account.pages,
            broken_pages: account.broken_pages,
            broken_bytes: account.broken_pages * u64::from(account.page_size),
            buckets: account.buckets.iter().map(BucketView::from).collect(),
            log: account.log.map(|log| ReplayView::new(log, &account.not_replayed_keys)),
            findings: account.problems.listed.iter().map(FindingReport::from).collect(),
            unlisted_findings: unlisted(account.problems.count, account.problems.listed.len()),
        }
    }

    pub(super) fn table(&self, out: &mut dyn Write) -> io::Result<()> {
        for finding in self.findings.iter().take(MAX_LISTED) {
            write_finding(finding, out)?;
        }
        let more =
            (self.findings.len().saturating_sub(MAX_LISTED) as u64).saturating_add(self.unlisted_findings);
        if more > 0 {
            writeln!(out, "and {more} more findings: -o json lists them")?;
        }
        let state = match (&self.combination, self.state) {
            (Some(combination), _) => combination,
            (None, Some("newest")) => "newest",
            (None, Some("older")) => "the one before the newest, which is damaged",
            (None, Some(_)) => "from a root page found by search (no valid meta page)",
            (None, None) => "no root page found",
        };
        let compacted = match self.compact_revision {
            ..0 => String::new(),
            revision => format!(", compacted at {revision}"),
        };
        let from_pages = match self.revisions_from_pages {
            0 => String::new(),
            count => format!(", {count} of them from pages outside any tree"),
        };
        let mut fields = vec![
            ("salvaged", format!("{} ({}), from {}", self.file, output::bytes(self.size), self.source)),
            ("state", state.into()),
            ("complete", self.verdict().into()),
            ("revision", format!("{}{compacted}", self.revision)),
            ("kept", format!("{} revisions{from_pages}; {} live keys", self.revisions, self.live_keys)),
        ];
        fields.extend(self.passed_over.as_ref().map(|PassedOverView { revision, live_keys }| {
            let alternative =
                if self.combination.is_some() { "the data dir's own db" } else { "the log without that db" };
            ("instead of", format!("{alternative}, which gives {live_keys} keys up to revision {revision}"))
        }));
        fields.extend(self.losses());
        fields.extend(self.lost_buckets());
        fields.extend(self.log.as_ref().map(|log| ("log", log.text())));
        fields.push(("sha256", self.sha256.clone()));
        output::fields(out, &fields)
    }

    fn verdict(&self) -> &'static str {
        match (self.complete, self.integrity) {
            (true, "verified") => "yes, sha256 verified",
            (true, _) => "yes: no revision is missing; bit rot in values cannot be detected without a digest",
            (false, "mismatch") => "NO, and the sha256 does not match",
            (false, _) if self.state == Some("found") && !self.is_missing_anything() => {
                "NOT PROVEN: nothing seems to be missing, but no meta page confirms that this root is the newest"
            }
            (false, _) => "NO",
        }
    }

    fn is_missing_anything(&self) -> bool {
        let of_log = |log: &ReplayView| log.not_replayed.is_some() || log.uncommitted > 0;
        self.lost_ranges + self.possibly_lost_ranges + self.revisions_left_out > 0
            || self.buckets.iter().any(|bucket| !bucket.whole)
            || self.log.as_ref().is_some_and(of_log)
    }

    fn losses(&self) -> Vec<(&'static str, String)> {
        let mut fields = Vec::new();
        if self.lost_ranges > 0 {
            let count = self.lost_revisions.map_or_else(String::new, |count| format!("{count} "));
            fields.push(("lost", format!("{count}revisions: {}", range_text(&self.lost, self.lost_ranges))));
        }
        if self.possibly_lost_ranges > 0 {
            let text = range_text(&self.possibly_lost, self.possibly_lost_ranges);
            fields.push(("may be lost", format!("revisions {text}")));
        }
        if self.revisions_left_out > 0 {
            let text = format!(
                "{} revisions found on unused pages, which may have been compacted since",
                self.revisions_left_out
            );
            fields.push(("left out", text));
        }
        let conflicts = self.conflicts.len() as u64 + self.unlisted_conflicts;
        if conflicts > 0 {
            fields.push(("conflicts", format!("{conflicts} revisions with differing copies")));
        }
        let keys = self.doubtful_keys.len() as u64 + self.unlisted_doubtful_keys;
        if keys > 0 {
            let shown: Vec<_> = self.doubtful_keys.iter().take(MAX_LISTED).map(String::as_str).collect();
            let more = if keys > shown.len() as u64 { ", ..." } else { "" };
            let text =
                format!("{keys} keys may have a newer value or be deleted: {}{more}", shown.join(", "));
            fields.push(("doubtful", text));
        }
        if self.broken_pages > 0 {
            let bytes = output::bytes(self.broken_bytes);
            let text = format!("at least {} pages ({bytes}) of {}", self.broken_pages, self.pages);
            fields.push(("unreadable", text));
        }
        fields
    }

    fn lost_buckets(&self) -> Option<(&'static str, String)> {
        let text = |bucket: &BucketView| match bucket.from {
            None => format!("{} is lost", bucket.name),
            Some(_) => format!("{} is incomplete", bucket.name),
        };
        let damaged: Vec<_> = self.buckets.iter().filter(|bucket| !bucket.whole).map(text).collect();
        (!damaged.is_empty()).then(|| ("buckets", damaged.join(", ")))
    }
}

impl ReplayView {
    fn text(&self) -> String {
        let mut text = format!("{} entries replayed", self.replayed);
        if let Some(EntriesView { first, last }) = self.not_replayed {
            text += &format!(
                "; entries {first} to {last} are not, since the state that they continue from is incomplete"
            );
            let count = self.not_replayed_keys.len() as u64 + self.unlisted_not_replayed_keys;
            if count > 0 {
                let shown: Vec<_> =
                    self.not_replayed_keys.iter().take(MAX_LISTED).map(String::as_str).collect();
                let more = if count > shown.len() as u64 { ", ..." } else { "" };
                text += &format!("; the readable ones change {count} keys: {}{more}", shown.join(", "));
            }
        }
        if self.uncommitted > 0 {
            text += &format!(
                "; {} more entries are not known to be committed and left out: if this member was the last to run, clients \
                 may rely on them, and --uncommitted applies them",
                self.uncommitted
            );
        }
        text
    }
}

fn range_text(ranges: &[RangeView], count: u64) -> String {
    let text = |range: &RangeView| match range.last {
        Some(last) if last == range.first => last.to_string(),
        Some(last) => format!("{} to {last}", range.first),
        None => format!("from {} on", range.first),
    };
    let shown: Vec<_> = ranges.iter().take(MAX_LISTED).map(text).collect();
    let more = count.saturating_sub(shown.len() as u64);
    let more = if more > 0 { format!(", and {more} more ranges") } else { String::new() };
    shown.join(", ") + &more
}
