//! Any bytes at all given to what reads files, to the restore and to the salvage: each must end in a result or a typed
//! error, and what calls itself sound must be so.
//!
//! The functions here are the targets that `make fuzz` lets libFuzzer look for inputs for; `tests/seeds.rs` gives
//! them the committed seeds and some thousand changes of those. What they find goes into `seeds/` once it is fixed.
#![forbid(unsafe_code)]

mod log;
mod messages;
mod pages;
mod requests;
mod restore;
mod salvage;
mod scratch;

pub use log::wal;
pub use messages::{key_value, raft_snapshot};
pub use pages::bbolt;
pub use requests::requests;
pub use restore::restore;
pub use salvage::salvage;

/// A target: takes any bytes, panics when something is wrong.
pub type Target = fn(&[u8]);

/// All targets, by the names of their programs and seeds.
pub const TARGETS: [(&str, Target); 7] = [
    ("bbolt", bbolt),
    ("wal", wal),
    ("raft_snapshot", raft_snapshot),
    ("key_value", key_value),
    ("requests", requests),
    ("restore", restore),
    ("salvage", salvage),
];
