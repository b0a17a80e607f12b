//! The Lifeboat binary on machines: heavy work runs where the data is, and only results are transferred.

pub mod answer;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::OnceCell;

use crate::facts::{DataDir, FoundDir, LogState, own_platform};
use crate::host::{self, Command, Host, HostError, digest};
use crate::inventory::{MemberSpec, Service};

/// Directory of the binary on machines; its subdirectory is named by the SHA-256.
const DIR: &str = "/var/lib/lifeboat/bin";
/// Hex digits of the SHA-256 in the directory name; the full digest is compared.
const PREFIX: usize = 16;
/// Time limit for reading a data dir: gigabytes on a slow disk take minutes.
const INSPECT: Duration = Duration::from_secs(300);

/// Prints what decides whether a machine can run the binary, before it is sent, and the digest of the one it has.
const CAN_RUN: &str = include_str!("agent/can_run.sh");
/// The mounted file systems of a machine.
const MOUNTS: &str = "/proc/self/mounts";

/// Asks the binary about a data dir, unless its disk is not mounted (92).
const INSPECT_DATA_DIR: &str = include_str!("agent/inspect.sh");
/// Functions of a shell that tell which file system of a machine's `fstab` is not mounted.
pub(crate) const UNMOUNTED: &str = include_str!("agent/unmounted.sh");

/// Prints the data dirs on a machine, one a line.
const FIND_DATA_DIRS: &str = include_str!("agent/find.sh");
/// Maximum number of data dirs that are read on a machine.
const MAX_FOUND_DIRS: usize = 8;

/// The Lifeboat binary on a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    program: PathBuf,
    was_there: bool,
}

impl Agent {
    /// Sends the running binary, unless the machine has it.
    ///
    /// # Errors
    /// The machine does not answer, is of another architecture, or cannot run or keep the program.
    pub async fn send(host: &dyn Host) -> Result<Self, HostError> {
        let failed = |error: std::io::Error| failure(host, error.to_string());
        Self::send_file(host, &own_program().map_err(failed)?).await
    }

    /// Sends a `lifeboat` that is not the program that runs here.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_file(host: &dyn Host, program: &Path) -> Result<Self, HostError> {
        let digest = own_digest(program).await.map_err(|error| failure(host, error.to_string()))?;
        let there = Path::new(DIR).join(digest.get(..PREFIX).unwrap_or(&digest)).join("lifeboat");
        let mut agent = Self { program: there, was_there: true };
        if agent.digest_on(host, MOUNTS).await?.as_ref() != Some(&digest) {
            agent.was_there = false;
            host::send(host, None, program, &agent.program, 0o700).await?;
            let tried = host.run(&agent.command(["--version"])).await?;
            if !tried.success() {
                // Why it does not run matters more.
                let _ = agent.remove(host).await;
                return Err(failure(host, cannot_run(&tried.why())));
            }
        }
        Ok(agent)
    }

    /// Removes this binary alone: another run may use another one.
    async fn remove(&self, host: &dyn Host) -> Result<(), HostError> {
        let dir = self.program.parent().unwrap_or(&self.program).display().to_string();
        host.run_ok(&Command::new(["rm".into(), "-rf".into(), "--".into(), dir])).await?;
        Ok(())
    }

    /// The digest of the binary that the machine has, if any.
    ///
    /// # Errors
    /// The machine does not answer, or could not run the binary.
    async fn digest_on(&self, host: &dyn Host, mounts: &str) -> Result<Option<String>, HostError> {
        let output = host.run_ok(&Command::script(CAN_RUN, [self.path(), mounts.into()])).await?.text();
        let mut lines = output.lines();
        let (machine, ours) = (lines.next().unwrap_or_default(), own_platform());
        if machine != ours {
            let why =
                format!("it is {machine}, this Lifeboat is built for {ours}: use a build for {machine}");
            return Err(failure(host, why));
        }
        if let Some(mount) = lines.next().and_then(|line| line.strip_prefix("noexec ")) {
            let why = format!(
                "its {mount} is mounted noexec, and {DIR} is there: run `mount -o remount,exec {mount}` on it for the time of the recovery, then try again"
            );
            return Err(failure(host, why));
        }
        Ok(lines.next().and_then(|line| line.split(' ').next()).map(str::to_owned))
    }

    /// Whether the machine had it before: another run may use it.
    pub fn was_there(&self) -> bool {
        self.was_there
    }

    /// A command that runs it with these arguments.
    pub fn command<S: Into<String>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let arguments = arguments.into_iter().map(Into::into);
        Command::new(std::iter::once(self.path()).chain(arguments))
    }

    /// Removes everything [`send`](Self::send) ever left on a machine.
    ///
    /// # Errors
    /// The machine does not answer, or does not do it.
    pub async fn forget(host: &dyn Host) -> Result<(), HostError> {
        let script = r#"rm -rf -- "$1" && { rmdir -- "${1%/*}" 2>/dev/null || :; }"#;
        host.run_ok(&Command::script(script, [DIR])).await?;
        Ok(())
    }

    fn path(&self) -> String {
        self.program.display().to_string()
    }
}

