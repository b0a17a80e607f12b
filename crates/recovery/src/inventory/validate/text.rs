//! Checks of text values.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A name that is safe in messages, file names and commands.
pub(crate) fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphanumeric()) && text.chars().all(in_name)
}

fn in_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "-_.".contains(letter)
}

/// One word that cannot be taken for an option.
pub(crate) fn is_argument(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// An IP address or a host name.
pub(crate) fn is_host(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok() || is_name(text)
}

/// The content of `/etc/machine-id`.
pub(crate) fn is_machine_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// A MAC of one machine: six pairs of digits, neither broadcast nor multicast nor zero.
pub(crate) fn is_mac(text: &str) -> bool {
    let pairs: Vec<&str> = text.split(':').collect();
    let hex = |pair: &&str| pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
    let first = pairs.first().and_then(|pair| u8::from_str_radix(pair, 16).ok());
    pairs.len() == 6
        && pairs.iter().all(hex)
        && first.is_some_and(|first| first & 1 == 0)
        && pairs.iter().any(|pair| *pair != "00")
}

/// The name of a service unit.
pub(crate) fn is_unit(text: &str) -> bool {
    let stem = text.strip_suffix(".service").unwrap_or_default();
    let good = |letter: char| in_name(letter) || ":@\\".contains(letter);
    !stem.is_empty() && !stem.starts_with('-') && stem.chars().all(good)
}

/// Why it is not a URL of these schemes with a host.
pub(crate) fn check_url(url: &str, schemes: &[&str], with_path: bool) -> Result<(), String> {
    let uri: http::Uri = url.parse().map_err(|error| format!("{url:?} is not a URL: {error}"))?;
    let scheme = uri.scheme_str().unwrap_or_default();
    if !schemes.contains(&scheme) || uri.authority().is_none() {
        return Err(format!("{url:?} must begin with {}", schemes.join(":// or ") + "://"));
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        // The text is not shown: it may contain a password.
        return Err("must not contain a user or a password".into());
    }
    let host = uri.host().unwrap_or_default();
    if !is_host(host.trim_start_matches('[').trim_end_matches(']')) {
        return Err(format!("{url:?} has no host"));
    }
    let path = uri.path_and_query().map_or("", |path| path.as_str());
    if !with_path && !matches!(path, "" | "/") {
        return Err(format!("{url:?} must end with the port"));
    }
    Ok(())
}

/// What is wrong with an IP range, if its parts are addresses.
pub(crate) fn wrong_range(start: &str, end: &str, netmask: &str) -> Option<String> {
    if let (Ok(start), Ok(end)) = (start.parse::<Ipv6Addr>(), end.parse::<Ipv6Addr>()) {
        return (start > end).then(|| format!("{start} is after {end}"));
    }
    let (start, end) = (start.parse::<Ipv4Addr>().ok()?, end.parse::<Ipv4Addr>().ok()?);
    if start > end {
        return Some(format!("{start} is after {end}"));
    }
    let mask = u32::from(netmask.parse::<Ipv4Addr>().ok()?);
    if mask.leading_ones() + mask.trailing_zeros() != 32 {
        return Some(format!("{netmask} is not a netmask"));
    }
    let apart = u32::from(start) & mask != u32::from(end) & mask;
    apart.then(|| format!("{start} and {end} are in different networks (netmask {netmask})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_will_do_and_texts_that_will_not() {
        assert!(is_name("m1.prod_a-b") && is_name("0a"));
        assert!(!is_name("") && !is_name("-a") && !is_name(".a") && !is_name("a b") && !is_name("a/b"));
        assert!(is_argument("root@h") && !is_argument("-oProxyCommand=x") && !is_argument("a b"));
        assert!(is_host("fd00::1") && is_host("10.0.0.1") && is_host("db-1.example") && !is_host("a:1"));
        assert!(is_mac("fa:16:3E:00:00:01") && !is_mac("ff:ff:ff:ff:ff:ff") && !is_mac("00:00:00:00:00:00"));
        assert!(!is_mac("fa:16:3e:00:01") && !is_mac("fa-16-3e-00-00-01") && !is_mac("fa:16:3e:00:00:+1"));
        assert!(
            is_unit("etcd@a.service") && !is_unit("etcd") && !is_unit(".service") && !is_unit("a b.service")
        );
    }

    #[test]
    fn urls() {
        let any: &[&str] = &["http", "https"];
        for good in ["https://10.0.0.1:2379", "http://[fd00::1]:2379/", "https://m1"] {
            assert_eq!(check_url(good, any, false), Ok(()), "{good}");
        }
        for bad in
            ["", "10.0.0.1:2379", "ftp://a", "https://", "https://a/path", "http s://a", "https://u:p@a"]
        {
            assert!(check_url(bad, any, false).is_err(), "{bad}");
        }
        assert!(!check_url("https://u:hidden@a", any, false).unwrap_err().contains("hidden"));
        assert!(check_url("http://a", &["https"], false).is_err());
        assert_eq!(check_url("https://a/healthz?x=1", any, true), Ok(()));
    }

    #[test]
    fn ranges() {
        assert_eq!(wrong_range("10.0.0.1", "10.0.0.9", "255.255.255.0"), None);
        assert!(wrong_range("10.0.0.9", "10.0.0.1", "255.255.255.0").is_some());
        assert!(wrong_range("10.0.0.1", "10.0.0.9", "255.0.255.0").is_some());
        assert!(wrong_range("10.0.0.1", "10.0.1.9", "255.255.255.0").is_some());
    }
}
