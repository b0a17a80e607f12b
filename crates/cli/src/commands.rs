//! The verbs, one file each, and what several of them share.

pub mod agent;
pub mod check;
pub mod comparison;
pub mod completions;
pub mod diagnose;
pub mod explain;
pub mod get;
pub mod hash;
pub mod init;
pub mod inspect;
pub mod man;
pub mod recover;
pub mod remote;
pub mod restore;
pub mod salvage;
pub mod save;
pub mod status;

use crate::output::Format;
use crate::progress::ProgressBar;

/// Context shared by all verbs.
pub struct Context {
    pub format: Format,
    pub progress: ProgressBar,
}
