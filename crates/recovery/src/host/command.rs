//! Commands for machines, and their results.

use std::fmt;
use std::time::Duration;

use super::quote;

/// A command for a machine. It must not contain secrets: other users of the machine see its arguments.
#[derive(Debug, Clone)]
pub struct Command {
    /// Program and arguments; each arrives as it is, whatever characters it has.
    pub argv: Vec<String>,
    /// What it reads.
    pub stdin: Vec<u8>,
    /// How long it may take.
    pub timeout: Duration,
}

/// The exit code of a command that is [`exclusive`](Command::exclusive) and waited in vain.
pub const BUSY: i32 = 75;

/// Waits for the lock with `$1` seconds, and runs the rest with a limit of the same length. The lock is inherited:
/// it is held until the last process ends that the command leaves behind.
const EXCLUSIVE: &str = concat!(
    include_str!("lock.sh"),
    r#"
limit=$1; shift
if ! lock /run/lifeboat.lock "$limit"; then
    echo "another command of lifeboat still runs here: it holds /run/lifeboat.lock" >&2
    exit 75
fi
exec timeout -k 5 "$limit" "$@"
"#
);

/// Runs the rest if the machine's id is `$1`.
const ON_MACHINE: &str = r#"
expected=$1; shift
found=$(cat /etc/machine-id)
if [ "$found" != "$expected" ]; then
    echo "another machine answers here: its machine id is $found, not $expected" >&2
    exit 77
fi
exec "$@"
"#;

/// Leaves the line `$1` in the machine's journal, where it has a logger, and runs the rest.
const LOGGED: &str = r#"
logger -t lifeboat -- "$1" 2>/dev/null || :
shift
exec "$@"
"#;

impl Command {
    /// A command without input, 10 s.
    pub fn new<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            stdin: Vec::new(),
            timeout: Duration::from_secs(10),
        }
    }

    /// A POSIX shell script, given on standard input, with `arguments` as `$1`, `$2`, ...; 10 s.
    pub fn script<S: Into<String>>(script: &str, arguments: impl IntoIterator<Item = S>) -> Self {
        let argv = ["sh", "-s", "--"].into_iter().map(String::from);
        let argv = argv.chain(arguments.into_iter().map(Into::into)).collect();
        Self { argv, stdin: script.as_bytes().to_vec(), timeout: Duration::from_secs(10) }
    }

    /// A POSIX shell script as an argument, for one that reads something else; 10 s.
    pub(crate) fn inline<'a>(script: &'a str, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        Self::new(["sh", "-c", script, "sh"].into_iter().chain(arguments))
    }

    /// The same, with this standard input.
    #[must_use]
    pub(crate) fn reading(self, input: &[u8]) -> Self {
        Self { stdin: input.to_vec(), ..self }
    }

    /// The same with another time limit.
    #[must_use]
    pub fn within(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// The same, and it ends there by itself after so long: a connection that is gone may be noticed there hours later.
    #[must_use]
    pub(crate) fn ended_there(self, limit: Duration) -> Self {
        let wrapper =
            ["timeout", "-k", "5"].map(String::from).into_iter().chain([limit.as_secs().max(1).to_string()]);
        Self { argv: wrapper.chain(self.argv).collect(), ..self }
    }

    /// The same, but only on the machine with this id: another one may have come to its address meanwhile. Exit code 77
    /// elsewhere.
    #[must_use]
    pub fn on_machine(self, id: &str) -> Self {
        let wrapper = ["sh", "-c", ON_MACHINE, "sh", id].map(String::from).into_iter();
        Self { argv: wrapper.chain(self.argv).collect(), ..self }
    }

    /// The same, and the machine's journal says so before it runs: `journalctl -t lifeboat`.
    #[must_use]
    pub fn logged(self, line: &str) -> Self {
        let line = line.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
        let wrapper = ["sh", "-c", LOGGED, "sh"].map(String::from).into_iter().chain([line]);
        Self { argv: wrapper.chain(self.argv).collect(), ..self }
    }

    /// The same, but never beside another command of this kind on the same machine. One that a killed Lifeboat
    /// left running there is waited for, as long as this one may take itself; and this one is ended there by its
    /// limit, also when nobody waits for it any more. Exit code [`BUSY`] when the wait was in vain, 124 at the limit.
    #[must_use]
    pub fn exclusive(self) -> Self {
        let limit = self.timeout.as_secs().max(1);
        let wrapper = ["sh", "-c", EXCLUSIVE, "sh"].map(String::from).into_iter().chain([limit.to_string()]);
        let timeout = Duration::from_secs(2 * limit + 10);
        Self { argv: wrapper.chain(self.argv).collect(), timeout, ..self }
    }
}

/// For messages: as a shell would take it, scripts as their first line of code, on one line.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = || self.argv.iter().map(String::as_str);
        let mut words = words().collect::<Vec<_>>();
        // A wrapper is a script, its name and one argument.
        let wrapper = words.iter().rposition(|word| [EXCLUSIVE, ON_MACHINE, LOGGED].contains(word));
        words.drain(..wrapper.map_or(0, |at| at + 3).min(words.len()));
        let script = match words.as_slice() {
            ["sh", "-s", "--", ..] => std::str::from_utf8(&self.stdin).ok(),
            ["sh", "-c", script, ..] => Some(*script),
            _ => None,
        };
        let arguments = script.map_or(0, |_| 4 - usize::from(words.get(1) == Some(&"-s")));
        let mut text = quote::line(words.into_iter().skip(arguments));
        if let Some(script) = script {
            let code = |line: &&str| !line.is_empty() && !line.starts_with("set -") && !line.starts_with('#');
            let first = script.lines().map(str::trim).find(code).unwrap_or_default();
            text = format!("script `{first} ...` {text}");
        }
        let line = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
        f.write_str(line.take(160).collect::<String>().trim_end())
    }
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Exit code; above 128 for a signal, as a shell gives it.
    pub code: i32,
    /// What it wrote, at most 64 MiB: more is an error.
    pub stdout: Vec<u8>,
    /// The last 64 KiB of its stderr.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Whether its exit code is 0.
    pub fn success(&self) -> bool {
        self.code == 0
    }

    /// What it wrote, as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Exit code and stderr, on one line.
    pub fn why(&self) -> String {
        match one_line(&self.stderr).as_str() {
            "" => format!("exit code {}", self.code),
            said => format!("exit code {}: {said}", self.code),
        }
    }
}

