//! Whether members reach each other: asked on each member's machine, since only its own network path counts.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;

use crate::error_text;
use crate::facts::{Fact, Reach};
use crate::host::Command;
use crate::inventory::{Inventory, MemberSpec};
use crate::probe::access::Access;
use crate::probe::reach::{authority, understand};

use super::Depth;

const SCRIPT: &str = concat!(include_str!("../reach.sh"), include_str!("peers.sh"));
/// Longest for all answers; each has 2 s, and they are asked for at once.
const LIMIT: Duration = Duration::from_secs(6);

/// For every member what its machine reaches; `None` for all where that is not wanted.
pub(super) async fn collect(
    inventory: &Inventory,
    access: &Access,
    depth: Option<Depth<'_, '_>>,
) -> Vec<Option<Fact<BTreeMap<String, Reach>>>> {
    let asked = inventory.etcd.members.iter().map(|(name, spec)| async move {
        let depth = depth?;
        let source = format!("ssh {}: TCP connections to peers", spec.host);
        let answer = async {
            depth.hosts.trusted(inventory, &spec.host).await?;
            one(inventory, access, name, spec).await
        };
        Some(match answer.await {
            Ok(peers) => Fact::value(source, peers),
            Err(why) => Fact::unknown(source, why),
        })
    });
    join_all(asked).await
}

async fn one(
    inventory: &Inventory,
    access: &Access,
    name: &str,
    spec: &MemberSpec,
) -> Result<BTreeMap<String, Reach>, String> {
    let host = access.hosts.get(&spec.host).ok_or_else(|| format!("no access to {}", spec.host))?;
    let others = inventory.etcd.members.iter().filter(|(other, _)| *other != name);
    let mut arguments = Vec::new();
    for (other, spec) in others {
        let (address, port) = authority(&spec.peer_url)?;
        arguments.extend([other.clone(), address, port]);
    }
    let output = host.run(&Command::script(SCRIPT, arguments).within(LIMIT)).await;
    let text = output.map_err(|error| error_text::of(&error))?.text();
    let known = |line: &str| {
        let (peer, result) = line.strip_prefix("peer\t")?.split_once('\t')?;
        let peer = inventory.etcd.members.keys().find(|name| *name == peer)?;
        Some((peer.clone(), understand(result)?))
    };
    Ok(text.lines().filter_map(known).collect())
}
