//! The names, URLs and token of a cluster, chosen before it starts: a restore needs those that its members will run
//! with.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;

use anyhow::{Context, Result, ensure};

/// Ports below the range that Linux uses for outgoing connections (from 32768). While a member is down, any client on
/// the machine could be given a port in that range, and a peer that keeps dialling the member could even connect to
/// itself.
const PORTS: RangeInclusive<u16> = 15000..=31000;
const ATTEMPTS: usize = 200;

const MAX_MEMBERS: usize = 5;

/// Names, URLs and token of a cluster.
///
/// The ports are held until the cluster starts, so that no other test gets them.
#[derive(Debug)]
pub struct ClusterLayout {
    members: Vec<MemberLayout>,
    token: String,
    tls: bool,
    reserved: Vec<TcpListener>,
}

/// One member's place in a [`ClusterLayout`].
#[derive(Clone, Debug)]
pub struct MemberLayout {
    /// `m1`, `m2`, ...
    pub name: String,
    /// Its peer URL, such as `http://127.0.0.1:20001`.
    pub peer_url: String,
    /// Its client URL.
    pub client_url: String,
}

impl ClusterLayout {
    /// `members` (1 to 5) members without TLS on free loopback ports.
    pub fn new(members: usize) -> Result<Self> {
        Self::with_scheme(members, false)
    }

    /// Like [`ClusterLayout::new`], with TLS for peers and clients.
    pub fn with_tls(members: usize) -> Result<Self> {
        Self::with_scheme(members, true)
    }

    fn with_scheme(members: usize, tls: bool) -> Result<Self> {
        ensure!(
            (1..=MAX_MEMBERS).contains(&members),
            "a cluster has 1 to {MAX_MEMBERS} members, not {members}"
        );
        let scheme = if tls { "https" } else { "http" };
        let mut reserved = Vec::new();
        let mut url = || -> Result<String> {
            let (listener, port) = reserve()?;
            reserved.push(listener);
            Ok(format!("{scheme}://127.0.0.1:{port}"))
        };
        let members = (1..=members)
            .map(|i| Ok(MemberLayout { name: format!("m{i}"), peer_url: url()?, client_url: url()? }))
            .collect::<Result<_>>()?;
        // Members of two clusters that have used the same port must not take each other for peers.
        let token = format!("lab-{:016x}", fastrand::u64(..));
        Ok(Self { members, token, tls, reserved })
    }

    /// The members, in order.
    #[must_use]
    pub fn members(&self) -> &[MemberLayout] {
        &self.members
    }

    /// The value of `--initial-cluster`.
    #[must_use]
    pub fn initial_cluster(&self) -> String {
        let peers: Vec<String> = self.members.iter().map(|m| format!("{}={}", m.name, m.peer_url)).collect();
        peers.join(",")
    }

    /// The value of `--initial-cluster-token`.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Whether the members use TLS.
    #[must_use]
    pub fn tls(&self) -> bool {
        self.tls
    }

    /// The same names, URLs and token, for a cluster that replaces one that has ended. Its ports are not held.
    #[must_use]
    pub fn again(&self) -> Self {
        let Self { members, token, tls, .. } = self;
        Self { members: members.clone(), token: token.clone(), tls: *tls, reserved: Vec::new() }
    }

    /// Releases the ports for the members to listen on.
    pub(super) fn release_ports(&mut self) {
        self.reserved.clear();
    }
}

fn reserve() -> Result<(TcpListener, u16)> {
    let mut taken = None;
    for _ in 0..ATTEMPTS {
        let port = fastrand::u16(PORTS);
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(listener) => return Ok((listener, port)),
            Err(error) => taken = Some(error),
        }
    }
    Err(taken.context("no port was tried")?)
        .with_context(|| format!("find a free port in {ATTEMPTS} attempts"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_names_every_member_once_on_its_own_ports() {
        let layout = ClusterLayout::with_tls(3).unwrap();
        let mut urls: Vec<_> = layout.members().iter().flat_map(|m| [&m.peer_url, &m.client_url]).collect();
        assert!(urls.iter().all(|url| url.starts_with("https://127.0.0.1:")), "{urls:?}");
        urls.sort();
        urls.dedup();
        assert_eq!(urls.len(), 6);
        let peers = layout.initial_cluster();
        assert!(peers.starts_with("m1=https://127.0.0.1:") && peers.matches(',').count() == 2, "{peers}");
    }

    #[test]
    fn clusters_that_are_too_small_or_large_are_refused() {
        assert!(ClusterLayout::new(0).is_err());
        assert!(ClusterLayout::new(6).is_err());
    }
}
