//! Files as people have them: packed, half of a data dir, not files at all, closed to the user.

use std::fmt::Debug;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use lab::fixture::{FieldInput, kubernetes_snapshot};
use lzma_rust2::{XzOptions, XzWriter};

use crate::support::{entries, fails, lifeboat, lifeboat_json, text};

/// Keys of the Kubernetes snapshot.
const KEYS: u64 = 340;
const MEMBERS: &str = "etcd-10.123.0.231=https://10.123.0.231:2380,etcd-10.123.0.232=https://10.123.0.232:2380,\
                       etcd-10.123.0.233=https://10.123.0.233:2380";

fn unpack(input: FieldInput) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    input.unpack(dir.path());
    dir
}

fn keys(path: &Path) -> u64 {
    let inspection = lifeboat_json(["inspect".as_ref(), path.as_os_str()]);
    inspection["liveKeys"].as_u64().unwrap()
}

/// Restores into a directory next to it, and returns the number of keys.
fn restored(path: &Path) -> u64 {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("restored").display().to_string();
    let path = path.display().to_string();
    let report = lifeboat_json(["restore", &path, "--all-members", &to, "--initial-cluster", MEMBERS]);
    report["liveKeys"].as_u64().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        header.set_cksum();
        builder.append_data(&mut header, name, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in files {
        writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut writer = XzWriter::new(Vec::new(), XzOptions::with_preset(0)).unwrap();
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

#[test]
fn backups_of_other_tools_are_read_through() {
    let dir = unpack(FieldInput::FOREIGN_BACKUPS);
    for name in [
        "on-demand-node1-1642532094.zip",
        "c-xxx-rs-12345.zip",
        "2026-05-01T00:00:00Z-000001",
        "2026-05-01T00:00:00Z-000001/etcd.backup.gz",
    ] {
        let path = dir.path().join(name);
        assert_eq!(keys(&path), KEYS, "{name}");
        assert_eq!(restored(&path), KEYS, "{name}");
        let checked = lifeboat(["check".as_ref(), path.as_os_str()]);
        assert_eq!(checked.status.code(), Some(0), "{name}: {}", text(&checked.stdout));
    }
    // As OpenShift's backup script leaves it.
    let folder = dir.path().join("ocp");
    let words = ["an OpenShift backup without its snapshot", "snapshot_*.db"];
    fails(&lifeboat(["inspect".as_ref(), folder.as_os_str()]), 3, &words);
    fs_err::copy(kubernetes_snapshot(), folder.join("snapshot_2026-05-01_000000.db")).unwrap();
    assert_eq!(keys(&folder), KEYS);
    fs_err::copy(kubernetes_snapshot(), folder.join("snapshot_2026-05-02_000000.db")).unwrap();
    let words =
        ["a folder of 2 snapshots: snapshot_2026-05-02_000000.db, snapshot_2026-05-01_000000.db", "name one"];
    fails(&lifeboat(["inspect".as_ref(), folder.as_os_str()]), 3, &words);
}

#[test]
fn every_compression_and_archive_format_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = fs_err::read(kubernetes_snapshot()).unwrap();
    let folder = tar(&[("backup/readme.txt", b"nightly"), ("backup/etcd-snapshot.db", &bytes)]);
    let zlib = {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&bytes).unwrap();
        encoder.finish().unwrap()
    };
    let scratch = dir.path().join("scratch");
    fs_err::create_dir(&scratch).unwrap();
    for (name, packed) in [
        ("a.db.gz", gzip(&bytes)),
        ("two members of a gzip.gz", [gzip(&bytes[..70_000]), gzip(&bytes[70_000..])].concat()),
        ("a.db.xz", xz(&bytes)),
        ("a.db.zst", zstd(&bytes)),
        ("two frames.zst", [zstd(&bytes[..70_000]), zstd(&bytes[70_000..])].concat()),
        ("a.tar", folder.clone()),
        ("a.tar.gz", gzip(&folder)),
        ("a.tar.zst", zstd(&folder)),
        ("a.zip", zip(&[("note.txt", b"x"), ("db", &bytes)])),
        ("a gzip in a zip.zip", zip(&[("etcd.backup.gz", &gzip(&bytes))])),
        ("Full-00000000-00009002-1518427675.gz", gzip(&bytes)),
        ("Full-00000000-00009002-1518427675.zlib", zlib),
        // The content decides, not the name.
        ("a.db", gzip(&bytes)),
    ] {
        let path = dir.path().join(name);
        fs_err::write(&path, packed).unwrap();
        let command = ["inspect", &path.display().to_string(), "-o", "json"];
        let output = crate::support::lifeboat_with(command, &[("TMPDIR", scratch.to_str().unwrap())]);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{name}: {stderr}");
        let inspection: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            (&inspection["liveKeys"], &inspection["kind"]),
            (&KEYS.into(), &"snapshot".into()),
            "{name}"
        );
        assert!(entries(&scratch).is_empty(), "{name}");
        fs_err::remove_file(path).unwrap();
    }
}

