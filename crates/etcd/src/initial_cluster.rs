//! `--initial-cluster`: the members a restored cluster starts with.
//!
//! Follows etcd's own reading of the flag (`client/pkg/types/urlsmap.go`, `urls.go`) and its checks before
//! a bootstrap (`server/config/config.go`, `VerifyBootstrap`).

use std::fmt;

use crate::error::{Error, Result};
use crate::member::{ClusterId, Member, MemberId};

/// A member named in `--initial-cluster`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitialMember {
    /// Its name.
    pub name: String,
    /// Its peer URLs, sorted.
    pub peer_urls: Vec<String>,
}

/// The members of a new cluster and the token that makes their ids its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitialCluster {
    members: Vec<InitialMember>,
    token: String,
}

impl InitialCluster {
    /// Reads `name=url,name=url,...`; a name may stand several times, once for each of its URLs.
    ///
    /// # Errors
    /// [`Error::Invalid`] for anything etcd would refuse: no member, a malformed URL, a URL named twice.
    pub fn parse(text: &str, token: &str) -> Result<Self> {
        let mut members: Vec<InitialMember> = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, url) = part
                .split_once('=')
                .filter(|(name, _)| !name.is_empty())
                .ok_or_else(|| Error::Invalid(format!("initial cluster: {part:?} is not NAME=URL")))?;
            let url = peer_url(url)?;
            if members.iter().any(|member| member.peer_urls.contains(&url)) {
                return Err(Error::Invalid(format!("initial cluster: {url} is listed twice")));
            }
            match members.iter_mut().find(|member| member.name == name) {
                Some(member) => member.peer_urls.push(url),
                None => members.push(InitialMember { name: name.into(), peer_urls: vec![url] }),
            }
        }
        if members.is_empty() {
            return Err(Error::Invalid("initial cluster: no members".into()));
        }
        members.iter_mut().for_each(|member| member.peer_urls.sort());
        Ok(Self { members, token: token.into() })
    }

    /// The voters among known members, under a new token; `None` when there is none that ever started.
    pub fn of(members: &[Member], token: &str) -> Option<Self> {
        let known = members.iter().filter(|member| !member.is_learner && !member.name.is_empty());
        let urls =
            known.flat_map(|member| member.peer_urls.iter().map(|url| format!("{}={url}", member.name)));
        Self::parse(&urls.collect::<Vec<_>>().join(","), token).ok()
    }

    /// The token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Names and URLs, in the order given.
    pub fn initial_members(&self) -> &[InitialMember] {
        &self.members
    }

    /// The members as the cluster will know them, by ascending id: the order raft numbers them in.
    pub fn members(&self) -> Vec<Member> {
        let mut members: Vec<_> = self
            .members
            .iter()
            .map(|member| Member {
                id: MemberId::new(&member.peer_urls, &self.token),
                peer_urls: member.peer_urls.clone(),
                is_learner: false,
                name: member.name.clone(),
                client_urls: Vec::new(),
            })
            .collect();
        members.sort_by_key(|member| member.id);
        members
    }

    /// The id of the new cluster.
    pub fn id(&self) -> ClusterId {
        ClusterId::new(self.members().iter().map(|member| member.id))
    }

    /// Fails unless `name` is a member whose peer URLs are those it will advertise, if these are given.
    ///
    /// # Errors
    /// [`Error::Invalid`], as etcd would at its start.
    pub fn verify_advertised(&self, name: &str, advertised: Option<&[String]>) -> Result<()> {
        let member = self
            .members
            .iter()
            .find(|member| member.name == name)
            .ok_or_else(|| Error::Invalid(format!("initial cluster: no member named {name:?}")))?;
        let Some(advertised) = advertised else { return Ok(()) };
        let mut advertised = advertised.iter().map(|url| peer_url(url)).collect::<Result<Vec<_>>>()?;
        advertised.sort();
        if advertised != member.peer_urls {
            return Err(Error::Invalid(format!(
                "--initial-cluster has {name}={} but --initial-advertise-peer-urls has {}",
                member.peer_urls.join(","),
                advertised.join(",")
            )));
        }
        Ok(())
    }
}

/// As the flag is written.
impl fmt::Display for InitialCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs =
            self.members.iter().flat_map(|member| member.peer_urls.iter().map(|url| (&member.name, url)));
        let pairs = pairs.map(|(name, url)| format!("{name}={url}"));
        f.write_str(&pairs.collect::<Vec<_>>().join(","))
    }
}

/// Verifies a peer URL as `types.NewURLs` does: a scheme, host and port, no path.
fn peer_url(url: &str) -> Result<String> {
    let url = url.trim();
    let invalid = |why| Error::Invalid(format!("peer URL {url:?}: {why}"));
    let (scheme, address) = url.split_once("://").ok_or_else(|| invalid("no scheme such as https://"))?;
    // Go's `url.Parse` makes it lower case.
    let scheme = scheme.to_ascii_lowercase();
    match scheme.as_str() {
        "http" | "https" => {
            if address.contains('/') {
                return Err(invalid("it must not contain a path"));
            }
            let (host, port) = address.rsplit_once(':').ok_or_else(|| invalid("no port"))?;
            if (host.contains(':') && !host.starts_with('[')) || port.parse::<u16>().is_err() {
                return Err(invalid("it must be of the form HOST:PORT"));
            }
            Ok(format!("{scheme}://{address}"))
        }
        "unix" | "unixs" if !address.is_empty() => Ok(format!("{scheme}://{address}")),
        _ => Err(invalid("its scheme must be http, https, unix or unixs")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_etcd_reads() {
        let cluster = InitialCluster::parse("a=http://h:2,b=https://[::1]:2380,a=http://h:1", "t").unwrap();
        let [a, b] = cluster.initial_members() else { panic!("two members") };
        assert_eq!((a.name.as_str(), b.name.as_str()), ("a", "b"));
        assert_eq!(a.peer_urls, ["http://h:1", "http://h:2"]);
        cluster.verify_advertised("a", Some(&["http://h:2".into(), "http://h:1".into()])).unwrap();
        cluster.verify_advertised("a", None).unwrap();
        cluster.verify_advertised("a", Some(&["http://h:1".into()])).unwrap_err();
        cluster.verify_advertised("c", None).unwrap_err();
        let shouted = InitialCluster::parse("a=HTTP://h:2,b=Https://[::1]:2380,a=http://h:1", "t").unwrap();
        assert_eq!(shouted, cluster);
        assert_eq!(cluster.to_string(), "a=http://h:1,a=http://h:2,b=https://[::1]:2380");
    }

    #[test]
    fn refuses_what_etcd_refuses() {
        for text in [
            "",
            "a",
            "=http://h:1",
            "a=h:1",
            "a=http://h",
            "a=http://h:x",
            "a=http://h:1/p",
            "a=ftp://h:1",
            "a=http://h:1/",
            "a=http://h:1,b=http://h:1",
        ] {
            assert!(InitialCluster::parse(text, "t").is_err(), "{text}");
        }
    }
}
