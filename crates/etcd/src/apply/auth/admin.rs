//! Requests that change users and roles (`server/auth/store.go`). One that changes anything takes an auth revision.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::Message;

use super::super::key_range::KeyRange;
use super::super::messages::{
    AuthRoleGrantPermissionRequest, AuthRoleRevokePermissionRequest, AuthUserAddRequest,
    AuthUserChangePasswordRequest, Permission, Role, User, UserAddOptions,
};
use super::super::request::AuthRequest;
use super::{Auth, Decided, ROOT, has_root_role};
use crate::apply::Overlay;
use crate::schema::{Bucket, auth};
use crate::version::EtcdVersion;

/// Up to as many permissions Go's sort keeps the order of equal keys, in every release etcd was built with.
const STABLY_SORTED: usize = 6;

const SALTED: &str = "a password that etcd hashes with a salt of its own when it applies it";
const UNSORTED: &str = "AuthRoleGrantPermission to a role with many permissions for the same key";
const EMPTY: &str = "AuthRoleGrantPermission of an empty range";

impl Auth {
    /// Applies a request that is permitted.
    pub(in crate::apply) fn apply(&mut self, request: AuthRequest, overlay: &mut Overlay) -> Decided<()> {
        let changed = match request {
            AuthRequest::Enable => {
                self.enable(overlay);
                false
            }
            AuthRequest::Disable => self.disable(overlay),
            AuthRequest::UserAdd(add) => self.add_user(add, overlay)?,
            AuthRequest::UserDelete(name) => self.delete_user(&name, overlay),
            AuthRequest::UserChangePassword(change) => self.change_password(&change, overlay)?,
            AuthRequest::UserGrantRole { user, role } => self.grant_role(&user, role, overlay),
            AuthRequest::UserRevokeRole { user, role } => self.revoke_role(&user, &role, overlay),
            AuthRequest::RoleAdd(name) => self.add_role(name, overlay),
            AuthRequest::RoleDelete(name) => self.delete_role(&name, overlay),
            AuthRequest::RoleGrantPermission(grant) => self.grant_permission(grant, overlay)?,
            AuthRequest::RoleRevokePermission(revoke) => self.revoke_permission(&revoke, overlay),
        };
        if changed {
            self.revision = self.revision.saturating_add(1);
            overlay.set(Bucket::Auth, auth::REVISION, self.revision.to_be_bytes());
        }
        Ok(())
    }

    fn enable(&mut self, overlay: &mut Overlay) {
        if !self.enabled && self.users.get(ROOT).is_some_and(has_root_role) {
            self.enabled = true;
            overlay.set(Bucket::Auth, auth::ENABLED, [1]);
        }
    }

    fn disable(&mut self, overlay: &mut Overlay) -> bool {
        let was_enabled = std::mem::replace(&mut self.enabled, false);
        if was_enabled {
            overlay.set(Bucket::Auth, auth::ENABLED, [0]);
        }
        was_enabled
    }

    fn add_user(&mut self, add: AuthUserAddRequest, overlay: &mut Overlay) -> Decided<bool> {
        let AuthUserAddRequest { name, password, options, hashed_password } = add;
        if name.is_empty() || self.users.contains_key(&name) {
            return Ok(false);
        }
        let options = options.unwrap_or(UserAddOptions { no_password: false });
        let password = if options.no_password { Vec::new() } else { self.hash(&password, &hashed_password)? };
        let user =
            User { name: name.clone().into_bytes(), password, roles: Vec::new(), options: Some(options) };
        self.put_user(name, user, overlay);
        Ok(true)
    }

    fn delete_user(&mut self, name: &str, overlay: &mut Overlay) -> bool {
        let kept = self.enabled && name == ROOT;
        let deleted = if kept { None } else { self.users.remove(name) };
        if let Some(user) = &deleted {
            overlay.remove(Bucket::AuthUsers, name);
            self.seen.insert((name.into(), has_root_role(user)));
        }
        deleted.is_some()
    }

    fn change_password(
        &mut self,
        change: &AuthUserChangePasswordRequest,
        overlay: &mut Overlay,
    ) -> Decided<bool> {
        let Some(user) = self.users.get(&change.name) else { return Ok(false) };
        let has_none = user.options.is_some_and(|options| options.no_password);
        // 3.4 gives one to a user without, too.
        let password = if has_none && self.since(EtcdVersion::V3_5) {
            Vec::new()
        } else {
            self.hash(&change.password, &change.hashed_password)?
        };
        let user = User { password, name: change.name.clone().into_bytes(), ..user.clone() };
        self.put_user(change.name.clone(), user, overlay);
        Ok(true)
    }

    /// A password's hash, as it was made before the request went into the log (`selectPassword`).
    fn hash(&self, password: &str, hashed: &str) -> Decided<Vec<u8>> {
        if !self.since(EtcdVersion::V3_5) || !password.is_empty() && hashed.is_empty() {
            return Err(SALTED);
        }
        STANDARD.decode(hashed).map_err(|_| "a hashed password that is not base64")
    }

