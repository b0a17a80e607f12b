//! `lifeboat save` takes from a live member the very bytes etcdctl takes, and takes none from one that cannot
//! be trusted unless told to. Whatever goes wrong, no file is replaced and none is left half written.

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use lab::cluster::{Cluster, ClusterBuilder};
use lab::fill::{self, Plain};
use lab::peers::{self, EtcdVersion};
use lifeboat_client::messages::{AlarmMember, AlarmType};
use serde_json::Value;
use support::{
    PASSWORD, enable_auth, entries, eventually, exhaust_quota, fails, lifeboat, lifeboat_json, lifeboat_with,
    save, save_args, text,
};

fn save_output(cluster: &Cluster, path: &Path, more: &[&str]) -> Output {
    lifeboat(save_args(cluster, 0, path, more))
}

/// The status of a snapshot according to the offline tool.
fn etcdutl_status(path: &Path) -> Value {
    let etcdutl = peers::etcd(EtcdVersion::V3_6).unwrap().etcdutl.unwrap();
    let output = Command::new(etcdutl).args(["snapshot", "status", "-w", "json"]).arg(path).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Of a member that is doing nothing, both take the same.
#[test]
fn saves_what_etcdctl_saves() {
    for version in EtcdVersion::ALL {
        lab::or_skip!(peers::etcd(version));
    }
    for version in EtcdVersion::ALL {
        let cluster = ClusterBuilder::new(version).unsafe_no_fsync().start().unwrap();
        let model = fill::plain(&cluster, 0, &Plain { operations: 200, ..Plain::default() }).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (ours, theirs) = (dir.path().join("ours.db"), dir.path().join("theirs.db"));
        let saved = save(&cluster, &ours);
        // After ours: asking for alarms is a raft entry, and its index is part of the db.
        cluster.etcdctl_ok(0, ["snapshot".as_ref(), "save".as_ref(), theirs.as_os_str()]).unwrap();
        let (our_status, their_status) = (etcdutl_status(&ours), etcdutl_status(&theirs));
        assert_eq!(
            our_status["hash"], their_status["hash"],
            "{version}: other keys or values in some bucket"
        );
        let ours_by_us = lifeboat_json(["hash".as_ref(), ours.as_os_str(), "--status".as_ref()]);
        assert_eq!(ours_by_us["statusHash"], our_status["hash"], "{version}");
        if version == EtcdVersion::V3_4 {
            // From 3.5 on every snapshot begins with a commit, so no two have the same pages.
            assert!(fs_err::read(&ours).unwrap() == fs_err::read(&theirs).unwrap(), "other bytes");
        }

        let metadata = fs_err::metadata(&ours).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        assert_eq!(saved["size"], metadata.len());
        assert_eq!(saved["revision"], model.revision);
        assert_eq!(our_status["revision"], model.revision);
        assert_eq!(our_status["totalKey"], model.live.len());
        let client = cluster.client(0).unwrap();
        let member = cluster.block_on(client.status()).unwrap();
        assert_eq!(saved["version"], member.version);
        assert_eq!(saved["clusterId"], format!("{:x}", member.header.cluster_id));
        assert_eq!(saved["memberId"], format!("{:x}", member.header.member_id));
        assert_eq!(entries(dir.path()).len(), 2);
    }
}

/// Certificates from flags or from etcdctl's environment; without them, advice.
#[test]
fn saves_over_tls() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let cluster = ClusterBuilder::new(EtcdVersion::V3_6).members(3).tls().unsafe_no_fsync().start().unwrap();
    // etcdutl counts the revisions of an empty store differently than etcd does.
    cluster.block_on(cluster.client(0).unwrap().put("key", "value", 0)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    for member in 0..3 {
        let file = path(&format!("flags-{member}.db"));
        let saved = lifeboat_json(save_args(&cluster, member, &file, &[]));
        assert_eq!(etcdutl_status(&file)["revision"], saved["revision"]);
    }

    let tls = cluster.tls().unwrap();
    let file = |path: &Path| path.display().to_string();
    let environment = [
        ("ETCDCTL_ENDPOINTS", cluster.client_endpoint(1).to_owned()),
        ("ETCDCTL_CACERT", file(&tls.ca)),
        ("ETCDCTL_CERT", file(&tls.client.cert)),
        ("ETCDCTL_KEY", file(&tls.client.key)),
    ];
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    let from_environment = lifeboat_with(["save".as_ref(), path("env.db").as_os_str()], &environment);
    assert!(from_environment.status.success(), "{}", text(&from_environment.stderr));

    let endpoint = cluster.client_endpoint(0);
    let (bad, plain) = (path("bad.db"), endpoint.replace("https", "http"));
    for (url, more, words) in [
        (endpoint, vec![], ["signed by an unknown authority, CN=lab-ca", "--cacert"]),
        (endpoint, vec!["--cacert".to_owned(), file(&tls.ca)], ["Maintenance/Status", "--cert"]),
        (plain.as_str(), vec![], [plain.as_str(), "scheme"]),
    ] {
        let args = ["save".to_owned(), url.to_owned(), file(&bad)].into_iter().chain(more);
        fails(&lifeboat(args), 1, &words);
    }
    assert_eq!(entries(dir.path()).len(), 4, "{:?}", entries(dir.path()));
}

/// Saves over TLS as soon as the member listens, and returns the output.
fn save_when_it_listens(cluster: &Cluster, path: &Path, more: &[&str]) -> Output {
    eventually("the member listens", || {
        let output = save_output(cluster, path, more);
        let stderr = text(&output.stderr);
        (!stderr.contains("Connection refused") && !stderr.contains("no leader")).then_some(output)
    })
}

/// The error names what is wrong with a certificate, and how to save the data nevertheless.
#[test]
fn refused_certificates_are_explained() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let dir = tempfile::tempdir().unwrap();
    let (certificates, bad) = (dir.path().join("tls"), dir.path().join("bad.db"));
    let member = |pair: &str| {
        let file = |kind: &str, end: &str| {
            format!("--{kind}-file={}", certificates.join(format!("{pair}.{end}")).display())
        };
        ClusterBuilder::new(EtcdVersion::V3_6)
            .tls()
            .dir(dir.path())
            .flag(file("cert", "crt"))
            .flag(file("key", "key"))
            .unsafe_no_fsync()
            .spawn()
            .unwrap()
    };
    let has_date = |stderr: &str| {
        let date = stderr.split_once("expired on ").and_then(|(_, rest)| rest.get(..20));
        date.is_some_and(|date| date.starts_with("20") && date.ends_with("-01-01T00:00:00Z"))
    };

    let cluster = member("expired-server");
    let stderr = fails(
        &save_when_it_listens(&cluster, &bad, &[]),
        1,
        &["the member's certificate expired on", "--insecure-skip-tls-verify"],
    );
    assert!(has_date(&stderr), "{stderr}");
    let tls = cluster.tls().unwrap();
    let file = |path: &Path| path.display().to_string();
    let client = |cert: &Path, key: &Path| vec!["--cert".to_owned(), file(cert), "--key".into(), file(key)];
    let endpoint = cluster.client_endpoint(0).to_owned();
    let save = |name: &str, more: Vec<String>| {
        let args =
            ["save".to_owned(), endpoint.clone(), file(&dir.path().join(name))].into_iter().chain(more);
        lifeboat(args)
    };
    let insecure =
        client(&tls.client.cert, &tls.client.key).into_iter().chain(["--insecure-skip-tls-verify".into()]);
    let insecure: Vec<String> = insecure.collect();
    eventually("the member has a leader", || {
        let output = save("saved.db", insecure.clone());
        let stderr = text(&output.stderr);
        assert!(output.status.success() || stderr.contains("no leader"), "{stderr}");
        output.status.success().then_some(())
    });

    // If our own certificate is refused, the member just closes the connection.
    let expired = client(&tls.expired_client.cert, &tls.expired_client.key);
    let output = save("bad.db", expired.into_iter().chain(["--insecure-skip-tls-verify".into()]).collect());
    let stderr = fails(
        &output,
        1,
        &["the client certificate", "expired-client.crt expired on", "the member refuses it"],
    );
    assert!(has_date(&stderr), "{stderr}");
    drop(cluster);

    fs_err::remove_dir_all(dir.path().join("m1")).unwrap();
    fs_err::remove_dir_all(&certificates).unwrap();
    let cluster = member("misnamed-server");
    let words = ["the member's certificate is for etcd.example, not for 127.0.0.1", "--server-name"];
    fails(&save_when_it_listens(&cluster, &bad, &[]), 1, &words);
    let named =
        save_when_it_listens(&cluster, &dir.path().join("named.db"), &["--server-name", "etcd.example"]);
    assert!(named.status.success(), "{}", text(&named.stderr));
    assert!(!bad.exists());
}