/// Whether a log that is missing at the expected path may be elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogPlace {
    /// The member's service says that it is there, or was.
    Known,
    /// Nothing says so.
    Unknown,
}

/// What a stopped member's data dir holds, read on its machine: the db and every committed entry of the log.
///
/// # Errors
/// The machine does not answer, or its data dir cannot be read for another reason than damage.
pub async fn inspect_data_dir(
    host: &dyn Host,
    agent: &Agent,
    dir: &Path,
    wal_dir: Option<&Path>,
    log: LogPlace,
) -> Result<DataDir, HostError> {
    inspect(host, agent, dir, wal_dir, log, "/etc/fstab").await
}

/// How far the log of a data dir goes, if that can be read; also while an etcd runs there.
///
/// # Errors
/// The machine does not answer.
pub async fn inspect_log(
    host: &dyn Host,
    agent: &Agent,
    dir: &Path,
    wal_dir: Option<&Path>,
) -> Result<Option<LogState>, HostError> {
    let dir = dir.display().to_string();
    let mut arguments = vec!["agent", "log", &dir];
    let wal = wal_dir.map(|wal| wal.display().to_string());
    arguments.extend(wal.iter().flat_map(|wal| ["--wal-dir", wal.as_str()]));
    let output = host.run(&agent.command(arguments).within(INSPECT)).await?;
    Ok(serde_json::from_slice(&output.stdout).ok().flatten())
}

async fn inspect(
    host: &dyn Host,
    agent: &Agent,
    dir: &Path,
    wal_dir: Option<&Path>,
    log: LogPlace,
    fstab: &str,
) -> Result<DataDir, HostError> {
    let (path, wal) = (dir.display().to_string(), wal_dir.map(|wal| wal.display().to_string()));
    let looked_at = [fstab.to_owned(), wal.clone().unwrap_or_default(), path.clone()];
    let mut arguments: Vec<String> = looked_at.into();
    arguments.extend([agent.path(), "agent".into(), "data-dir".into(), path]);
    arguments.extend(wal.into_iter().flat_map(|wal| ["--wal-dir".into(), wal]));
    arguments.extend((log == LogPlace::Known).then(|| "--wal-expected".into()));
    let script = format!("{UNMOUNTED}{INSPECT_DATA_DIR}");
    let output = host.run(&Command::script(&script, arguments).within(INSPECT)).await?;
    let failed = |why: String| HostError::Failed {
        host: host.name().into(),
        command: format!("inspect {}", dir.display()),
        why,
    };
    match output.code {
        0 => match serde_json::from_slice(&output.stdout) {
            Ok(answer) => Result::<_, String>::map_err(answer, failed),
            Err(error) => Err(failed(format!("unexpected answer: {error}"))),
        },
        92 => {
            let at = String::from_utf8_lossy(&output.stdout).into_owned();
            Err(failed(format!(
                "/etc/fstab mounts {at} and it is not mounted: mount it, then diagnose again"
            )))
        }
        _ => Err(failed(output.why())),
    }
}

/// Which data dirs of a machine are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Search {
    /// Those that the member's process has open.
    Open,
    /// Those, the ones beside the data dir that is named, and the ones moved aside inside it.
    All,
}

/// The data dirs on a member's machine. At most eight are read, those in use and the newest first.
///
/// # Errors
/// The machine does not answer.
pub async fn find_data_dirs(
    host: &dyn Host,
    agent: &Agent,
    member: &MemberSpec,
    search: Search,
) -> Result<Vec<FoundDir>, HostError> {
    let which = if search == Search::All { "all" } else { "open" };
    let unit = match &member.service {
        Service::Unit(unit) => unit.as_str(),
        Service::StaticPod(_) => "",
    };
    let arguments = [&member.data_dir.display().to_string(), which, unit].map(str::to_owned);
    let found = host.run_ok(&Command::script(FIND_DATA_DIRS, arguments)).await?.text();
    let named = found.lines().find_map(|line| line.strip_prefix('='));
    let mut dirs = Vec::new();
    for line in found.lines().filter(|line| line.starts_with('/')).take(MAX_FOUND_DIRS) {
        let path = PathBuf::from(line);
        let holds = inspect_data_dir(host, agent, &path, None, LogPlace::Unknown).await.ok();
        dirs.push(FoundDir { path, named: named == Some(line), holds });
    }
    Ok(dirs)
}

/// The running binary, even if its file was replaced or removed meanwhile.
fn own_program() -> std::io::Result<PathBuf> {
    let program = Path::new("/proc/self/exe");
    if program.exists() { Ok(program.into()) } else { std::env::current_exe() }
}

/// The SHA-256 of a program; that of our own does not change while we run.
async fn own_digest(program: &Path) -> std::io::Result<String> {
    static OWN: OnceCell<String> = OnceCell::const_new();
    let digest = || async { Ok::<_, std::io::Error>(digest(program.into()).await?.1) };
    if program == own_program()? { OWN.get_or_try_init(digest).await.cloned() } else { digest().await }
}

