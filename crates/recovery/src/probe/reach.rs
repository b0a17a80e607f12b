//! What `reach.sh` says of TCP connections that a machine tried to make.

use http::Uri;

use crate::facts::Reach;

use crate::error_text::one_line;

/// Host and port of a URL, for a shell's arguments.
pub(super) fn authority(url: &str) -> Result<(String, String), String> {
    let uri: Uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
    let host = uri.host().ok_or_else(|| format!("{url} has no host"))?.trim_matches(['[', ']']).to_owned();
    let default = if uri.scheme_str() == Some("http") { 80 } else { 443 };
    Ok((host, uri.port_u16().unwrap_or(default).to_string()))
}

/// What one attempt came to; `None` where the machine has nothing to try it with.
pub(super) fn understand(said: &str) -> Option<Reach> {
    match one_line(said).as_str() {
        "connected" => Some(Reach::Connected),
        "unknown" | "" => None,
        why => Some(Reach::Failed(why.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::host::{Command, Host, LocalHost};

    #[test]
    fn urls_become_hosts_and_ports() {
        let of = |url| authority(url).map(|(host, port)| format!("{host} {port}"));
        assert_eq!(of("https://10.0.0.1:2380").unwrap(), "10.0.0.1 2380");
        assert_eq!(of("https://[fd00::1]:6443/").unwrap(), "fd00::1 6443");
        assert_eq!(of("https://api.example.com").unwrap(), "api.example.com 443");
        assert!(of("not a url").is_err());
    }

    #[tokio::test]
    async fn a_connection_is_told_from_a_refusal() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap().port();
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        for (port, expected) in [(open, "connected"), (closed, "Connection refused")] {
            let script = concat!(include_str!("reach.sh"), "reach \"$1\" \"$2\"\n");
            let command = Command::script(script, ["127.0.0.1".to_owned(), port.to_string()]);
            let said = LocalHost::new("here").run_ok(&command).await.unwrap().text();
            assert_eq!(said.trim(), expected);
        }
    }
}
