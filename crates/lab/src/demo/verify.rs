//! Verifies that the restored cluster is the one that was saved.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result, bail, ensure};
use lifeboat_client::WatchOptions;
use lifeboat_client::messages::RangeRequest;

use crate::cluster::Cluster;

/// All keys that a cluster served at a revision.
pub(super) struct Keys {
    pub(super) revision: i64,
    values: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Keys {
    pub(super) fn with_prefix(&self, prefix: &'static [u8]) -> impl Iterator<Item = &Vec<u8>> {
        self.values.keys().filter(move |key| key.starts_with(prefix))
    }
}

pub(super) fn served(cluster: &Cluster) -> Result<Keys> {
    let client = cluster.client(0)?;
    let response = cluster.block_on(client.range(RangeRequest::all())).context("read everything")?;
    let values = response.kvs.into_iter().map(|kv| (kv.key, kv.value)).collect();
    Ok(Keys { revision: response.header.revision, values })
}

pub(super) fn same_hash(cluster: &Cluster) -> Result<String> {
    let mut hashes = Vec::new();
    for member in 0..cluster.size() {
        let client = cluster.client(member)?;
        hashes.push(cluster.block_on(client.hash_kv(0)).context("ask for HashKV")?.hash);
    }
    let first = hashes.first().copied().unwrap_or_default();
    ensure!(hashes.iter().all(|hash| *hash == first), "members differ: {hashes:?}");
    Ok(format!("ok: HashKV is {first} on all {} members", hashes.len()))
}

pub(super) fn all_keys(cluster: &Cluster, saved: &Keys) -> Result<String> {
    let now = served(cluster)?;
    ensure!(now.values == saved.values, "the keys differ from those saved");
    Ok(format!("ok: exactly the {} keys of the snapshot, with their values", saved.values.len()))
}

pub(super) fn above(cluster: &Cluster, last: &Keys) -> Result<String> {
    let now = served(cluster)?.revision;
    ensure!(now > last.revision, "revision {now} is not above {}", last.revision);
    Ok(format!("ok: revision {now} is above {}, the last that the old cluster served", last.revision))
}

pub(super) fn old_watch_is_compacted(cluster: &Cluster, saved: &Keys) -> Result<String> {
    let client = cluster.client(0)?;
    let compacted = cluster.block_on(async {
        let mut watch = client.watch(&WatchOptions::all(saved.revision)).await?;
        while let Some(response) = watch.message().await? {
            if response.canceled {
                return anyhow::Ok(response.compact_revision);
            }
        }
        bail!("the watch ended without a response")
    })?;
    ensure!(compacted > saved.revision, "the watch was not refused as compacted");
    Ok(format!(
        "ok: a watch from revision {} is answered \"compacted\", so its client lists again",
        saved.revision
    ))
}

/// The changes that the snapshot lacks.
pub(super) fn lost(saved: &Keys, last: &Keys) -> String {
    let mut text = String::new();
    let line = |what: &str, key: &[u8], text: &mut String| {
        let _ = writeln!(text, "{what}  {}", String::from_utf8_lossy(key));
    };
    for (key, value) in &last.values {
        match saved.values.get(key) {
            None => line("created", key, &mut text),
            Some(before) if before != value => line("changed", key, &mut text),
            Some(_) => {}
        }
    }
    let deleted = saved.values.keys().filter(|key| !last.values.contains_key(*key));
    deleted.for_each(|key| line("deleted", key, &mut text));
    let _ = write!(text, "({} revisions)", last.revision - saved.revision);
    text
}
