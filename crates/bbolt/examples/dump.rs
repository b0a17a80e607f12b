//! Prints the buckets of a bbolt file, or the keys and values of one bucket.
//!
//!     cargo run --example dump -- /var/lib/etcd/member/snap/db
//!     cargo run --example dump -- /var/lib/etcd/member/snap/db meta

use std::env;
use std::error::Error;
use std::fs::File;

use lifeboat_bbolt::Db;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let path = args.next().ok_or("usage: dump FILE [BUCKET]")?;
    let db = Db::open(File::open(path)?)?;
    let Some(name) = args.next() else {
        return Ok(db.for_each_bucket(|name, _| println!("{}", name.escape_ascii()))?);
    };
    let bucket = db.bucket(name.as_bytes())?.ok_or_else(|| format!("no bucket {name:?}"))?;
    db.for_each::<lifeboat_bbolt::Error>(&bucket, |key, value| {
        println!("{}\t{}", key.escape_ascii(), value.escape_ascii());
        Ok(())
    })?;
    Ok(())
}
