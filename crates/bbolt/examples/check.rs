//! Checks a bbolt file, like `bbolt check`. Exits with 1 if it is damaged.
//!
//!     cargo run --example check -- /var/lib/etcd/member/snap/db

use std::env;
use std::error::Error;
use std::fs::File;
use std::process::ExitCode;

use lifeboat_bbolt::{CheckVisitor, Damage, Db, check};

#[derive(Default)]
struct Report {
    damage: u64,
    keys: u64,
}

impl CheckVisitor for Report {
    fn damage(&mut self, damage: Damage) {
        println!("{damage}");
        self.damage += 1;
    }

    fn value(&mut self, _bucket: &[Vec<u8>], _key: &[u8], _value: &[u8]) {
        self.keys += 1;
    }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let path = env::args_os().nth(1).ok_or("usage: check FILE")?;
    let db = Db::open(File::open(path)?)?;
    let mut report = Report::default();
    check(&db, &mut report)?;
    println!("{} keys read, {} problems found", report.keys, report.damage);
    Ok(if report.damage == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