/// As etcd listens where it is meant for its own machine alone.
#[test]
fn saves_over_a_unix_socket() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("etcd.sock");
    let url = format!("unix://{}", socket.display());
    let builder = ClusterBuilder::new(EtcdVersion::V3_6).flag(format!("--listen-client-urls={url}"));
    let _cluster = builder.unsafe_no_fsync().spawn().unwrap();
    let saved = dir.path().join("saved.db").display().to_string();
    eventually("the member has a leader", || {
        let output = lifeboat(["save", &url, &saved]);
        let stderr = text(&output.stderr);
        let is_starting =
            ["no leader", "No such file", "Connection refused"].iter().any(|word| stderr.contains(word));
        assert!(output.status.success() || is_starting, "{stderr}");
        output.status.success().then_some(())
    });
    assert!(etcdutl_status(Path::new(&saved))["totalSize"].as_u64().unwrap() > 0);
}

#[test]
fn an_invalid_endpoint_is_a_usage_error() {
    let file = "/nowhere/backup.db";
    for (args, word) in [
        (vec!["save", "https://etcd-0", file], "no port"),
        (vec!["save", "ftp://etcd-0:2379", file], "the scheme"),
        (vec!["save", "http://a:1", "http://b:1"], "two URLs"),
        (vec!["save", "http://a:1,http://b:1", file], "endpoint"),
        (
            vec![
                "save",
                "http://a:1",
                file,
                "--cert",
                "a",
                "--key",
                "b",
                "--password",
                "x",
                "--password-file",
                "y",
            ],
            "--password-file",
        ),
    ] {
        fails(&lifeboat(&args), 2, &[word]);
    }
    fails(
        &lifeboat_with(["save", "http://b:1"], &[("ETCDCTL_ENDPOINTS", "http://a:1")]),
        2,
        &["argument is a URL"],
    );
}

