//! Findings of a check, as data.

mod catalog;
mod kind;
mod wal_defect;

use std::fmt;

pub use kind::FindingKind;
pub(crate) use kind::printable;
pub use wal_defect::WalDefect;

/// Severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// For information; nothing is wrong.
    Note,
    /// The source can be used, with care.
    Warning,
    /// The source is damaged.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// A finding of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Kind and place.
    pub kind: FindingKind,
}

impl From<FindingKind> for Finding {
    fn from(kind: FindingKind) -> Self {
        Self { kind }
    }
}

impl Finding {
    /// Its severity.
    pub fn severity(&self) -> Severity {
        self.kind.severity()
    }

    /// Its stable id, such as `wal.torn`.
    pub fn id(&self) -> &'static str {
        self.kind.id()
    }
}
