//! A bounded list of keys.

/// Keys listed at most, and bytes of them.
const MAX_LISTED: usize = 100_000;
const MAX_LISTED_BYTES: usize = 4 << 20;

/// A bounded list of keys with a full count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyList {
    /// The keys, in the order of their newest revisions, up to a limit.
    pub listed: Vec<Vec<u8>>,
    /// Number of keys, also beyond the limit.
    pub count: u64,
    bytes: usize,
}

impl KeyList {
    pub(crate) fn add(&mut self, key: &[u8]) {
        self.count += 1;
        self.bytes += key.len();
        if self.listed.len() < MAX_LISTED && self.bytes <= MAX_LISTED_BYTES {
            self.listed.push(key.to_vec());
        }
    }
}
