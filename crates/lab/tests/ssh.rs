//! Hosts against a real sshd: logins, commands, files, and lost connections.

use std::path::Path;
use std::time::Duration;

use fs_err as fs;
use lab::sshd::Sshd;
use lifeboat_recovery::host::{Command, Host, HostError, LocalHost, SshHost, fetch, send};
use lifeboat_recovery::inventory::Ssh;

fn host(sshd: &Sshd, destination: &str) -> SshHost {
    let config = sshd.ssh_config().unwrap();
    SshHost::new("m1", destination, &Ssh { user: None, config: Some(config) })
}

async fn text(host: &dyn Host, argv: &[&str]) -> String {
    host.run_ok(&Command::new(argv.iter().copied())).await.unwrap().text()
}

async fn error(host: &dyn Host, command: &Command) -> HostError {
    host.run(command).await.expect_err("it must fail")
}

#[tokio::test]
async fn commands_keep_their_arguments_and_report_their_exit_status() {
    let sshd = lab::or_skip!(Sshd::start());
    let ssh = host(&sshd, "machine");
    let local = LocalHost::new("m1");
    let hosts: [&dyn Host; 2] = [&ssh, &local];
    for host in hosts {
        let words = ["", "a b", "it's", "$HOME `id`", "*", "a\nb", "\\", "~", "-x", "ä"];
        let mut echo = vec!["printf", "%s\\0"];
        echo.extend(words);
        assert_eq!(text(host, &echo).await.split_terminator('\0').collect::<Vec<_>>(), words);

        let script = Command::script("read -r line </dev/null; echo \"$1\" \"$2\" >&2; exit 7", ["a b", "c"]);
        let output = host.run(&script).await.unwrap();
        assert_eq!((output.code, output.stderr.as_slice()), (7, &b"a b c\n"[..]));

        let kill = Command::new(["sh", "-c", "kill -9 $$"]);
        assert_eq!(host.run(&kill).await.unwrap().code, 137);
        assert_eq!(host.run(&Command::new(["no-such-program"])).await.unwrap().code, 127);
        // ssh exits with 255 if the connection breaks: a command's own 255 must differ.
        let exit = Command::new(["sh", "-c", "exit 255"]);
        assert!(host.run(&exit).await.unwrap().code >= 254);

        assert_eq!(text(host, &["sh", "-c", "echo $LC_ALL"]).await, "C\n");
        let much = Command::new(["sh", "-c", "yes out | head -c 300000; yes err | head -c 300000 >&2"]);
        let said = host.run(&much).await.unwrap();
        assert_eq!((said.stdout.len(), said.stderr.len()), (300_000, 64 << 10));
        let failed = host.run_ok(&Command::new(["ls", "/no-such-file"])).await.unwrap_err().to_string();
        assert!(failed.contains("ls /no-such-file: exit code 2: ls: cannot access"), "{failed}");
        let flood = error(host, &Command::new(["head", "-c", "70000000", "/dev/zero"])).await;
        assert!(flood.to_string().contains("more than 64 MiB"), "{flood}");
    }
}

#[tokio::test]
async fn failed_logins_are_classified() {
    let sshd = lab::or_skip!(Sshd::start());
    let hello = Command::new(["true"]);

    let closed = error(&host(&sshd, "closed"), &hello).await;
    assert!(matches!(&closed, HostError::Unreachable { .. }), "{closed}");
    assert!(closed.to_string().contains("Connection refused"), "{closed}");

    let unauthorized = error(&host(&sshd, "unauthorized"), &hello).await;
    assert!(matches!(&unauthorized, HostError::Denied { .. }), "{unauthorized}");
    assert!(unauthorized.to_string().contains("Permission denied (publickey)"), "{unauthorized}");

    sshd.expect_another_key().unwrap();
    let changed = error(&host(&sshd, "machine"), &hello).await;
    assert!(matches!(&changed, HostError::HostKeyChanged { .. }), "{changed}");
    assert!(changed.to_string().contains("has changed, is now SHA256:"), "{changed}");
    assert!(changed.to_string().contains("ssh-keygen -f"), "{changed}");

    sshd.forget_the_key().unwrap();
    let unknown = error(&host(&sshd, "machine"), &hello).await;
    assert!(matches!(&unknown, HostError::HostKeyChanged { .. }), "{unknown}");
    assert!(unknown.to_string().contains("key is known for"), "{unknown}");
    // The attempt has not added the key to known_hosts.
    assert_eq!(fs::read_to_string(sshd.dir().join("known_hosts")).unwrap(), "");

    // The failure is not remembered: known_hosts may be corrected in the meantime.
    let machine = host(&sshd, "machine");
    error(&machine, &hello).await;
    sshd.expect_the_key().unwrap();
    machine.run_ok(&hello).await.unwrap();
}

