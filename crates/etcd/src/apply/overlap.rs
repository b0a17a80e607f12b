//! Whether a state may be one that a log's earlier entries led to.

use std::collections::{BTreeMap, HashSet, VecDeque};

use super::NORMAL;
use super::interest::Interest;
use super::messages::{Op, PutRequest, TxnRequest};
use super::request::Request;
use crate::error::Result;
use crate::finding::FindingKind;
use crate::key_value::{KeyValue, is_bump_mark};
use crate::source::Source;
use crate::state::State;
use crate::wal::Entries;

/// Keys whose last put is compared at most.
const MOST_KEYS: usize = 1000;
/// Puts that are known by their checksum at most.
const MOST_PUTS: usize = 1_000_000;
/// The newest puts of the state that are looked for among the entries.
const NEWEST: usize = 16;

/// What the entries before a state say of it.
#[derive(Debug, Default)]
struct Written {
    /// The last put of a key that nothing after it touches and that no server refuses: index, and checksum.
    last: BTreeMap<Vec<u8>, (u64, u32)>,
    /// Checksums of all puts.
    puts: HashSet<u32>,
    /// Whether a put may have been refused.
    may_refuse: bool,
}

/// Compares a state with the entries of a log that it must already have. Tells how many writes are the same in both.
///
/// # Errors
/// [`FindingKind::BaseContent`] when the state lacks what one of them wrote.
pub(crate) fn overlap(db: &dyn Source, state: &State, entries: &Entries<'_>) -> Result<u64> {
    let mut written = Written { may_refuse: state.auth.enabled, ..Written::default() };
    written.may_refuse |= !state.alarms.is_empty();
    entries.each(&mut |entry| {
        let (index, data) = (entry.index.unwrap_or(0), entry.data.as_deref().unwrap_or_default());
        // What is not applied here may have touched anything.
        let request = match entry.kind.unwrap_or(NORMAL) {
            NORMAL => Request::decode(index, data),
            _ => Ok(None),
        };
        match request {
            Ok(Some((_, request))) => written.add(index, &request),
            Ok(None) => {}
            Err(_) => written.last.clear(),
        }
        Ok(())
    })?;
    written.compare(db)
}

impl Written {
    fn add(&mut self, index: u64, request: &Request) {
        match request {
            Request::Put(put) if put.lease == 0 && !put.ignore_value && !put.ignore_lease => {
                self.add_put(put);
                if self.last.contains_key(&put.key) || self.last.len() < MOST_KEYS {
                    self.last.insert(put.key.clone(), (index, checksum(&put.key, &put.value)));
                }
            }
            Request::Put(_) | Request::DeleteRange(_) | Request::Txn(_) => {
                let mut touched = Interest::default();
                touched.add(request);
                self.last.retain(|key, _| !touched.touched.contains(key));
                match request {
                    Request::Put(put) => self.add_put(put),
                    Request::Txn(txn) => self.add_txn(txn),
                    _ => {}
                }
            }
            Request::Alarm(_) | Request::Auth(_) => self.may_refuse = true,
            _ => {}
        }
    }

    fn add_put(&mut self, put: &PutRequest) {
        if self.puts.len() < MOST_PUTS {
            self.puts.insert(checksum(&put.key, &put.value));
        }
    }

    fn add_txn(&mut self, txn: &TxnRequest) {
        for operation in txn.success.iter().chain(&txn.failure) {
            match &operation.request {
                Some(Op::Put(put)) => self.add_put(put),
                Some(Op::Txn(txn)) => self.add_txn(txn),
                _ => {}
            }
        }
    }

    fn compare(self, db: &dyn Source) -> Result<u64> {
        let mut found: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
        let mut newest = VecDeque::new();
        db.revisions(&mut |key, value| {
            if is_bump_mark(value) {
                return Ok(());
            }
            let kv = KeyValue::decode(value)
                .map_err(|defect| FindingKind::KeyValue { revision: key.revision, defect })?;
            let is_asked = self.last.contains_key(kv.key);
            if key.tombstone {
                found.remove(kv.key);
                return Ok(());
            }
            let checksum = checksum(kv.key, kv.value);
            if is_asked {
                found.insert(kv.key.to_vec(), checksum);
            }
            if newest.len() == NEWEST {
                newest.pop_front();
            }
            newest.push_back(checksum);
            Ok(())
        })?;
        let mut same = newest.iter().filter(|checksum| self.puts.contains(checksum)).count() as u64;
        for (key, (index, checksum)) in self.last {
            if found.get(&key) == Some(&checksum) {
                same += 1;
            } else if !self.may_refuse {
                return Err(FindingKind::BaseContent { index, key }.into());
            }
        }
        Ok(same)
    }
}

fn checksum(key: &[u8], value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), value)
}
