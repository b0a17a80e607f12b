//! Names of etcd's buckets and of the keys in the small ones (`server/storage/schema/bucket.go`).

/// A bucket of etcd's database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bucket {
    /// Alarms raised.
    Alarm,
    /// Whether auth is on, and its revision.
    Auth,
    /// Roles and their permissions.
    AuthRoles,
    /// Users, their roles and password hashes.
    AuthUsers,
    /// Cluster version and downgrade state.
    Cluster,
    /// All revisions of all keys.
    Key,
    /// Leases granted.
    Lease,
    /// Members, by hexadecimal id.
    Members,
    /// Ids of members removed, never to be used again.
    MembersRemoved,
    /// Consistent index, term, conf state, compaction marks, storage version.
    Meta,
}

impl Bucket {
    /// All of them, in the order of their names: the order they are written in.
    pub const ALL: [Self; 10] = [
        Self::Alarm,
        Self::Auth,
        Self::AuthRoles,
        Self::AuthUsers,
        Self::Cluster,
        Self::Key,
        Self::Lease,
        Self::Members,
        Self::MembersRemoved,
        Self::Meta,
    ];

    /// The bucket of this name.
    pub(crate) fn named(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|bucket| bucket.name().as_bytes() == name)
    }

    /// Its name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Alarm => "alarm",
            Self::Auth => "auth",
            Self::AuthRoles => "authRoles",
            Self::AuthUsers => "authUsers",
            Self::Cluster => "cluster",
            Self::Key => "key",
            Self::Lease => "lease",
            Self::Members => "members",
            Self::MembersRemoved => "members_removed",
            Self::Meta => "meta",
        }
    }
}

/// Whether a key is known to etcd; only for buckets with a fixed set of keys.
pub(crate) fn is_known(bucket: Bucket, key: &[u8]) -> bool {
    let names: &[&str] = match bucket {
        Bucket::Meta => &meta::ALL,
        Bucket::Cluster => &cluster::ALL,
        Bucket::Auth => &auth::ALL,
        _ => return true,
    };
    names.iter().any(|name| name.as_bytes() == key)
}

/// Keys of the `meta` bucket.
pub(crate) mod meta {
    pub(crate) const CONF_STATE: &str = "confState";
    pub(crate) const CONSISTENT_INDEX: &str = "consistent_index";
    pub(crate) const FINISHED_COMPACT: &str = "finishedCompactRev";
    pub(crate) const SCHEDULED_COMPACT: &str = "scheduledCompactRev";
    pub(crate) const STORAGE_VERSION: &str = "storageVersion";
    pub(crate) const TERM: &str = "term";
    pub(super) const ALL: [&str; 6] =
        [CONF_STATE, CONSISTENT_INDEX, FINISHED_COMPACT, SCHEDULED_COMPACT, STORAGE_VERSION, TERM];
}

/// Keys of the `cluster` bucket.
pub(crate) mod cluster {
    pub(crate) const CLUSTER_VERSION: &str = "clusterVersion";
    pub(crate) const DOWNGRADE: &str = "downgrade";
    pub(super) const ALL: [&str; 2] = [CLUSTER_VERSION, DOWNGRADE];
}

/// Keys of the `auth` bucket.
pub(crate) mod auth {
    pub(crate) const ENABLED: &str = "authEnabled";
    pub(crate) const REVISION: &str = "authRevision";
    pub(super) const ALL: [&str; 2] = [ENABLED, REVISION];
}
