//! Prints the revision and HashKV of a snapshot, a db file or a stopped member's data dir.
//!
//!     cargo run --example hash -- backup.db
//!
//! The hash equals that of `etcdctl endpoint hashkv --rev REVISION` for a member with the same compact revision.

use std::env;
use std::error::Error;
use std::path::Path;

use lifeboat_etcd::{HashKv, NoProgress, hash_kv, open};

fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args_os().nth(1).ok_or("usage: hash PATH")?;
    let source = open(Path::new(&path))?;
    let HashKv { hash, hash_revision, compact_revision, .. } =
        hash_kv(source.as_ref(), None, None, &NoProgress)?;
    println!("revision {hash_revision}, compact revision {compact_revision}, HashKV {hash}");
    Ok(())
}
