//! Alarms that members raise (`etcdserverpb.AlarmMember`).

use crate::member::MemberId;

/// An alarm raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alarm {
    /// The member it was raised for.
    pub member: MemberId,
    /// Kind of alarm.
    pub kind: AlarmKind,
}

/// Kind of alarm (`etcdserverpb.AlarmType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AlarmKind {
    /// The database reached its quota; puts are refused.
    NoSpace,
    /// The member's keyspace differs from its peers'.
    Corrupt,
    /// A number this crate does not know.
    Unknown(i32),
}

impl std::fmt::Display for AlarmKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoSpace => f.write_str("NOSPACE"),
            Self::Corrupt => f.write_str("CORRUPT"),
            Self::Unknown(number) => write!(f, "alarm {number}"),
        }
    }
}