/// With authentication on, root's password opens the door, and is never shown, right or wrong.
#[test]
fn saves_from_a_cluster_with_authentication() {
    for version in EtcdVersion::ALL {
        lab::or_skip!(peers::etcd(version));
    }
    for version in EtcdVersion::ALL {
        let cluster = ClusterBuilder::new(version).unsafe_no_fsync().start().unwrap();
        enable_auth(&cluster);
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let both = format!("root:{PASSWORD}");
        let password = path("password");
        fs_err::write(&password, format!("{PASSWORD}\n")).unwrap();
        let from_file = ["--user", "root", "--password-file", password.to_str().unwrap()];
        let accepted = [
            save_output(&cluster, &path("1.db"), &["--user", "root", "--password", PASSWORD]),
            save_output(&cluster, &path("2.db"), &["--user", &both]),
            with_credentials(&cluster, &path("3.db"), &[("ETCDCTL_USER", &both)]),
            with_credentials(
                &cluster,
                &path("4.db"),
                &[("ETCDCTL_USER", "root"), ("ETCDCTL_PASSWORD", PASSWORD)],
            ),
            save_output(&cluster, &path("5.db"), &from_file),
        ];
        for output in &accepted {
            assert!(output.status.success(), "{version}: {}", text(&output.stderr));
            assert_silent_about(output, PASSWORD);
        }
        // `ps` shows what is in the arguments, and only that.
        let is_warned = |output: &Output| {
            text(&output.stderr).contains("other users of this machine can see the password")
        };
        assert_eq!(accepted.each_ref().map(is_warned), [true, true, false, false, false]);

        let wrong = "letmein-letmein";
        let refused = [
            (save_output(&cluster, &path("6.db"), &["--user", &format!("root:{wrong}")]), "password"),
            (
                with_credentials(
                    &cluster,
                    &path("6.db"),
                    &[("ETCDCTL_USER", "root"), ("ETCDCTL_PASSWORD", wrong)],
                ),
                "password",
            ),
            // A snapshot holds everybody's keys and password hashes.
            (save_output(&cluster, &path("6.db"), &["--user", "app", "--password", PASSWORD]), "permission"),
            (save_output(&cluster, &path("6.db"), &[]), "user"),
        ];
        for (output, word) in &refused {
            fails(output, 1, &[word]);
            assert_silent_about(output, wrong);
            assert_silent_about(output, PASSWORD);
        }
        assert_eq!(entries(dir.path()).len(), accepted.len() + 1);
    }
}

fn with_credentials(cluster: &Cluster, path: &Path, environment: &[(&str, &str)]) -> Output {
    lifeboat_with(save_args(cluster, 0, path, &[]), environment)
}

