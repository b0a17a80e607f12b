//! Checks before a restore writes anything.

use std::path::Path;

use anyhow::Result;
use lifeboat_etcd::{InitialCluster, Member, Source, State, newer_data};

use crate::exit::Refused;
use crate::terminal::stderr_line;

/// Refuses a file that lacks data in files next to it.
pub(super) fn ensure_complete(path: &Path, db_only: bool) -> Result<()> {
    let Some(lacking) = newer_data(path)? else { return Ok(()) };
    if db_only {
        stderr_line(format_args!("warning: {}: {lacking}", path.display()));
        return Ok(());
    }
    Err(Refused(format!("{}: {lacking}; --db-only restores it anyway", path.display())).into())
}

/// Refuses the default single-member cluster if the source lists other members, and warns about differences between
/// the new cluster and the source's.
pub(super) fn ensure_intended_members(
    source: &dyn Source,
    cluster: &InitialCluster,
    is_given: bool,
) -> Result<()> {
    // Damage is reported by the restore itself.
    let Ok(State { members, .. }) = State::read(source) else { return Ok(()) };
    let Some(known) = InitialCluster::of(&members, "") else { return Ok(()) };
    if !is_given && differs(&members, cluster) {
        return Err(Refused(format!(
            "missing --initial-cluster: the default is a single member at {cluster}, which no other can join; the source \
             lists these members\n    --initial-cluster {known}\n  to create the single member, pass --initial-cluster {cluster}"
        ))
        .into());
    }
    for line in mismatches(&members, cluster) {
        stderr_line(format_args!("warning: {line}"));
    }
    Ok(())
}

fn differs(members: &[Member], cluster: &InitialCluster) -> bool {
    cluster.initial_members().iter().any(|new| {
        !members
            .iter()
            .any(|old| old.name == new.name && old.peer_urls.iter().all(|url| new.peer_urls.contains(url)))
    })
}

/// Names and URLs that look like mistakes: a move to new machines would change both.
fn mismatches(members: &[Member], cluster: &InitialCluster) -> Vec<String> {
    let mut lines = Vec::new();
    for new in cluster.initial_members() {
        let urls = new.peer_urls.join(",");
        for old in members.iter().filter(|old| !old.name.is_empty()) {
            let same_urls = old.peer_urls.iter().all(|url| new.peer_urls.contains(url));
            if old.name == new.name && !same_urls {
                lines.push(format!(
                    "member {}: its peer URL changes from {} to {urls}",
                    new.name,
                    old.peer_urls.join(",")
                ));
            } else if old.name != new.name && same_urls {
                lines.push(format!("peer URL {urls}: its member changes from {} to {}", old.name, new.name));
            }
        }
        let is_loopback =
            |url: &String| ["//localhost:", "//127.", "//[::1]:"].iter().any(|host| url.contains(host));
        let was_loopback = members.iter().any(|old| old.peer_urls.iter().any(is_loopback));
        if new.peer_urls.iter().any(is_loopback) && !was_loopback {
            lines.push(format!("member {}: no other member can reach {urls}", new.name));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use lifeboat_etcd::MemberId;

    fn member(name: &str, url: &str) -> Member {
        Member {
            id: MemberId(1),
            peer_urls: vec![url.into()],
            is_learner: false,
            name: name.into(),
            client_urls: Vec::new(),
        }
    }

    #[test]
    fn mistakes_are_distinguished_from_new_machines() {
        let members = [member("a", "https://10.0.0.1:2380"), member("b", "https://10.0.0.2:2380")];
        let warnings = |cluster: &str| mismatches(&members, &InitialCluster::parse(cluster, "t").unwrap());
        assert!(warnings("a=https://10.0.0.1:2380,b=https://10.0.0.2:2380").is_empty());
        assert!(warnings("c=https://10.0.1.1:2380,d=https://10.0.1.2:2380").is_empty());
        assert!(warnings("a=https://10.0.0.9:2380")[0].contains("changes from https://10.0.0.1:2380"));
        assert!(warnings("x=https://10.0.0.2:2380")[0].contains("changes from b to x"));
        assert!(warnings("default=http://localhost:2380")[0].contains("no other member can reach"));
    }
}