#[test]
fn unsupported_files_are_named_with_what_to_do() {
    let foreign = unpack(FieldInput::FOREIGN_BACKUPS);
    let dir = tempfile::tempdir().unwrap();
    let bytes = fs_err::read(kubernetes_snapshot()).unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs_err::write(&path, bytes).unwrap();
        path
    };
    let data_dir = tar(&[
        ("var/lib/etcd/member/snap/db", &bytes),
        ("var/lib/etcd/member/wal/0000000000000000-0000000000000000.wal", b"x"),
    ]);
    for (path, words) in [
        (foreign.path().join("state.db"), ["an SQLite database, not an etcd db", "--cluster-init"]),
        (write("a.bz2", b"BZh91AY&SY"), ["compressed with bzip2", "bunzip2 -k"]),
        (write("Incr-00009003-00009999-1518427675.gz", &gzip(b"[{}]")), ["a delta snapshot", "Full-..."]),
        (
            write("dir.tar.gz", &gzip(&data_dir)),
            ["a tar archive of a data dir", "name the data dir: DIR/var/lib/etcd"],
        ),
        (
            write("two.tar", &tar(&[("a.db", &bytes), ("b.db", &bytes)])),
            ["2 snapshots: a.db, b.db", "tar -xf"],
        ),
        (write("two.zip", &zip(&[("a.db", &bytes), ("b.db", &bytes)])), ["2 snapshots: a.db, b.db", "unzip"]),
        (
            write("none.zip", &zip(&[("a.txt", b"a"), ("b.txt", b"b")])),
            ["without an etcd snapshot", "a.txt, b.txt"],
        ),
    ] {
        for verb in ["inspect", "check", "hash"] {
            let stderr = fails(&lifeboat([verb.as_ref(), path.as_os_str()]), 3, &words);
            assert!(!stderr.to_lowercase().contains("damage"), "{verb}: {stderr}");
        }
        assert!(!dir.path().join("out").exists());
        fails(
            &lifeboat(["salvage".as_ref(), path.as_os_str(), dir.path().join("out").as_os_str()]),
            3,
            &words[..1],
        );
    }
    // Deltas go on from the full snapshot beside them.
    let gardener = dir.path().join("v2");
    fs_err::create_dir(&gardener).unwrap();
    fs_err::write(gardener.join("Full-00000000-00009002-1518427675.gz"), gzip(&bytes)).unwrap();
    assert_eq!(keys(&gardener), KEYS);
    fs_err::write(gardener.join("Incr-00009003-00009999-1518427690.gz"), gzip(b"[{}]").repeat(9)).unwrap();
    fails(
        &lifeboat(["inspect".as_ref(), gardener.as_os_str()]),
        3,
        &["1 delta snapshots after Full-", "etcdbrctl"],
    );
    let full = gardener.join("Full-00000000-00009002-1518427675.gz").display().to_string();
    let words = ["1 later delta snapshots in the same directory are not read", "etcdbrctl"];
    let output = lifeboat(["hash", &full]);
    assert_eq!(output.status.code(), Some(0));
    words.iter().for_each(|word| assert!(text(&output.stderr).contains(word), "{}", text(&output.stderr)));
    let to = dir.path().join("restored").display().to_string();
    let restore = ["restore", &full, "--all-members", &to, "--initial-cluster", MEMBERS];
    fails(&lifeboat(restore), 4, &[&words[..], &["--db-only"]].concat());
    assert!(lifeboat(restore.into_iter().chain(["--db-only"])).status.success());
}