/// Why the binary that was sent does not run.
fn cannot_run(why: &str) -> String {
    if why.contains("GLIBC_") {
        return format!(
            "its C library is too old for this build of Lifeboat: use the published binary, which needs glibc 2.17 ({why})"
        );
    }
    why.into()
}

fn failure(host: &dyn Host, why: String) -> HostError {
    HostError::Failed { host: host.name().into(), command: "send lifeboat".into(), why }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::LocalHost;

    /// Asks about a data dir, under an fstab of its own, with a program that answers that it is absent.
    async fn inspected(dir: &Path, fstab: &str) -> Result<DataDir, HostError> {
        let (table, program) = (dir.join("fstab"), dir.join("program"));
        fs_err::write(&table, fstab).unwrap();
        fs_err::write(&program, "#!/bin/sh\necho '{\"Ok\":\"absent\"}'\n").unwrap();
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs_err::set_permissions(&program, executable).unwrap();
        let agent = Agent { program, was_there: true };
        let table = table.to_str().unwrap();
        inspect(&LocalHost::new("here"), &agent, &dir.join("etcd"), None, LogPlace::Unknown, table).await
    }

    #[tokio::test]
    async fn a_data_dir_on_a_disk_that_is_not_mounted_is_not_gone() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().canonicalize().unwrap().display().to_string();
        for unmounted in
            [format!("/dev/vdb {at} ext4 defaults 0 2\n"), format!("/dev/vdb {at}/etcd/ xfs rw\n")]
        {
            let why = inspected(dir.path(), &unmounted).await.expect_err("unknown").to_string();
            assert!(why.contains("is not mounted: mount it"), "{why}");
        }
        let others = format!(
            "# {at} was on vdb\n#/dev/vdb {at} ext4\n/dev/vdb {at} ext4 noauto\n/dev/vda / ext4 rw\n/dev/vdc {at}/et xfs rw\n"
        );
        assert_eq!(inspected(dir.path(), &others).await.unwrap(), DataDir::Absent);
        assert_eq!(inspected(dir.path(), "proc /proc proc defaults\n").await.unwrap(), DataDir::Absent);
    }

    #[tokio::test]
    async fn data_dirs_are_found_beside_the_one_that_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for name in ["etcd", "etcd.old", "etcd/lifeboat-aside-1", "with space", "no-data"] {
            fs_err::create_dir_all(root.join(name).join("member/snap")).unwrap();
            if name != "no-data" {
                fs_err::write(root.join(name).join("member/snap/db"), b"").unwrap();
            }
        }
        std::os::unix::fs::symlink(root.join("etcd"), root.join("link")).unwrap();
        let command = Command::script(
            FIND_DATA_DIRS,
            [root.join("link").display().to_string(), "all".into(), "no-such.service".into()],
        );
        let said = LocalHost::new("here").run_ok(&command).await.unwrap().text();
        let mut found: Vec<&str> =
            said.lines().filter_map(|line| line.strip_prefix(root.to_str()?)).collect();
        found.sort_unstable();
        assert_eq!(found, ["/etcd", "/etcd.old", "/etcd/lifeboat-aside-1", "/with space"]);
        assert!(said.starts_with(&format!("={}/etcd\n", root.display())), "{said}");
    }

    #[tokio::test]
    async fn a_file_system_that_runs_no_programs_is_named_before_anything_is_sent() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let at = root.display();
        let table = root.join("mounts");
        let scan = async |mounts: String| {
            fs_err::write(&table, mounts).unwrap();
            let agent = Agent { program: root.join("bin/digest/lifeboat"), was_there: true };
            agent.digest_on(&LocalHost::new("here"), table.to_str().unwrap()).await
        };
        let why = scan(format!("dev / ext4 rw 0 0\ndev {at} ext4 rw,noexec,nosuid 0 0\n")).await.unwrap_err();
        assert!(why.to_string().contains(&format!("its {at} is mounted noexec")), "{why}");
        let others = [
            format!("dev / ext4 rw,noexec 0 0\ndev {at} ext4 rw 0 0\n"),
            format!("dev / ext4 rw 0 0\ndev {at}/b ext4 rw,noexec 0 0\n"),
            // Mounted over.
            format!("dev {at} ext4 rw,noexec 0 0\ndev {at} ext4 rw 0 0\n"),
        ];
        for mounts in others {
            assert_eq!(scan(mounts.clone()).await.unwrap(), None, "{mounts}");
        }
    }

    #[test]
    fn a_c_library_that_is_too_old_is_named() {
        let why = cannot_run("/lib/libc.so.6: version `GLIBC_2.34' not found (required by lifeboat)");
        assert!(why.starts_with("its C library is too old"), "{why}");
        assert_eq!(cannot_run("killed"), "killed");
    }

    #[test]
    fn platforms_are_named_as_uname_does() {
        let output = std::process::Command::new("uname").arg("-sm").output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), own_platform());
    }
}
