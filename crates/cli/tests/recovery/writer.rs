//! Clients of etcd that record acknowledged writes.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lifeboat_client::messages::RangeRequest;
use lifeboat_client::{Client, ConnectOptions};

use crate::harness::{Harness, runtime};

/// Longest one write may take: an election takes about a second, and a client that was connected to a member that is
/// gone has to find another one first.
const WRITE: Duration = Duration::from_secs(5);
/// What the numbered keys begin with, and the key behind the last of them.
pub const PREFIX: &str = "/lab/acknowledged/";
pub const PREFIX_END: &str = "/lab/acknowledged0";

/// Writes keys that nothing else touches, and returns those that were acknowledged.
pub fn acknowledged(harness: &Harness, round: &str, count: usize) -> BTreeSet<String> {
    let endpoint = harness.lab.blueprint().etcd_endpoints().remove(0);
    let keys: BTreeSet<String> = (0..count).map(|n| format!("{PREFIX}{round}/{n:04}")).collect();
    harness.etcd(&endpoint, async |client| {
        for key in &keys {
            client.put(key.clone(), "written", 0).await.expect("an acknowledged write");
        }
    });
    keys
}

/// The keys that can no longer be read.
pub fn lost(harness: &Harness, keys: &BTreeSet<String>) -> Vec<String> {
    let endpoint = harness.lab.blueprint().etcd_endpoints().remove(0);
    let request = RangeRequest {
        key: PREFIX.into(),
        range_end: PREFIX_END.into(),
        keys_only: true,
        ..RangeRequest::default()
    };
    let found = harness.etcd(&endpoint, async |client| client.range(request).await.expect("read keys").kvs);
    let found: BTreeSet<String> =
        found.into_iter().map(|kv| String::from_utf8_lossy(&kv.key).into_owned()).collect();
    keys.difference(&found).cloned().collect()
}

/// The result of a client that writes continuously.
#[derive(Debug, Default)]
pub struct Account {
    pub acknowledged: BTreeSet<String>,
    pub failed: Vec<String>,
    pub slowest: Duration,
}

/// Does `work` while a client writes every 100 ms to whichever of `endpoints` answers.
pub fn during(harness: &Harness, endpoints: &[String], work: impl FnOnce()) -> Account {
    let (stop, options) = (AtomicBool::new(false), harness.etcd_options());
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let write = || runtime().block_on(write_on(&options, endpoints, &stop));
            harness.lab.inside(write).expect("enter the lab's network")
        });
        // The client ends also when the work fails.
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        stop.store(true, Ordering::Relaxed);
        let account = writer.join().expect("the writing client");
        worked.unwrap_or_else(|failure| std::panic::resume_unwind(failure));
        account
    })
}

async fn write_on(options: &ConnectOptions, endpoints: &[String], stop: &AtomicBool) -> Account {
    let options = ConnectOptions {
        dial_timeout: Duration::from_secs(1),
        command_timeout: Duration::from_secs(2),
        ..options.clone()
    };
    let mut account = Account::default();
    let mut turn = 0;
    while !stop.load(Ordering::Relaxed) {
        let key = format!("{PREFIX}throughout/{turn:06}");
        let begin = Instant::now();
        let written = tokio::time::timeout(WRITE, write(&options, endpoints, &key)).await;
        account.slowest = account.slowest.max(begin.elapsed());
        match written {
            Ok(()) => drop(account.acknowledged.insert(key)),
            Err(_) => account.failed.push(key),
        }
        turn += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    account
}

/// Writes a key, asking one member after the other until one takes it, as clients of etcd do.
async fn write(options: &ConnectOptions, endpoints: &[String], key: &str) {
    for endpoint in endpoints.iter().cycle() {
        let put = async {
            let client = Client::connect(options, endpoint).await?;
            client.put(key, "written", 0).await
        };
        if put.await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