/// Maximum length of a machine's text in a message.
const MAX_SAID: usize = 1000;

/// A machine's text on one line, so that none of it looks like a line of ours.
pub(crate) fn one_line(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let lines = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
    lines.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(MAX_SAID).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Also without flock(1): these tests run with BusyBox alone as well.
    #[test]
    fn a_lock_is_held_until_the_last_process_that_inherited_it_ends() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("lock");
        let lock = |then: &str, seconds: &str| {
            let script = format!("{}\nlock \"$1\" {seconds} || exit 75\n{then}", include_str!("lock.sh"));
            std::process::Command::new("sh").args(["-c", &script, "sh"]).arg(&file).output().unwrap()
        };
        let left = lock("sleep 600 >/dev/null 2>&1 & echo $!", "0");
        let left = String::from_utf8(left.stdout).unwrap();
        assert_eq!(lock("", "0").status.code(), Some(75));
        let killed = std::process::Command::new("sh").args(["-c", "kill $1", "sh", left.trim()]).status();
        assert!(killed.unwrap().success());
        assert_eq!(lock("", "60").status.code(), Some(0));
    }

    #[test]
    fn messages_name_what_matters() {
        assert_eq!(Command::new(["systemctl", "stop", "a b"]).to_string(), "systemctl stop 'a b'");
        let script = Command::script("\nset -eu\n# why\nunit=$1\nmore", ["etcd.service"]);
        assert_eq!(script.to_string(), "script `unit=$1 ...` etcd.service");
        assert_eq!(script.exclusive().to_string(), "script `unit=$1 ...` etcd.service");
        assert_eq!(Command::new(["reboot"]).exclusive().to_string(), "reboot");
        assert_eq!(Command::new(["reboot"]).on_machine("c0ffee").exclusive().to_string(), "reboot");
        assert_eq!(
            Command::new(["reboot"]).logged("step 1").on_machine("a").exclusive().to_string(),
            "reboot"
        );
        assert_eq!(Command::inline("cat \"$1\"", ["/f"]).to_string(), "script `cat \"$1\" ...` /f");
    }

    #[test]
    fn what_a_machine_says_stays_on_one_line() {
        let stderr = b"mv: failed\n\n[7/21]    0.1 s  Start etcd\x1b[2K\r\n".to_vec();
        let output = Output { code: 1, stdout: Vec::new(), stderr };
        assert_eq!(output.why(), "exit code 1: mv: failed; [7/21]    0.1 s  Start etcd [2K");
    }

    /// With a stand-in for `logger`, and without any.
    #[test]
    fn a_logged_command_leaves_one_line_and_runs() {
        let dir = tempfile::tempdir().unwrap();
        let run = |path: String| {
            let command = Command::new(["echo", "a b"]).logged("operation x, step 1:\nMove \"$(id)\" aside");
            let (program, arguments) = command.argv.split_first().unwrap();
            std::process::Command::new(program).args(arguments).env("PATH", path).output().unwrap()
        };
        let log = dir.path().join("log");
        let logger = format!("#!/bin/sh\nprintf '%s|' \"$@\" >> {}\n", log.display());
        fs_err::write(dir.path().join("logger"), logger).unwrap();
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs_err::set_permissions(dir.path().join("logger"), executable).unwrap();
        assert_eq!(run(format!("{}:/usr/bin:/bin", dir.path().display())).stdout, b"a b\n");
        let logged = fs_err::read_to_string(&log).unwrap();
        assert_eq!(logged, "-t|lifeboat|--|operation x, step 1: Move \"$(id)\" aside|");
        fs_err::write(dir.path().join("logger"), "#!/bin/sh\nexit 1\n").unwrap();
        let without = run(format!("{}:/usr/bin:/bin", dir.path().display()));
        assert_eq!((without.status.code(), without.stdout.as_slice()), (Some(0), &b"a b\n"[..]));
    }

    /// Another machine may have come to the address of the one that is meant.
    #[test]
    fn a_command_for_one_machine_does_nothing_on_another() {
        let run = |command: Command| {
            let (program, arguments) = command.argv.split_first().unwrap();
            std::process::Command::new(program).args(arguments).output().unwrap()
        };
        let own = fs_err::read_to_string("/etc/machine-id").unwrap_or_default();
        let here = run(Command::new(["echo", "a b"]).on_machine(own.trim()));
        assert_eq!((here.status.code(), here.stdout.as_slice()), (Some(0), &b"a b\n"[..]));
        let elsewhere = run(Command::new(["echo", "done"]).on_machine("c0ffee"));
        assert_eq!((elsewhere.status.code(), elsewhere.stdout.as_slice()), (Some(77), &b""[..]));
        assert!(String::from_utf8_lossy(&elsewhere.stderr).contains("another machine answers here"));
    }
}
