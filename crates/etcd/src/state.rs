//! The content of the metadata buckets, decoded (`server/storage/schema/*.go`).

use prost::Message;

use crate::alarm::{Alarm, AlarmKind};
use crate::conf_state::ConfState;
use crate::error::{Error, Result};
use crate::finding::FindingKind;
use crate::member::{Member, MemberId};
use crate::proto;
use crate::revision::Revision;
use crate::schema::{Bucket, auth, cluster, meta};
use crate::source::Source;
use crate::version::EtcdVersion;

/// Values listed at most that do not decode: a bad bucket could fill the memory with them.
const MAX_UNDECODABLE: usize = 1000;

/// The metadata buckets of a source. Values that do not decode are listed in `undecodable`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// Index of the last raft entry applied to the database; `None` before any.
    pub consistent_index: Option<u64>,
    /// Raft term of that entry; since 3.5.
    pub term: Option<u64>,
    /// Raft's configuration, JSON as stored; since 3.5.
    pub conf_state: Option<String>,
    /// Revision of the last compaction that was requested.
    pub scheduled_compact: Option<i64>,
    /// Revision of the last compaction that finished.
    pub finished_compact: Option<i64>,
    /// Version of the database's schema, such as `3.6.0`; since 3.6.
    pub storage_version: Option<String>,
    /// Cluster version, such as `3.6.0`.
    pub cluster_version: Option<String>,
    /// Downgrade under way, JSON as stored; since 3.5.
    pub downgrade: Option<String>,
    /// Members, by id.
    pub members: Vec<Member>,
    /// Ids of members removed.
    pub members_removed: Vec<MemberId>,
    /// Leases, by id.
    pub leases: Vec<Lease>,
    /// Alarms raised.
    pub alarms: Vec<Alarm>,
    /// Users, roles and whether they are enforced.
    pub auth: Auth,
    /// Values that do not decode; at most 1000.
    pub undecodable: Vec<FindingKind>,
}

/// A lease, as granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Its id, shown in hexadecimal as etcdctl does.
    pub id: i64,
    /// Seconds it was granted for.
    pub ttl: i64,
    /// Seconds left at the last checkpoint; 0 when there was none.
    pub remaining_ttl: i64,
}

/// Authentication, without its secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Auth {
    /// Whether requests need a user.
    pub enabled: bool,
    /// Counts changes to users and roles.
    pub revision: u64,
    /// Names of the users.
    pub users: Vec<String>,
    /// Names of the roles.
    pub roles: Vec<String>,
}

impl State {
    /// Reads the metadata buckets of a source.
    ///
    /// # Errors
    /// A bucket that cannot be read. Single values that do not decode end in [`State::undecodable`].
    pub fn read(source: &dyn Source) -> Result<Self> {
        let mut state = Self::default();
        for bucket in Bucket::ALL.into_iter().filter(|bucket| *bucket != Bucket::Key) {
            source.metadata_bucket(bucket, &mut |key, value| {
                if state.take(bucket, key, value).is_none() && state.undecodable.len() < MAX_UNDECODABLE {
                    state.undecodable.push(FindingKind::MetadataBucket { bucket, key: key.to_vec() });
                }
                Ok::<_, Error>(())
            })?;
        }
        state.promote_voters();
        Ok(state)
    }

    /// Turns a learner that is a voter in raft's configuration into a voter. etcd 3.5.1 to 3.5.19 did not store a
    /// promotion in the `members` bucket (etcd issue 19557), and a voter never becomes a learner.
    fn promote_voters(&mut self) {
        if !self.members.iter().any(|member| member.is_learner) {
            return;
        }
        let json = self.conf_state.as_deref().unwrap_or_default();
        let Ok(ConfState { voters, .. }) = serde_json::from_str(json) else { return };
        let is_voter = |member: &&mut Member| voters.contains(&member.id.0);
        self.members.iter_mut().filter(is_voter).for_each(|member| member.is_learner = false);
    }

    /// Takes one key and value in; `None` when it does not decode.
    pub(crate) fn take(&mut self, bucket: Bucket, key: &[u8], value: &[u8]) -> Option<()> {
        match bucket {
            Bucket::Key => {}
            Bucket::Meta => self.take_meta(key, value)?,
            Bucket::Cluster => self.take_cluster(key, value)?,
            Bucket::Members => {
                let member: Member = serde_json::from_slice(value).ok()?;
                let id: MemberId = std::str::from_utf8(key).ok()?.parse().ok()?;
                (member.id == id).then_some(())?;
                self.members.push(member);
            }
            Bucket::MembersRemoved => self.members_removed.push(std::str::from_utf8(key).ok()?.parse().ok()?),
            Bucket::Lease => {
                let lease = proto::Lease::decode(value).ok()?;
                (lease.id == i64::from_be_bytes(key.try_into().ok()?)).then_some(())?;
                let proto::Lease { id, ttl, remaining_ttl } = lease;
                self.leases.push(Lease { id, ttl, remaining_ttl });
            }
            Bucket::Alarm => {
                let alarm = proto::AlarmMember::decode(key).ok()?;
                let kind = match alarm.alarm {
                    1 => AlarmKind::NoSpace,
                    2 => AlarmKind::Corrupt,
                    other => AlarmKind::Unknown(other),
                };
                self.alarms.push(Alarm { member: MemberId(alarm.member_id), kind });
            }
            Bucket::Auth => self.take_auth(key, value)?,
            Bucket::AuthUsers => {
                let user = proto::User::decode(value).ok().filter(|user| user.name == key)?;
                self.auth.users.push(String::from_utf8(user.name).ok()?);
            }
            Bucket::AuthRoles => {
                let role = proto::Role::decode(value).ok().filter(|role| role.name == key)?;
                self.auth.roles.push(String::from_utf8(role.name).ok()?);
            }
        }
        Some(())
    }