#[test]
fn a_damaged_compressed_file_is_reported_as_damage() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = fs_err::read(kubernetes_snapshot()).unwrap();
    let (gz, zst) = (gzip(&bytes), zstd(&bytes));
    let flipped = |mut bytes: Vec<u8>| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
        bytes
    };
    for (name, packed) in [
        ("cut.gz", gz[..gz.len() / 2].to_vec()),
        ("flipped.gz", flipped(gz)),
        ("cut.zst", zst[..zst.len() / 2].to_vec()),
        ("flipped.zst", flipped(zst)),
        ("cut.xz", xz(&bytes)[..5000].to_vec()),
        ("flipped.zip", flipped(zip(&[("db", &bytes)]))),
        ("cut.tar", tar(&[("db", &bytes)])[..400_000].to_vec()),
    ] {
        let path = dir.path().join(name);
        fs_err::write(&path, packed).unwrap();
        let output = lifeboat(["check".as_ref(), path.as_os_str()]);
        assert_eq!(output.status.code(), Some(3), "{name}: {}{}", text(&output.stdout), text(&output.stderr));
    }
}

/// A named pipe blocks its reader until there is a writer, so that a verb that opens it would hang.
#[test]
fn what_is_not_a_file_is_refused_and_not_opened() {
    let dir = unpack(FieldInput::DB_WITH_LOG_BESIDE);
    let data_dir = dir.path().join("f2");
    let fifo = |path: &Path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    let pipe = dir.path().join("pipe");
    fifo(&pipe);
    let socket = dir.path().join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    let link = dir.path().join("link");
    symlink(&pipe, &link).unwrap();
    let everywhere = |path: &dyn AsRef<Path>, words: &[&str]| {
        let path = path.as_ref().as_os_str();
        for verb in ["inspect", "check", "hash"] {
            fails(&lifeboat([verb.as_ref(), path]), 3, words);
        }
        let out = dir.path().join("out");
        fails(&lifeboat(["salvage".as_ref(), path, out.as_os_str()]), 3, words);
        fails(&lifeboat(["save".as_ref(), path, out.as_os_str()]), 3, words);
        let restore = ["restore".as_ref(), path, "--initial-cluster-token".as_ref(), "t".as_ref()];
        fails(&lifeboat(restore), 3, words);
    };
    everywhere(&pipe, &["is a named pipe (FIFO), not a regular file"]);
    everywhere(&link, &["is a named pipe (FIFO), not a regular file"]);
    everywhere(&socket, &["is a socket, not a regular file"]);
    everywhere(&"/dev/zero", &["is a character device, not a regular file"]);
    let db = data_dir.join("member/snap/db");
    let kept = dir.path().join("db");
    fs_err::rename(&db, &kept).unwrap();
    fifo(&db);
    everywhere(&data_dir, &["member/snap/db is a named pipe (FIFO), not a regular file"]);
    fs_err::remove_file(&db).unwrap();
    fs_err::rename(&kept, &db).unwrap();
    let segment = data_dir.join("member/wal/0000000000000000-0000000000000000.wal");
    fs_err::remove_file(&segment).unwrap();
    fifo(&segment);
    everywhere(&data_dir, &[".wal is a named pipe (FIFO), not a regular file"]);
}

