//! The keys that a workload wrote, at every revision.

use std::collections::BTreeMap;

use super::Write;

/// The keys that a workload wrote; not those that existed before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// The live keys, with their values.
    pub live: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Every change in the order etcd made them; those of one transaction share a revision.
    pub changes: Vec<Change>,
    /// The leases granted, oldest first.
    pub leases: Vec<i64>,
    /// The cluster's revision after the last request.
    pub revision: i64,
    /// The revision of each live key's last change.
    mod_revisions: BTreeMap<Vec<u8>, i64>,
}

/// A put or delete as etcd recorded it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The main revision.
    pub revision: i64,
    /// The key.
    pub key: Vec<u8>,
    /// Its new value, or `None` when it was deleted.
    pub value: Option<Vec<u8>>,
}

impl Model {
    /// The live keys at `revision`.
    #[must_use]
    pub fn at(&self, revision: i64) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut live = BTreeMap::new();
        for change in self.changes.iter().take_while(|change| change.revision <= revision) {
            match &change.value {
                Some(value) => live.insert(change.key.clone(), value.clone()),
                None => live.remove(&change.key),
            };
        }
        live
    }

    /// The revision of the key's last change; 0 if it does not exist, as in etcd's compare.
    #[must_use]
    pub fn mod_revision(&self, key: &[u8]) -> i64 {
        self.mod_revisions.get(key).copied().unwrap_or_default()
    }

    pub(super) fn apply(&mut self, revision: i64, write: Write) {
        match write {
            Write::Put { key, value, .. } => {
                self.live.insert(key.clone(), value.clone());
                self.mod_revisions.insert(key.clone(), revision);
                self.changes.push(Change { revision, key, value: Some(value) });
            }
            Write::Delete { key } => self.delete(revision, &key),
        }
    }

    /// As in etcd, deleting a key that does not exist changes nothing.
    fn delete(&mut self, revision: i64, key: &[u8]) {
        if self.live.remove(key).is_some() {
            self.mod_revisions.remove(key);
            self.changes.push(Change { revision, key: key.to_vec(), value: None });
        }
    }

    /// etcd deletes a range in key order.
    pub(super) fn delete_prefix(&mut self, revision: i64, prefix: &[u8]) {
        let from = self.live.range(prefix.to_vec()..).map(|(key, _)| key);
        let keys: Vec<_> = from.take_while(|key| key.starts_with(prefix)).cloned().collect();
        for key in keys {
            self.delete(revision, &key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earlier_revisions_can_be_read() {
        let mut model = Model::default();
        let put = |key: &str| Write::Put { key: key.into(), value: b"x".to_vec(), leased: false };
        model.apply(2, put("a1"));
        model.apply(3, put("a2"));
        model.apply(3, put("b"));
        model.delete_prefix(4, b"a");
        model.apply(4, Write::Delete { key: b"absent".to_vec() });
        assert_eq!(model.at(1).len(), 0);
        assert_eq!(model.at(2).len(), 1);
        assert_eq!(model.at(3).len(), 3);
        assert_eq!(model.at(4), model.live);
        assert_eq!((model.mod_revision(b"b"), model.mod_revision(b"a1")), (3, 0));
        assert_eq!(model.changes.len(), 5);
    }
}