    fn take_meta(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let number = || Some(u64::from_be_bytes(value.try_into().ok()?));
        match std::str::from_utf8(key).ok()? {
            meta::CONSISTENT_INDEX => self.consistent_index = Some(number()?),
            meta::TERM => self.term = Some(number()?),
            meta::CONF_STATE => {
                serde_json::from_slice::<serde::de::IgnoredAny>(value).ok()?;
                self.conf_state = Some(text(value)?);
            }
            meta::SCHEDULED_COMPACT => self.scheduled_compact = Some(Revision::from_bytes(value)?.main),
            meta::FINISHED_COMPACT => self.finished_compact = Some(Revision::from_bytes(value)?.main),
            meta::STORAGE_VERSION => self.storage_version = Some(text(value)?),
            _ => {}
        }
        Some(())
    }

    fn take_cluster(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        match std::str::from_utf8(key).ok()? {
            cluster::CLUSTER_VERSION => self.cluster_version = Some(text(value)?),
            cluster::DOWNGRADE => self.downgrade = Some(text(value)?),
            _ => {}
        }
        Some(())
    }

    fn take_auth(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        match std::str::from_utf8(key).ok()? {
            auth::ENABLED => self.auth.enabled = value == [1],
            auth::REVISION => self.auth.revision = u64::from_be_bytes(value.try_into().ok()?),
            _ => {}
        }
        Some(())
    }

    /// The revision up to which the store is compacted, whether or not the compaction has finished: what a
    /// server booted from it answers. `None` on a store that never was (the server says -1).
    pub fn compact_revision(&self) -> Option<i64> {
        self.scheduled_compact.max(self.finished_compact)
    }

    /// The revision of a compaction that was requested and has not finished: a server resumes it when it starts.
    pub fn pending_compaction(&self) -> Option<i64> {
        self.scheduled_compact.filter(|_| self.scheduled_compact > self.finished_compact)
    }

    /// The revision a server booted from this source would start at, given the newest one stored
    /// (`mvcc/kvstore.go`, `restore`).
    pub fn current_revision(&self, newest: Option<Revision>) -> i64 {
        newest.map_or(1, |revision| revision.main).max(self.compact_revision().unwrap_or(1)).max(1)
    }

    /// The version of etcd that wrote the source, as far as its fields tell; `None` for one that is not known
    /// here.
    pub fn written_by(&self) -> Option<EtcdVersion> {
        let versions = [self.storage_version.as_deref(), self.cluster_version.as_deref()];
        if versions.into_iter().flatten().any(|version| EtcdVersion::V3_7.is_below(version)) {
            return None;
        }
        match versions.map(|version| version.and_then(EtcdVersion::of)) {
            [Some(stored), cluster] => Some(stored.max(cluster.unwrap_or(stored))),
            // 3.6 stores its version some seconds after its members agreed on it.
            [None, Some(cluster)] if cluster != EtcdVersion::V3_5 => Some(cluster),
            // 3.5 keeps no storage version; its own fields in `meta` distinguish it from 3.4.
            [None, _] if self.term.is_some() || self.conf_state.is_some() => Some(EtcdVersion::V3_5),
            [None, _] => Some(EtcdVersion::V3_4),
        }
    }
}

fn text(value: &[u8]) -> Option<String> {
    String::from_utf8(value.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_told_from_what_each_writes() {
        let state = |storage: Option<&str>, cluster: Option<&str>, term| State {
            storage_version: storage.map(Into::into),
            cluster_version: cluster.map(Into::into),
            term,
            ..State::default()
        };
        for (state, expected) in [
            (state(None, Some("3.4.0"), None), Some(EtcdVersion::V3_4)),
            (state(None, None, None), Some(EtcdVersion::V3_4)),
            (state(None, Some("3.5.0"), Some(2)), Some(EtcdVersion::V3_5)),
            (state(None, Some("3.0.0"), Some(2)), Some(EtcdVersion::V3_5)),
            (state(None, Some("3.6.0"), Some(2)), Some(EtcdVersion::V3_6)),
            (state(Some("3.6.0"), Some("3.6.0"), Some(2)), Some(EtcdVersion::V3_6)),
            (state(Some("3.6.0"), Some("3.7.0"), Some(2)), Some(EtcdVersion::V3_7)),
            (state(Some("3.8.0"), Some("3.8.0"), Some(2)), None),
            (state(Some("3.7.0"), Some("3.10.0"), Some(2)), None),
        ] {
            assert_eq!(state.written_by(), expected, "{state:?}");
        }
    }
}
