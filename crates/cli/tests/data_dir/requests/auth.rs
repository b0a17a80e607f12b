//! Requests about users and roles. `root` keeps its password and role, or the server could not be queried afterwards.

use lab::peers::EtcdVersion;

use super::{Request, Requests};
use crate::raft::Proto;
use crate::support::PASSWORD;

const USERS: [&str; 4] = ["app", "u1", "u2", ""];
const ROLES: [&str; 5] = ["reader", "writer", "r1", "r2", "root"];
/// Base64 of what bcrypt makes of a password.
const HASHED: &str = "JDJhJDA0JGFiY2RlZmdoaWprbG1ub3BxcnN0dXV4eXpBQkNERUZHSElKS0xNTk9QUVJTVFVWV1hZWjAxMg==";

impl Requests {
    pub(super) fn auth(&mut self) -> Request {
        // Whom 3.5 takes for root is not always known (`requests_that_3_5_may_run_as_root_are_refused`).
        let roles = if self.version == EtcdVersion::V3_5 { &ROLES[..4] } else { &ROLES };
        let [user, role] = [*self.choose(&USERS), *self.choose(roles)];
        let text = |tag, text: &str| Proto::default().nonempty(tag, text);
        match self.rng.u8(0..40) {
            0..=3 => (1000, Proto::default()),
            4 => (1011, Proto::default()),
            5..=9 => (1100, self.user_add(user)),
            10..=11 => (1101, text(1, user)),
            12..=13 => (1103, self.change_password(user)),
            14..=19 => (1104, text(1, user).bytes(2, role)),
            20..=22 => (1105, text(1, user).bytes(2, role)),
            23..=26 => (1200, text(1, role)),
            27 => (1201, text(1, role)),
            28..=35 => {
                let (key, end) = self.permission();
                let permission =
                    Proto::default().nonzero(1, self.rng.i64(0..3)).bytes(2, key).nonempty(3, end);
                (1203, text(1, role).bytes(2, permission))
            }
            _ => {
                let (key, end) = self.permission();
                (1204, text(1, role).bytes(2, key).nonempty(3, end))
            }
        }
    }

    /// In a log, of keys with several ranges. Those that a server is sent in great numbers have one range for each key:
    /// etcd adds another one each time, and Go decides how more than six are sorted.
    fn permission(&mut self) -> (&'static str, &'static str) {
        if self.live {
            return *self.choose(&[("a", "c"), ("a/1", ""), ("b", "c\u{ff}\0"), ("c", "\0"), ("z", "")]);
        }
        *self.choose(&[("a", ""), ("a", "b"), ("a/1", ""), ("b", "c"), ("b", "\0"), ("c", "z")])
    }

    /// 3.4 hashes passwords when it applies a request, each time to something else.
    fn user_add(&mut self, name: &str) -> Proto {
        let user = Proto::default().nonempty(1, name);
        let with_password = self.version != EtcdVersion::V3_4 && self.rng.bool();
        match with_password {
            false => user.bytes(3, Proto::default().number(1, 1)),
            true if self.live => user.bytes(2, PASSWORD),
            true => user.bytes(4, HASHED),
        }
    }

    fn change_password(&mut self, name: &str) -> Proto {
        // A user that is not there has none to be changed.
        let name = if self.version == EtcdVersion::V3_4 { "nobody" } else { name };
        let user = Proto::default().nonempty(1, name);
        if self.live { user.bytes(2, PASSWORD) } else { user.bytes(3, HASHED) }
    }
}
