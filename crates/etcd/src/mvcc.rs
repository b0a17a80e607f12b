//! The keyspace over time: what survives a compaction, HashKV, and reading at a revision.

mod gaps;
mod get;
mod hash;
mod keep;

pub(crate) use gaps::Gaps;
pub use get::{Found, Query, get};
pub use hash::{HashKv, hash_kv};
pub(crate) use hash::{Hashed, Hasher};
pub(crate) use keep::KeepRule;
pub use keep::KeepSet;
