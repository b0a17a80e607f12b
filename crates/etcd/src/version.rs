//! etcd's minor versions, with their on-disk formats.

use std::fmt;
use std::str::FromStr;

/// A minor version of etcd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EtcdVersion {
    /// 3.4: membership in the v2 store of the `.snap`.
    V3_4,
    /// 3.5: `term` and `confState` in the `meta` bucket.
    V3_5,
    /// 3.6: `storageVersion` in the `meta` bucket; membership from the database.
    V3_6,
    /// 3.7: the `.snap` is no longer read.
    V3_7,
}

impl EtcdVersion {
    /// All of them, oldest first.
    pub const ALL: [Self; 4] = [Self::V3_4, Self::V3_5, Self::V3_6, Self::V3_7];

    /// The version a full version string belongs to, such as `3.6.0`; `None` for others.
    pub fn of(version: &str) -> Option<Self> {
        let mut parts = version.trim_start_matches('v').split('.');
        match (parts.next()?, parts.next()?) {
            ("3", "4") => Some(Self::V3_4),
            ("3", "5") => Some(Self::V3_5),
            ("3", "6") => Some(Self::V3_6),
            ("3", "7") => Some(Self::V3_7),
            _ => None,
        }
    }

    /// Whether a stored version such as `3.6.0` is newer; an unparsable one counts as newer.
    pub(crate) fn is_below(self, stored: &str) -> bool {
        let minor = |version: &str| {
            let mut parts = version.split('.').map(str::parse::<u64>);
            Some((parts.next()?.ok()?, parts.next()?.ok()?))
        };
        minor(stored).is_none_or(|stored| Some(stored) > minor(&self.stored()))
    }

    /// As etcd stores it: `3.6.0`.
    pub fn stored(self) -> String {
        format!("{self}.0")
    }
}

impl fmt::Display for EtcdVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V3_4 => "3.4",
            Self::V3_5 => "3.5",
            Self::V3_6 => "3.6",
            Self::V3_7 => "3.7",
        })
    }
}

impl FromStr for EtcdVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::of(text).ok_or_else(|| format!("etcd version {text:?} is not one of 3.4, 3.5, 3.6, 3.7"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        for (stored, below) in [
            ("3.0.0", false),
            ("3.6.0", false),
            ("3.7.0", true),
            ("3.10.0", true),
            ("4.0.0", true),
            ("x", true),
        ] {
            assert_eq!(EtcdVersion::V3_6.is_below(stored), below, "{stored}");
        }
    }
}
