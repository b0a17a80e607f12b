//! Addresses reported by machines of the cluster. They are untrusted: each must be an IP address or a host name, and
//! must not point to this computer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use crate::inventory::is_name;

/// The address that a URL names, if it means the same machine to everybody.
pub(super) fn of_url(url: &str) -> Option<String> {
    let uri: http::Uri = url.trim().parse().ok()?;
    valid(uri.host()?.trim_start_matches('[').trim_end_matches(']'))
}

/// The same text, if it is an IP address or a host name that means the same machine to everybody, and is not an
/// option, a user or a keyword of ours.
pub(super) fn valid(text: &str) -> Option<String> {
    match text.parse::<IpAddr>() {
        Ok(ip) => (!is_vague(ip)).then(|| ip.to_string()),
        Err(_) => is_host_name(text).then(|| text.to_owned()),
    }
}

/// A host name as RFC 1123 has it. `local` is how an inventory names the machine Lifeboat runs on, and a last label of
/// digits is an IPv4 address in a form that only some programs read.
fn is_host_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        !label.is_empty() && label.len() <= 63 && !label.starts_with('-') && !label.ends_with('-')
    };
    let top = name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    let numeric = top.starts_with(|first: char| first.is_ascii_digit());
    is_name(name)
        && name.len() <= 253
        && name.split('.').all(label)
        && !numeric
        && !["local", "localhost", "localdomain"].contains(&top.as_str())
        && !name.to_ascii_lowercase().starts_with("localhost")
}

/// Whether an address means a different machine to each of its users, as loopback does.
fn is_vague(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST)
}

/// Whether a valid address points to this computer: one of its own, or a name that resolves to one.
pub(super) async fn is_here(address: &str) -> bool {
    if let Ok(ip) = address.parse() {
        return is_own(ip);
    }
    let Ok(found) = tokio::net::lookup_host((address, 22)).await else { return false };
    found.into_iter().any(|socket| is_vague(socket.ip()) || is_own(socket.ip()))
}

/// Whether an address is on an interface of this computer: the kernel then answers from the address itself. Nothing is sent.
fn is_own(ip: IpAddr) -> bool {
    let any: IpAddr = if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let source = UdpSocket::bind(SocketAddr::new(any, 0))
        .and_then(|socket| socket.connect(SocketAddr::new(ip, 9)).and_then(|()| socket.local_addr()));
    source.is_ok_and(|source| source.ip() == ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_one_form() {
        for good in ["10.0.0.1", "fd00::1", "etcd-1.example", "m1", "M1.example."] {
            assert_eq!(valid(good).as_deref(), Some(good));
        }
        for bad in [
            "local",
            "LOCAL",
            "localhost",
            "localhost.",
            "localhost6.localdomain6",
            "x.localhost",
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f.1",
            "::1",
            "::ffff:127.0.0.1",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "255.255.255.255",
            "-oProxyCommand=id",
            "a b",
            "root@m1",
            "m1;id",
            "$(id)",
            "m1/..",
            "",
            ".",
            "a..b",
            "m1%h",
            "\u{1b}[2J",
        ] {
            assert_eq!(valid(bad), None, "{bad:?}");
        }
        assert_eq!(of_url("https://local:2379"), None);
        assert_eq!(of_url("https://[fd00::1]:2379").as_deref(), Some("fd00::1"));
        assert_eq!(of_url("https://user@m1:2379").as_deref(), Some("m1"));
    }

    #[tokio::test]
    async fn this_computer_is_known() {
        assert!(is_here("127.0.0.1").await && is_here("localhost").await);
        // An address of the documentation's network.
        assert!(!is_here("192.0.2.1").await);
    }
}