fn assert_silent_about(output: &Output, secret: &str) {
    let shown = text(&output.stdout) + &text(&output.stderr);
    assert!(!shown.contains(secret), "{shown}");
}

/// NOSPACE is worth a word; CORRUPT is a reason to look for another member first.
#[test]
fn a_corrupt_alarm_is_refused_and_a_nospace_alarm_is_not() {
    for version in EtcdVersion::ALL {
        lab::or_skip!(peers::etcd(version));
    }
    for version in EtcdVersion::ALL {
        let cluster =
            ClusterBuilder::new(version).flag(support::SMALL_QUOTA).unsafe_no_fsync().start().unwrap();
        let dir = tempfile::tempdir().unwrap();
        exhaust_quota(&cluster);
        let client = cluster.client(0).unwrap();
        let member_id = cluster.block_on(client.status()).unwrap().header.member_id;
        let full = save(&cluster, &dir.path().join("full.db"));
        let warnings = full["warnings"].as_array().unwrap();
        assert_eq!(warnings.len(), 1, "{version}: {warnings:?}");
        let warning = warnings[0].as_str().unwrap();
        assert!(warning.contains("NOSPACE") && warning.contains(&format!("{member_id:x}")), "{warning}");

        let corrupt = AlarmMember { member_id, alarm: AlarmType::Corrupt.into() };
        cluster.block_on(client.activate(corrupt)).unwrap();
        let path = dir.path().join("corrupt.db");
        fails(&save_output(&cluster, &path, &[]), 4, &["CORRUPT", "--allow-unhealthy"]);
        assert_eq!(entries(dir.path()), ["full.db"]);
        let saved = lifeboat_json(save_args(&cluster, 0, &path, &["--allow-unhealthy"]));
        assert!(saved["warnings"].to_string().contains("CORRUPT"), "{saved}");
        let inspected = lifeboat_json(["inspect".as_ref(), path.as_os_str()]);
        assert_eq!(inspected["alarms"].as_array().unwrap().len(), 2);
    }
}

/// What a member without a leader has may be old; when it is the last one, that is better than nothing.
#[test]
fn a_member_without_a_leader_is_refused() {
    for version in EtcdVersion::ALL {
        lab::or_skip!(peers::etcd(version));
    }
    for version in EtcdVersion::ALL {
        let mut cluster = ClusterBuilder::new(version).members(3).unsafe_no_fsync().start().unwrap();
        let model = fill::plain(&cluster, 0, &Plain { operations: 50, ..Plain::default() }).unwrap();
        [1, 2].into_iter().for_each(|member| cluster.kill(member).unwrap());
        let client = cluster.client(0).unwrap();
        eventually("the leader is forgotten", || {
            (cluster.block_on(client.status()).unwrap().leader == 0).then_some(())
        });
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("backup.db");
        fails(&save_output(&cluster, &path, &[]), 4, &["no leader", "--allow-unhealthy"]);
        assert!(entries(dir.path()).is_empty());
        let saved = lifeboat_json(save_args(&cluster, 0, &path, &["--allow-unhealthy"]));
        assert!(saved["warnings"].to_string().contains("no leader"), "{saved}");
        assert_eq!(saved["revision"], model.revision);
    }
}

/// Not even a dangling link is written through.
#[test]
fn an_existing_file_is_refused_and_untouched() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let cluster = ClusterBuilder::new(EtcdVersion::V3_6).unsafe_no_fsync().start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (path, link) = (dir.path().join("backup.db"), dir.path().join("link.db"));
    fs_err::write(&path, "yesterday's backup").unwrap();
    std::os::unix::fs::symlink(dir.path().join("elsewhere"), &link).unwrap();
    for path in [&path, &link] {
        fails(
            &save_output(&cluster, path, &["--allow-unhealthy"]),
            4,
            &["exists", "choose another file name"],
        );
    }
    assert_eq!(fs_err::read_to_string(&path).unwrap(), "yesterday's backup");
    assert_eq!(entries(dir.path()).len(), 2);
}

/// The message helps an operator whose cluster is down, and no file is left that could be taken for a backup.
#[test]
fn a_member_that_cannot_be_reached_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("backup.db").display().to_string();
    // Nobody listens on port 1.
    for args in [["save", "http://127.0.0.1:1", &path], ["save", "https://127.0.0.1:1", &path]] {
        fails(&lifeboat(args), 1, &[args[1], "Connection refused", "check that etcd runs", "another member"]);
    }
    assert!(entries(dir.path()).is_empty());
}