#[tokio::test]
async fn host_keys_of_jump_hosts_are_checked() {
    let sshd = lab::or_skip!(Sshd::start());
    let config = sshd.ssh_config().unwrap();
    let (dir, port) = (sshd.dir().display(), sshd.port());
    let known = fs::read_to_string(sshd.dir().join("known_hosts")).unwrap();
    fs::write(sshd.dir().join("known_inside"), known).unwrap();
    let inside = format!(
        "Host inside\n  HostName 127.0.0.1\n  Port {port}\n  IdentityFile {dir}/client\n  ProxyJump machine\n  \
         UserKnownHostsFile {dir}/known_inside\n"
    );
    let jump = config.with_file_name("jump_config");
    fs::write(&jump, inside + &fs::read_to_string(&config).unwrap()).unwrap();
    let inside = |name| SshHost::new(name, "inside", &Ssh { user: None, config: Some(jump.clone()) });

    assert_eq!(text(&inside("m1"), &["id", "-u"]).await, "0\n");
    sshd.expect_another_key().unwrap();
    let changed = error(&inside("m1"), &Command::new(["true"])).await;
    assert!(matches!(&changed, HostError::HostKeyChanged { .. }), "{changed}");
}

#[tokio::test]
async fn logins_other_than_root_need_sudo() {
    const DROP: &str = "setpriv --reuid=65534 --regid=65534 --clear-groups";
    let command =
        |path: &str| format!("ForceCommand env PATH={path}:$PATH {DROP} sh -c \"$SSH_ORIGINAL_COMMAND\"");

    let sshd = lab::or_skip!(Sshd::start_with(&command("/nowhere")));
    let denied = error(&host(&sshd, "machine"), &Command::new(["true"])).await;
    assert!(matches!(&denied, HostError::Denied { .. }), "{denied}");
    assert!(denied.to_string().contains("root is required"), "{denied}");

    let bin = tempfile::tempdir_in("/var/tmp").unwrap();
    let sudo = bin.path().join("sudo");
    fs::write(&sudo, "#!/bin/sh\n[ \"$1\" = -n ] && shift\nBY_SUDO=yes exec \"$@\"\n").unwrap();
    for path in [bin.path(), &sudo] {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let sshd = lab::or_skip!(Sshd::start_with(&command(&bin.path().display().to_string())));
    let machine = host(&sshd, "machine");
    assert_eq!(text(&machine, &["sh", "-c", "echo $(id -u) $BY_SUDO"]).await, "65534 yes\n");
}

/// A slow profile or directory service delays the first command, but does not deny the login.
#[tokio::test]
async fn slow_and_broken_logins_are_not_reported_as_denied() {
    let sshd = lab::or_skip!(Sshd::start_with("ForceCommand sleep 4; sh -c \"$SSH_ORIGINAL_COMMAND\""));
    assert_eq!(text(&host(&sshd, "machine"), &["id", "-u"]).await, "0\n");

    let sshd = lab::or_skip!(Sshd::start_with("ForceCommand kill -9 $PPID"));
    let broken = error(&host(&sshd, "machine"), &Command::new(["true"])).await;
    assert!(matches!(&broken, HostError::Unreachable { .. }), "{broken}");
    assert!(broken.to_string().contains("the first command did not end"), "{broken}");
}

/// Output of a shell's start-up files would be read as output of the command.
#[tokio::test]
async fn a_login_shell_that_prints_is_reported() {
    let sshd =
        lab::or_skip!(Sshd::start_with("ForceCommand echo 'Welcome to m1!'; eval \"$SSH_ORIGINAL_COMMAND\""));
    let denied = error(&host(&sshd, "machine"), &Command::new(["true"])).await;
    assert!(matches!(&denied, HostError::Denied { .. }), "{denied}");
    let said = denied.to_string();
    assert!(
        said.contains("prints `Welcome to m1!` before every command") && said.contains("~/.bashrc"),
        "{said}"
    );
}

#[tokio::test]
async fn a_command_has_a_time_limit() {
    let sshd = lab::or_skip!(Sshd::start());
    let machine = host(&sshd, "machine");
    let sleep = Command::new(["sleep", "5"]).within(Duration::from_millis(300));
    let timeout = error(&machine, &sleep).await;
    assert!(matches!(&timeout, HostError::Timeout { .. }), "{timeout}");
    // The connection still works.
    assert_eq!(text(&machine, &["echo", "on"]).await, "on\n");
}

#[tokio::test]
async fn more_parallel_commands_than_sshd_allows() {
    let sshd = lab::or_skip!(Sshd::start());
    let machine = host(&sshd, "machine");
    let commands = (0..24).map(|number| {
        let machine = &machine;
        async move { text(machine, &["sh", "-c", &format!("sleep 0.1; echo {number}")]).await }
    });
    let answers = futures::future::join_all(commands).await;
    assert_eq!(answers, (0..24).map(|number| format!("{number}\n")).collect::<Vec<_>>());
}

#[tokio::test]
async fn waiting_commands_share_one_failed_login() {
    let sshd = lab::or_skip!(Sshd::start_with("LogLevel VERBOSE"));
    sshd.expect_another_key().unwrap();
    let machine = host(&sshd, "machine");
    let hello = Command::new(["true"]);
    let errors = futures::future::join_all((0..6).map(|_| error(&machine, &hello))).await;
    assert!(errors.iter().all(|error| matches!(error, HostError::HostKeyChanged { .. })));
    let log = fs::read_to_string(sshd.dir().join("log")).unwrap();
    // The first connection is from the wait for sshd.
    assert_eq!(log.lines().filter(|line| line.contains("Connection from")).count(), 2, "{log}");
}

#[tokio::test]
async fn a_lost_connection_is_opened_again() {
    let mut sshd = lab::or_skip!(Sshd::start());
    let machine = host(&sshd, "machine");
    text(&machine, &["true"]).await;

    // A running command is lost, and never sent again.
    let (began, counter) = (sshd.dir().join("began"), sshd.dir().join("counter"));
    let script = "echo once >> \"$2\"; touch \"$1\"; sleep 30";
    let paths = [began.to_str().unwrap(), counter.to_str().unwrap()];
    let long = Command::script(script, paths).within(Duration::from_secs(50));
    let cut = async {
        wait_for(&began).await;
        sshd.cut().unwrap();
    };
    let (lost, ()) = tokio::join!(error(&machine, &long), cut);
    assert!(matches!(&lost, HostError::Unreachable { .. }), "{lost}");
    assert!(lost.to_string().contains("connection lost"), "{lost}");
    assert_eq!(text(&machine, &["cat", paths[1]]).await, "once\n");

    // Cut while idle: the next command opens a new connection.
    sshd.cut().unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(text(&machine, &["echo", "back"]).await, "back\n");

    // Frozen while idle: the connection is tested first, and opened again.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    sshd.freeze().unwrap();
    assert_eq!(text(&machine, &["echo", "back"]).await, "back\n");

    // sshd stops, and starts again.
    sshd.cut().unwrap();
    sshd.stop().unwrap();
    let gone = error(&machine, &Command::new(["true"])).await;
    assert!(matches!(&gone, HostError::Unreachable { .. }), "{gone}");
    sshd.restart().unwrap();
    assert_eq!(text(&machine, &["echo", "back"]).await, "back\n");
}

#[tokio::test]
async fn a_frozen_connection_ends_a_command_before_its_limit() {
    let sshd = lab::or_skip!(Sshd::start());
    let machine = host(&sshd, "machine");
    let began = sshd.dir().join("began");
    let long = Command::script("touch \"$1\"; sleep 30", [began.to_str().unwrap()]);
    let freeze = async {
        wait_for(&began).await;
        sshd.freeze().unwrap();
    };
    let long = long.within(Duration::from_secs(25));
    let (lost, ()) = tokio::join!(error(&machine, &long), freeze);
    assert!(matches!(&lost, HostError::Unreachable { .. }), "{lost}");
}

async fn wait_for(path: &Path) {
    for _ in 0..500 {
        if path.exists() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{} did not come", path.display());
}

#[tokio::test]
async fn files_are_transferred_completely_or_not_at_all() {
    use std::os::unix::fs::PermissionsExt;

    let sshd = lab::or_skip!(Sshd::start());
    let machine = host(&sshd, "machine");
    let dir = sshd.dir();
    let big: Vec<u8> = (0..5_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let (from, back) = (dir.join("from"), dir.join("back"));
    fs::write(&from, &big).unwrap();

    let to = dir.join("new/deep dir/it's");
    send(&machine, None, &from, &to, 0o700).await.unwrap();
    assert_eq!(fs::read(&to).unwrap(), big);
    assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o7777, 0o700);
    for made in ["new", "new/deep dir"] {
        assert_eq!(fs::metadata(dir.join(made)).unwrap().permissions().mode() & 0o7777, 0o700);
    }

    fetch(&machine, &to, &back).await.unwrap();
    assert_eq!(fs::read(&back).unwrap(), big);
    assert_eq!(fs::metadata(&back).unwrap().permissions().mode() & 0o7777, 0o600);

    // Atomically replaced by an empty file.
    fs::write(&from, "").unwrap();
    send(&machine, None, &from, &to, 0o600).await.unwrap();
    assert_eq!(fs::read(&to).unwrap(), b"");

    let missing = fetch(&machine, &dir.join("missing"), &back).await.unwrap_err();
    assert!(missing.to_string().contains("fetch"), "{missing}");
    assert_eq!(fs::read(&back).unwrap(), big, "what was there stays");
    let relative = send(&machine, None, &from, Path::new("etc/x"), 0o600).await.unwrap_err();
    assert!(relative.to_string().contains("must be absolute"), "{relative}");
    let full = send(&machine, None, &from, Path::new("/proc/lifeboat/x"), 0o600).await.unwrap_err();
    assert!(full.to_string().contains("exit code"), "{full}");
}

/// If the connection breaks during a transfer, what has arrived is kept.
#[tokio::test]
async fn an_interrupted_transfer_is_resumed() {
    let sshd = lab::or_skip!(Sshd::start());
    let machine = host(&sshd, "machine");
    let (from, to, back) = (sshd.dir().join("from"), sshd.dir().join("there/file"), sshd.dir().join("back"));
    // Incompressible data.
    let bytes: Vec<u8> = std::iter::repeat_with({
        let mut state = 1_u64;
        move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u8
        }
    })
    .take(192 << 20)
    .collect();
    fs::write(&from, &bytes).unwrap();
    for (direction, part) in
        [("to", sshd.dir().join("there/file.part")), ("from", sshd.dir().join("back.part"))]
    {
        let cut = async {
            wait_for_bytes(&part, 1 << 20).await;
            sshd.cut().unwrap();
        };
        let transfer = async {
            match direction {
                "to" => send(&machine, None, &from, &to, 0o600).await,
                _ => fetch(&machine, &to, &back).await,
            }
        };
        let (lost, ()) = tokio::join!(transfer, cut);
        assert!(matches!(lost.unwrap_err(), HostError::Unreachable { .. }), "{direction}");
        let kept = fs::metadata(&part).unwrap().len();
        assert!((1 << 20..bytes.len() as u64).contains(&kept), "{direction}: {kept} bytes are kept");
        match direction {
            "to" => send(&machine, None, &from, &to, 0o600).await.unwrap(),
            _ => fetch(&machine, &to, &back).await.unwrap(),
        }
        assert!(!part.exists());
    }
    assert!(fs::read(&to).unwrap() == bytes && fs::read(&back).unwrap() == bytes);
}

async fn wait_for_bytes(path: &Path, bytes: u64) {
    for _ in 0..3000 {
        if fs::metadata(path).is_ok_and(|at| at.len() >= bytes) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{} does not grow", path.display());
}

/// A command that a killed Lifeboat has left running ends before another one starts.
#[tokio::test]
async fn exclusive_commands_do_not_overlap() {
    let sshd = lab::or_skip!(Sshd::start());
    let (first, second) = (host(&sshd, "machine"), host(&sshd, "machine"));
    let log = sshd.dir().join("log-of-commands");
    let step = |name: &str, seconds: &str| {
        let script = "echo \"begin $2\" >> \"$1\"; sleep $3; echo \"end $2\" >> \"$1\"";
        Command::script(script, [log.to_str().unwrap(), name, seconds]).exclusive()
    };
    let long = step("first", "1");
    tokio::select! {
        _ = first.run(&long) => panic!("it must be given up while it runs"),
        () = wait_for(&log) => {}
    }
    drop(first);
    second.run_ok(&step("second", "0")).await.unwrap();
    assert_eq!(fs::read_to_string(&log).unwrap(), "begin first\nend first\nbegin second\nend second\n");

    let slow = Command::new(["sleep", "60"]).within(Duration::from_secs(1)).exclusive();
    assert_eq!(second.run(&slow).await.unwrap().code, 124, "ended there at its limit");
}
