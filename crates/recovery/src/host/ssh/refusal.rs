//! Why `ssh` gave up, by what it says. The words are those of OpenSSH's `sshconnect.c` and
//! `sshconnect2.c`; they are the same in every language.

use super::HostError;

/// The error behind what `ssh` said.
pub(super) fn read(host: &str, said: &str) -> HostError {
    let host = host.to_owned();
    if let Some(why) = host_key(said) {
        return HostError::HostKeyChanged { host, why };
    }
    let why = line(said);
    let denials =
        ["Permission denied (", "Too many authentication failures", "No supported authentication methods"];
    if denials.iter().any(|denial| said.contains(denial)) {
        return HostError::Denied { host, why };
    }
    HostError::Unreachable { host, why: if why.is_empty() { "ssh gave no reason".into() } else { why } }
}

/// Whether the reason may have been told to a jump host's `ssh`, which nobody listens to.
pub(super) fn is_behind_a_jump(said: &str) -> bool {
    said.contains("kex_exchange_identification: ") || said.contains(" UNKNOWN port ")
}

/// What it said, on one line.
pub(super) fn line(said: &str) -> String {
    let lines =
        said.lines().map(|line| line.trim().trim_start_matches("ssh: ")).filter(|line| !line.is_empty());
    let line = lines.collect::<Vec<_>>().join("; ");
    line.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(500).collect()
}

/// Host key error and what to do; `None` for other errors.
fn host_key(said: &str) -> Option<String> {
    let find = |part: &str| said.lines().map(str::trim).find(|line| line.contains(part));
    if let Some(unknown) = find("host key is known for ") {
        let unknown = unknown.split(" and you have ").next().unwrap_or(unknown);
        return Some(line(&format!(
            "{unknown}: log in with ssh once, compare the fingerprint it shows with the machine's own, and accept it"
        )));
    }
    if let Some(changed) = find("has changed and you have requested strict checking") {
        let changed = changed.split(" and you have ").next().unwrap_or(changed);
        let now =
            find("SHA256:").map(|now| format!(", is now {}", now.trim_end_matches('.'))).unwrap_or_default();
        let known = find("Offending ").map(|known| format!(" ({known})")).unwrap_or_default();
        let fix = find("ssh-keygen ").unwrap_or("ssh-keygen -R");
        return Some(line(&format!(
            "{changed}{now}{known}: another machine may answer there; find out why, and only then: {fix}"
        )));
    }
    find("Host key verification failed").map(|_| line(said))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGED: &str = "\
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
The fingerprint for the ED25519 key sent by the remote host is
SHA256:YXJ20vHf3/Os2ghi3fLYur4javYR7iUqx/OlByTCXPU.
Please contact your system administrator.
Add correct host key in /home/op/.ssh/known_hosts to get rid of this message.
Offending ED25519 key in /home/op/.ssh/known_hosts:1
  remove with:
  ssh-keygen -f \"/home/op/.ssh/known_hosts\" -R \"[10.0.0.1]:2222\"
Host key for [10.0.0.1]:2222 has changed and you have requested strict checking.
Host key verification failed.
";

    #[test]
    fn tells_refusals_apart() {
        let HostError::HostKeyChanged { why, .. } = read("m1", CHANGED) else { panic!() };
        assert_eq!(
            why,
            "Host key for [10.0.0.1]:2222 has changed, is now SHA256:YXJ20vHf3/Os2ghi3fLYur4javYR7iUqx/OlByTCXPU \
             (Offending ED25519 key in /home/op/.ssh/known_hosts:1): another machine may answer there; find out why, \
             and only then: ssh-keygen -f \"/home/op/.ssh/known_hosts\" -R \"[10.0.0.1]:2222\""
        );

        let unknown = "No ED25519 host key is known for 10.0.0.1 and you have requested strict checking.\r\n\
                       Host key verification failed.\r\n";
        let HostError::HostKeyChanged { why, .. } = read("m1", unknown) else { panic!() };
        assert!(why.starts_with("No ED25519 host key is known for 10.0.0.1: log in"), "{why}");

        let denied = "root@10.0.0.1: Permission denied (publickey).\r\n";
        let why = "root@10.0.0.1: Permission denied (publickey).".to_owned();
        assert_eq!(read("m1", denied), HostError::Denied { host: "m1".into(), why });

        let refused = "ssh: connect to host 10.0.0.1 port 22: Connection refused\r\n";
        let why = "connect to host 10.0.0.1 port 22: Connection refused".to_owned();
        assert_eq!(read("m1", refused), HostError::Unreachable { host: "m1".into(), why });

        // A key file that cannot be read is no refusal of the machine.
        let file = "Load key \"/k\": Permission denied\r\nConnection closed by 10.0.0.1 port 22\r\n";
        assert!(matches!(read("m1", file), HostError::Unreachable { .. }));
    }
}
