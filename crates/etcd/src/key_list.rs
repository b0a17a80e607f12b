//! Keys, as a list that damage cannot make as long as it likes.

/// Keys listed at most, and bytes of them.
const MAX_LISTED: usize = 100_000;
const MAX_LISTED_BYTES: usize = 4 << 20;

/// Keys, listed as far as memory is for them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyList {
    /// The first of them, by their newest revision.
    pub listed: Vec<Vec<u8>>,
    /// How many there are.
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