/// Runs it as a user who may read less, if that can be done here.
fn as_another_user(dir: &Path, args: &[&dyn AsRef<std::ffi::OsStr>]) -> std::process::Output {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    let open = |path: &Path, mode| fs_err::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    open(dir, 0o755);
    // Where it was built others may not come.
    let program = dir.join("lifeboat");
    if !program.exists() {
        // By another process: one that this one starts meanwhile would hold a file that is open for writing here, which
        // cannot be executed then (ETXTBSY).
        let copy = [env!("CARGO_BIN_EXE_lifeboat").as_ref(), program.as_os_str()];
        assert!(Command::new("cp").args(copy).status().unwrap().success());
        open(&program, 0o755);
    }
    let mut command = Command::new(&program);
    if rustix::process::geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    command.args(args).current_dir(dir).output().unwrap()
}

#[test]
fn unreadable_files_are_not_reported_as_missing() {
    use std::os::unix::fs::PermissionsExt;
    let dir = unpack(FieldInput::DB_WITH_LOG_BESIDE);
    let data_dir = dir.path().join("f2");
    let close = |path: &Path, mode| fs_err::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    let parts = ["", "member", "member/snap", "member/wal"].map(|part| data_dir.join(part));
    fs_err::set_permissions(data_dir.join("member/snap/db"), PermissionsExt::from_mode(0o644)).unwrap();
    for closed in &parts {
        parts.iter().for_each(|part| close(part, 0o755));
        close(closed, 0o000);
        for verb in ["inspect", "check", "hash"] {
            let output = as_another_user(dir.path(), &[&verb, &data_dir]);
            let stderr = fails(&output, 1, &["Permission denied", "run lifeboat as root"]);
            assert!(!stderr.contains("without member"), "{}: {stderr}", closed.display());
        }
    }
    parts.iter().for_each(|part| close(part, 0o755));
}

#[test]
fn parts_of_a_data_dir_are_read_or_named() {
    let dir = unpack(FieldInput::DB_WITH_LOG_BESIDE);
    let data_dir = dir.path().join("f2");
    assert_eq!((keys(&data_dir), keys(&data_dir.join("member"))), (40, 40));
    // Copied out of its data dir.
    let copy = dir.path().join("old-member");
    fs_err::rename(data_dir.join("member"), &copy).unwrap();
    assert_eq!(keys(&copy), 40);
    fs_err::rename(&copy, data_dir.join("member")).unwrap();
    for part in ["member/snap", "member/wal"] {
        let output = lifeboat(["inspect".as_ref(), data_dir.join(part).as_os_str()]);
        let named = format!("of a data dir; name the data dir: {}", data_dir.display());
        fails(&output, 3, &[&named]);
    }
    // As k3s keeps it: server/db/etcd.
    let output = lifeboat(["inspect".as_ref(), dir.path().as_os_str()]);
    fails(&output, 3, &["a data dir is in it: name", "f2"]);
}

#[test]
fn a_db_without_its_log_is_reported_as_incomplete() {
    let dir = unpack(FieldInput::DB_WITH_LOG_BESIDE);
    let data_dir = dir.path().join("f2");
    let db = data_dir.join("member/snap/db").display().to_string();
    let words = ["with the log 40 keys", "without it 38", "to read both, name the data dir", "f2"];
    let to = dir.path().join("restored").display().to_string();
    let cluster = ["--initial-cluster", "m1=http://127.0.0.1:2380", "--all-members", &to];
    let restore = |more: &[&str]| lifeboat([&["restore", db.as_str()], more, &cluster].concat());
    fails(&restore(&[]), 4, &[&words[..], &["--db-only"]].concat());
    assert!(!Path::new(&to).exists());
    let output = restore(&["--db-only", "-o", "json"]);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    words.iter().for_each(|word| assert!(stderr.contains(word), "no {word:?} in: {stderr}"));
    for args in [
        vec!["inspect", &db],
        vec!["check", &db],
        vec!["hash", &db],
        vec!["get", &db, "--prefix", "", "--keys-only"],
    ] {
        let output = lifeboat(&args);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {stderr}");
        words.iter().for_each(|word| assert!(stderr.contains(word), "{args:?}: no {word:?} in: {stderr}"));
    }
    // A copy elsewhere has no log beside it.
    let copy = dir.path().join("copy.db");
    fs_err::copy(&db, &copy).unwrap();
    assert_eq!(text(&lifeboat(["hash".as_ref(), copy.as_os_str()]).stderr), "");
}

