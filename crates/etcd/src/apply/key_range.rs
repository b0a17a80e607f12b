//! A range of keys as requests name it.

/// No end for one key, `\0` for all from the key on (`txn/txn.go`, `mkGteRange`).
#[derive(Debug, Clone, Copy)]
pub(super) enum KeyRange<'a> {
    One(&'a [u8]),
    Between(&'a [u8], Option<&'a [u8]>),
}

impl<'a> KeyRange<'a> {
    pub(super) fn new(key: &'a [u8], range_end: &'a [u8]) -> Self {
        match range_end {
            [] => Self::One(key),
            [0] => Self::Between(key, None),
            end => Self::Between(key, Some(end)),
        }
    }

    /// Its first key.
    pub(super) fn start(self) -> &'a [u8] {
        match self {
            Self::One(key) | Self::Between(key, _) => key,
        }
    }

    /// Whether it ends before it begins: no key is in it.
    pub(super) fn is_empty(self) -> bool {
        matches!(self, Self::Between(start, Some(end)) if end <= start)
    }

    pub(super) fn contains(self, key: &[u8]) -> bool {
        match self {
            Self::One(one) => one == key,
            Self::Between(start, end) => start <= key && end.is_none_or(|end| key < end),
        }
    }
}
