//! Checks a source in one pass over its bytes: the digest, every page, every
//! revision, every KeyValue, every value of the metadata buckets.

use crate::error::{Error, Result};
use crate::finding::{Finding, FindingKind, Severity};
use crate::key_value::{KeyValue, is_bump_mark};
use crate::mvcc::GapFinder;
use crate::origin::Integrity;
use crate::progress::{NoProgress, Progress};
use crate::revision::BucketKey;
use crate::schema::{self, Bucket};
use crate::source::Source;
use crate::state::State;
use crate::thread::join;

/// Limit of findings listed: a badly damaged file could fill the memory with them.
const MAX_FINDINGS: usize = 1000;

/// Result of a check.
#[derive(Debug, Default)]
pub struct CheckReport {
    /// Findings, in the order found, up to a limit.
    pub findings: Vec<Finding>,
    /// Number of findings beyond the limit.
    pub unlisted: u64,
    /// Number of valid revisions.
    pub revisions: u64,
    /// The verified digest in hexadecimal; `None` if there is none or it does not match.
    pub sha256: Option<String>,
    worst: Option<Severity>,
}

impl CheckReport {
    /// The worst severity of all findings, also beyond the limit.
    pub fn worst(&self) -> Option<Severity> {
        self.worst
    }

    /// The report for a source that is too damaged to open.
    pub fn of_damage(kind: FindingKind) -> Self {
        let mut report = Self::default();
        report.add(kind.into());
        report
    }

    fn add(&mut self, finding: Finding) {
        self.worst = self.worst.max(Some(finding.severity()));
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(finding);
        } else {
            self.unlisted += 1;
        }
    }
}

/// Checks a source.
///
/// # Errors
/// A read that the operating system refused. Damage is in the report.
pub fn check(source: &dyn Source, progress: &dyn Progress) -> Result<CheckReport> {
    progress.start("check", Some(source.origin().size_in_use));
    let mut report = CheckReport::default();
    let integrity = std::thread::scope(|scope| {
        let integrity = scope.spawn(|| source.verify_integrity(&NoProgress));
        check_contents(source, progress, &mut report)?;
        Ok::<_, Error>(join(integrity))
    })?;
    match integrity {
        Ok(Integrity::Sha256(digest)) => report.sha256 = Some(digest),
        Ok(Integrity::None) => report.add(FindingKind::NoDigest.into()),
        // Reported by the container's own check.
        Err(Error::Damaged(FindingKind::TrailingBytes { .. } | FindingKind::UnknownBucket { .. })) => {}
        Err(Error::Damaged(kind)) => report.add(kind.into()),
        Err(error) => return Err(error),
    }
    Ok(report)
}

fn check_contents(source: &dyn Source, progress: &dyn Progress, report: &mut CheckReport) -> Result<()> {
    // Of a state that cannot be read, the damage is reported below.
    let mut gaps =
        State::read(source).ok().map(|state| GapFinder::above(state.compact_revision().unwrap_or(1)));
    let mut state = State::default();
    let mut found = Vec::new();
    let mut revisions = 0;
    let report_cell = std::cell::RefCell::new(&mut *report);
    source.check_container(
        &mut |finding| report_cell.borrow_mut().add(finding),
        &mut |bucket, key, value| {
            progress.advance((key.len() + value.len()) as u64);
            let checked = match bucket {
                Bucket::Key => {
                    // One with a broken value is not missing.
                    let revision = BucketKey::from_bytes(key).map(|key| key.revision);
                    gaps.iter_mut().zip(revision).for_each(|(gaps, revision)| gaps.meet(revision));
                    check_revision(key, value).map(|_| revisions += 1)
                }
                small if !schema::is_known(small, key) => {
                    Err(FindingKind::UnknownKey { bucket, key: key.to_vec() })
                }
                _ => state
                    .take(bucket, key, value)
                    .ok_or_else(|| FindingKind::MetadataBucket { bucket, key: key.to_vec() }),
            };
            if let Err(kind) = checked {
                report_cell.borrow_mut().add(kind.into());
            }
        },
    )?;
    found.extend(state.alarms.iter().map(|alarm| FindingKind::AlarmRaised { alarm: *alarm }));
    if let Some(scheduled) = state.pending_compaction() {
        found.push(FindingKind::CompactionPending { scheduled });
    }
    found.extend(gaps.and_then(|gaps| gaps.finding()));
    found.into_iter().for_each(|kind| report.add(kind.into()));
    report.revisions = revisions;
    Ok(())
}

/// Decodes and verifies what the `key` bucket has under a key.
pub(crate) fn check_revision(key: &[u8], value: &[u8]) -> Result<BucketKey, FindingKind> {
    let bucket_key =
        BucketKey::from_bytes(key).ok_or_else(|| FindingKind::RevisionKey { key: key.to_vec() })?;
    let BucketKey { revision, tombstone } = bucket_key;
    if is_bump_mark(value) {
        return Ok(bucket_key);
    }
    KeyValue::decode(value)
        .and_then(|kv| kv.verify(revision.main, tombstone))
        .map_err(|defect| FindingKind::KeyValue { revision, defect })?;
    Ok(bucket_key)
}