#[test]
fn a_restore_that_would_silently_lose_data_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let snapshot = kubernetes_snapshot().display().to_string();
    let to = dir.path().join("m").display().to_string();
    let one = |more: &[&str]| {
        let args = ["restore", &snapshot, "--data-dir", &to, "--initial-cluster-token", "t"];
        lifeboat([&args, more].concat())
    };
    // Flags left out.
    fails(
        &one(&[]),
        4,
        &["a single member at default=http://localhost:2380", "etcd-10.123.0.231=https://10.123.0.231:2380"],
    );
    assert!(!Path::new(&to).exists());
    // Nothing is alive before the first key was written.
    fails(
        &one(&["--initial-cluster", "default=http://localhost:2380", "--rev", "1"]),
        4,
        &["holds no keys", "--allow-empty"],
    );
    assert!(!Path::new(&to).exists());
    let output = one(&["--initial-cluster", "default=http://localhost:2380"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("no other member can reach http://localhost:2380"));
}

fn assert_harmless(text: &str, what: &dyn Debug) {
    let is_unsafe = |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c);
    assert!(!text.chars().any(is_unsafe), "{what:?}: {text:?}");
}

/// Foreign names and messages: in paths, and in facts from machines and clouds.
#[test]
fn output_cannot_control_a_terminal() {
    const HOSTILE: &str = "\u{1b}]52;c;ZXZpbA==\u{7}\u{1b}[2J\u{9b}31m\u{202e}x";
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(HOSTILE);
    for (verb, more) in
        [("inspect", ""), ("check", ""), ("hash", ""), ("restore", "--initial-cluster-token=t")]
    {
        let args = [verb.as_ref(), path.as_os_str(), more.as_ref()];
        let output = lifeboat(args.into_iter().filter(|arg: &&std::ffi::OsStr| !arg.is_empty()));
        assert_harmless(&text(&output.stderr), &verb);
    }
    fs_err::copy(kubernetes_snapshot(), &path).unwrap();
    for format in ["table", "json", "yaml"] {
        let output = lifeboat(["check".as_ref(), path.as_os_str(), "-o".as_ref(), format.as_ref()]);
        assert_eq!(output.status.code(), Some(0));
        assert_harmless(&text(&output.stdout), &format);
        if format == "json" {
            let body: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(body["source"].as_str(), path.to_str());
        }
    }
}

/// Secrets pass through: a core dump would leave them on disk.
#[test]
fn a_crash_leaves_no_core() {
    use std::process::Stdio;
    let mut command = Command::new(env!("CARGO_BIN_EXE_lifeboat"));
    // It blocks until the rest, which does not fit into a pipe, is read.
    let snapshot = kubernetes_snapshot();
    let args = ["get".as_ref(), snapshot.as_os_str(), "--prefix".as_ref(), "".as_ref()];
    let mut child = command.args(args).stdout(Stdio::piped()).spawn().unwrap();
    crate::support::eventually("it has begun", || {
        let limits = fs_err::read_to_string(format!("/proc/{}/limits", child.id())).ok()?;
        let core = limits.lines().find(|line| line.starts_with("Max core file size"))?.to_owned();
        let words: Vec<&str> = core.split_whitespace().skip(4).take(2).collect();
        (words == ["0", "0"]).then_some(())
    });
    child.kill().unwrap();
    child.wait().unwrap();
}