    fn grant_role(&mut self, name: &str, role: String, overlay: &mut Overlay) -> bool {
        let there = role == ROOT || self.roles.contains_key(&role);
        let Some(user) = self.users.get(name).filter(|_| there) else { return false };
        let Err(place) = user.roles.binary_search(&role) else { return false };
        let mut user = user.clone();
        user.roles.insert(place, role);
        self.put_user(name.into(), user, overlay);
        true
    }

    fn revoke_role(&mut self, name: &str, role: &str, overlay: &mut Overlay) -> bool {
        let kept = self.enabled && name == ROOT && role == ROOT;
        let user = self.users.get(name).filter(|_| !kept);
        let without = user.and_then(|user| without_role(user, role));
        let revoked = without.is_some();
        if let Some(user) = without {
            self.put_user(name.into(), user, overlay);
        }
        revoked
    }

    fn add_role(&mut self, name: String, overlay: &mut Overlay) -> bool {
        let added = !name.is_empty() && !self.roles.contains_key(&name);
        if added {
            let role = Role { name: name.clone().into_bytes(), key_permission: Vec::new() };
            self.put_role(name, role, overlay);
        }
        added
    }

    fn delete_role(&mut self, name: &str, overlay: &mut Overlay) -> bool {
        let kept = self.enabled && name == ROOT;
        if kept || self.roles.remove(name).is_none() {
            return false;
        }
        overlay.remove(Bucket::AuthRoles, name);
        let without = |(key, user): (&String, &User)| Some((key.clone(), without_role(user, name)?));
        for (key, user) in self.users.iter().filter_map(without).collect::<Vec<_>>() {
            self.put_user(key, user, overlay);
        }
        true
    }

    fn grant_permission(
        &mut self,
        grant: AuthRoleGrantPermissionRequest,
        overlay: &mut Overlay,
    ) -> Decided<bool> {
        let AuthRoleGrantPermissionRequest { name, perm } = grant;
        let valid = perm.filter(|perm| !KeyRange::new(&perm.key, &perm.range_end).is_empty());
        let Some(perm) = valid.filter(|perm| !perm.key.is_empty()) else {
            // Granted before 3.4.25 and 3.5.8, or a crash.
            return if self.since(EtcdVersion::V3_6) { Ok(false) } else { Err(EMPTY) };
        };
        let Some(role) = self.roles.get(&name) else { return Ok(false) };
        let mut role = role.clone();
        grant_to(&mut role.key_permission, perm)?;
        self.put_role(name, role, overlay);
        Ok(true)
    }

    fn revoke_permission(&mut self, revoke: &AuthRoleRevokePermissionRequest, overlay: &mut Overlay) -> bool {
        let AuthRoleRevokePermissionRequest { role: name, key, range_end } = revoke;
        let Some(role) = self.roles.get(name) else { return false };
        let kept = role.key_permission.iter().filter(|perm| perm.key != *key || perm.range_end != *range_end);
        let kept: Vec<_> = kept.cloned().collect();
        let revoked = kept.len() != role.key_permission.len();
        if revoked {
            let role = Role { name: role.name.clone(), key_permission: kept };
            self.put_role(name.clone(), role, overlay);
        }
        revoked
    }

    fn put_user(&mut self, name: String, user: User, overlay: &mut Overlay) {
        overlay.set(Bucket::AuthUsers, name.as_str(), user.encode_to_vec());
        self.seen.insert((name.clone(), has_root_role(&user)));
        self.users.insert(name, user);
    }

    fn put_role(&mut self, name: String, role: Role, overlay: &mut Overlay) {
        overlay.set(Bucket::AuthRoles, name.as_str(), role.encode_to_vec());
        self.roles.insert(name, role);
    }
}

/// A user without a role; `None` when the user does not have it.
fn without_role(user: &User, role: &str) -> Option<User> {
    let roles: Vec<_> = user.roles.iter().filter(|one| *one != role).cloned().collect();
    (roles.len() != user.roles.len()).then(|| User { roles, ..user.clone() })
}

/// Looks at the first permission for the key alone, and else adds one and sorts them by key, as etcd does.
fn grant_to(permissions: &mut Vec<Permission>, perm: Permission) -> Decided<()> {
    if !permissions.is_sorted_by(|one, next| one.key <= next.key) {
        return Err(UNSORTED);
    }
    let place = permissions.partition_point(|one| one.key < perm.key);
    let first = permissions.get_mut(place);
    if let Some(same) = first.filter(|one| one.key == perm.key && one.range_end == perm.range_end) {
        same.perm_type = perm.perm_type;
        return Ok(());
    }
    let place = permissions.partition_point(|one| one.key <= perm.key);
    permissions.insert(place, perm);
    let alike = !permissions.is_sorted_by(|one, next| one.key < next.key);
    if alike && permissions.len() > STABLY_SORTED { Err(UNSORTED) } else { Ok(()) }
}
