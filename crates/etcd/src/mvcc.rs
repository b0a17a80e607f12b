//! The keyspace over time: what survives a compaction, HashKV, and reading at a revision.

mod gap;
mod get;
mod hash;
mod keep;

pub(crate) use gap::GapFinder;
pub use get::{KeyState, Query, get};
pub use hash::{HashKv, hash_kv};
pub(crate) use hash::{Hashed, Hasher};
pub(crate) use keep::KeepRule;
pub use keep::KeepSet;
