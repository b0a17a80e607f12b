//! Users and roles, and what they permit (`server/auth/store.go`).
//!
//! The servers of one minor version do not all permit the same: fixes of their checks came in patch releases, and a
//! data dir does not say which release wrote it. What they would answer differently is refused by name.

mod admin;
mod check;
mod ranges;

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use super::messages::{Permission, RequestHeader, Role, User};
use crate::error::Result;
use crate::finding::FindingKind;
use crate::schema::Bucket;
use crate::source::Source;
use crate::state::State;
use crate::version::EtcdVersion;

const ROOT: &str = "root";

const READ: i32 = 0;
const WRITE: i32 = 1;
const READ_WRITE: i32 = 2;

const STALE: &str =
    "a request of a user whom etcd 3.5 may still take for root, or not yet, as the log has it both ways";

/// An answer, or what cannot be answered: the name of the request, for
/// [`FindingKind::UnsupportedRequest`](crate::FindingKind).
type Decided<T> = std::result::Result<T, &'static str>;

/// Who sent a request, and the auth revision it was let in at.
#[derive(Debug, Default)]
pub(super) struct AuthInfo {
    username: String,
    revision: u64,
}

impl From<Option<RequestHeader>> for AuthInfo {
    fn from(header: Option<RequestHeader>) -> Self {
        let RequestHeader { username, auth_revision: revision, .. } = header.unwrap_or_default();
        Self { username, revision }
    }
}

/// Users and roles while a log is replayed.
#[derive(Debug, Default)]
pub(super) struct Auth {
    enabled: bool,
    revision: u64,
    users: BTreeMap<String, User>,
    roles: BTreeMap<String, Role>,
    version: Option<EtcdVersion>,
    /// Users as the log has put or deleted them: whether they had the role `root`. From 3.5.3 on, 3.5 reads users through
    /// a buffer whose end it does not watch: what was put there before the last commit may still be found
    /// (`mvcc/backend/tx_buffer.go`, `Range`; watched since 3.6).
    seen: BTreeSet<(String, bool)>,
}

impl Auth {
    /// For replays without any permission check.
    pub(super) fn disabled() -> Self {
        Self::default()
    }

    /// Reads users and roles.
    pub(super) fn load(db: &dyn Source, state: &State) -> Result<Self> {
        Ok(Self {
            enabled: state.auth.enabled,
            // A server that starts without one begins with 1 (`NewAuthStore`).
            revision: state.auth.revision.max(1),
            users: rows(db, Bucket::AuthUsers)?,
            roles: rows(db, Bucket::AuthRoles)?,
            version: state.written_by(),
            seen: BTreeSet::new(),
        })
    }

    /// Whether a user may change users and roles (`IsAdminPermitted`); of any revision.
    fn is_admin_permitted(&self, info: &AuthInfo) -> Decided<bool> {
        if self.enabled { self.is_root(&info.username).ok_or(STALE) } else { Ok(true) }
    }

    /// Whether there is such a user, with the role `root`; `None` where a server may read the user as it was before.
    fn is_root(&self, name: &str) -> Option<bool> {
        let is_root = self.users.get(name).is_some_and(has_root_role);
        let reads_stale = self.since(EtcdVersion::V3_5) && !self.since(EtcdVersion::V3_6);
        let is_stale = reads_stale && self.seen.contains(&(name.into(), !is_root));
        (!is_stale).then_some(is_root)
    }

    /// The permissions of a user's roles that are of this kind.
    fn permissions(&self, user: &User, kind: i32) -> impl Iterator<Item = &Permission> {
        let roles = user.roles.iter().filter_map(|role| self.roles.get(role));
        let permissions = roles.flat_map(|role| &role.key_permission);
        permissions
            .filter(move |permission| permission.perm_type == kind || permission.perm_type == READ_WRITE)
    }

    fn since(&self, version: EtcdVersion) -> bool {
        self.version.is_none_or(|ours| ours >= version)
    }
}

/// Roles are sorted, and searched so.
fn has_root_role(user: &User) -> bool {
    user.roles.binary_search_by(|role| role.as_str().cmp(ROOT)).is_ok()
}

fn rows<M: Message + Default>(db: &dyn Source, bucket: Bucket) -> Result<BTreeMap<String, M>> {
    let mut rows = BTreeMap::new();
    db.metadata_bucket(bucket, &mut |key, value| {
        let row = || {
            let name = String::from_utf8(key.to_vec()).ok()?;
            // A field that is not known here would be lost when the row is written again.
            let message = M::decode(value).ok().filter(|message| message.encode_to_vec() == value)?;
            Some((name, message))
        };
        let (name, message) =
            row().ok_or_else(|| FindingKind::MetadataBucket { bucket, key: key.to_vec() })?;
        rows.insert(name, message);
        Ok(())
    })?;
    Ok(rows)
}
