//! `diagnose`, `status`, `recover plan` and `explain` on recorded facts: what people and programs are shown.

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::{fails, lifeboat, lifeboat_ok, text};

fn facts(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../recovery/tests/facts/{case}.json"))
}

fn with_facts(verb: &str, case: &str, more: &[&str]) -> Vec<String> {
    let facts = facts(case).display().to_string();
    [verb, "--facts", &facts].iter().chain(more).map(|arg| (*arg).to_owned()).collect()
}

/// `TRYCMD=overwrite` does not reach these, since they run in a copy: `TRYCMD=dump` writes what it sees to `dump/`.
#[test]
fn transcripts_show_what_the_program_prints() {
    let dir = tempfile::tempdir().unwrap();
    let transcripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/findings");
    for entry in transcripts.read_dir().unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        fs_err::copy(&path, dir.path().join(name)).unwrap();
        // trycmd runs a file's commands in the folder beside it.
        let work = dir.path().join(name).with_extension("in");
        fs_err::create_dir(&work).unwrap();
        for case in facts("any").parent().unwrap().read_dir().unwrap() {
            let case = case.unwrap().path();
            fs_err::copy(&case, work.join(case.file_name().unwrap())).unwrap();
        }
    }
    trycmd::TestCases::new().case(dir.path().join("*.trycmd")).run();
}

#[test]
fn json_has_the_whole_tree() {
    let output = lifeboat(with_facts("diagnose", "incident", &["-o", "json"]));
    assert_eq!(output.status.code(), Some(3));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["schemaVersion"], 1);
    assert_eq!(json["healthy"], false);
    assert_eq!(json["causes"].as_array().unwrap().len(), 1);
    let cause = &json["causes"][0];
    assert_eq!(cause["id"], "nic.missing");
    assert_eq!(cause["subjects"], serde_json::json!(["e1", "m1", "m2", "m3", "n1", "nfs"]));
    assert_eq!(cause["remedies"][0]["attachNics"]["hosts"].as_array().unwrap().len(), 6);
    assert_eq!(cause["consequences"][1]["consequences"][0]["id"], "etcd.member.down");
}

#[test]
fn status_in_json_has_a_row_for_each() {
    let output = lifeboat(with_facts("status", "two-corrupt", &["-o", "json"]));
    assert_eq!(output.status.code(), Some(3));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let count = |rows: &str| json[rows].as_array().unwrap().len();
    assert_eq!([count("hosts"), count("members"), count("controlPlane"), count("nodes")], [7, 3, 3, 2]);
    assert_eq!(json["members"][1]["state"], "etcd.member.corrupt");
    assert_eq!(json["members"][0]["state"], "ok");
    assert_eq!(json["controlPlane"][0]["api"], "apiserver.not-ready");
    assert_eq!(json["worst"]["id"], "etcd.quorum-lost");
}

#[test]
fn saved_facts_are_private_readable_and_never_replaced() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let saved = dir.path().join("facts.json");
    let args = with_facts("diagnose", "healthy", &["--save-facts", saved.to_str().unwrap()]);
    assert!(lifeboat_ok(&args).contains("no problems found"));
    assert_eq!(fs_err::metadata(&saved).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs_err::read(&saved).unwrap(), fs_err::read(facts("healthy")).unwrap());
    fails(&lifeboat(&args), 4, &["facts.json exists"]);
    assert_eq!(support::entries(dir.path()), ["facts.json"]);
}

#[test]
fn an_invalid_facts_file_is_a_usage_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("facts.json");
    let run = |content: &str| {
        fs_err::write(&file, content).unwrap();
        lifeboat(["diagnose", "--facts", file.to_str().unwrap()])
    };
    fails(&run("not json"), 2, &["not a facts file"]);
    fails(&run("{}"), 2, &["not a facts file", "missing field `schemaVersion`"]);
    fails(&run("{\"schemaVersion\": 99}"), 2, &["version 99"]);
    fails(&run("{\"schemaVersion\": 1}"), 2, &["not a facts file", "missing field"]);
}

/// Machines may return anything, and facts may come from files of other people.
#[test]
fn facts_cannot_control_the_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("facts.json");
    let evil = "\u{1b}]52;c;eA==\u{7}\u{1b}[2J\u{9b}31m\u{202e}gone";
    let escaped = evil.replace('\u{1b}', "\\u001b").replace('\u{7}', "\\u0007");
    let incident = fs_err::read_to_string(facts("incident")).unwrap().replace("No route to host", &escaped);
    // Its name and what is wrong with it are shown, each in one line.
    let snapshot =
        json!({"path": format!("/backups/{evil}\n  -> best.db"), "size": 1, "error": format!("{evil}\n")});
    let no_data = with_snapshots("all-data-gone", &json!([snapshot, sound_snapshot("/backups/nightly.db")]));
    let is_unsafe =
        |character: char| (character.is_control() && character != '\n') || character == '\u{202e}';
    for (content, verb) in [
        (&incident, &["diagnose", "-v"][..]),
        (&incident, &["status"]),
        (&no_data.to_string(), &["recover", "plan"]),
    ] {
        fs_err::write(&file, content).unwrap();
        for format in ["table", "json", "yaml"] {
            let output =
                lifeboat(verb.iter().copied().chain(["--facts", file.to_str().unwrap(), "-o", format]));
            assert_eq!(output.status.code(), Some(3));
            let shown = text(&output.stdout);
            assert!(!shown.contains(is_unsafe), "{verb:?} {format}: {shown}");
            assert!(verb[0] == "status" || shown.contains("gone"), "{verb:?} {format}: {shown}");
            assert!(!shown.contains("\n  -> best.db"), "{verb:?} {format}: {shown}");
        }
    }
}

/// A recorded case with these snapshots.
fn with_snapshots(case: &str, read: &Value) -> Value {
    let mut json: Value = serde_json::from_slice(&fs_err::read(facts(case)).unwrap()).unwrap();
    json["snapshots"] = json!({"read": read, "unread": 0});
    json
}

fn sound_snapshot(path: &str) -> Value {
    json!({"path": path, "written": "2026-03-01T03:00:00Z", "size": 80_000_000, "revision": 41_000})
}

#[test]
fn recorded_facts_always_give_the_same_diagnosis_and_plan() {
    let (mut planned, mut cases) = (0, 0);
    for case in facts("any").parent().unwrap().read_dir().unwrap() {
        let case = case.unwrap().path().display().to_string();
        cases += 1;
        for verb in [&["diagnose"][..], &["recover", "plan"]] {
            let run = || lifeboat(verb.iter().copied().chain(["--facts", &case, "-o", "json"]));
            let (first, second) = (run(), run());
            assert_eq!(first, second, "{verb:?} {case}");
            planned += usize::from(verb[0] == "recover" && !first.stdout.is_empty());
        }
    }
    assert!(planned > 70, "{planned} of {cases} cases were planned");
}

/// It names machines and files that are not here, and one that is here and something else.
#[test]
fn a_plan_from_facts_needs_neither_the_cluster_nor_its_snapshots() {
    let dir = tempfile::tempdir().unwrap();
    let (file, out) = (dir.path().join("facts.json"), dir.path().join("plan.json"));
    let nightly = dir.path().join("nightly.db");
    let nightly = nightly.to_str().unwrap();
    let facts = with_snapshots("all-data-gone", &json!([sound_snapshot(nightly)]));
    fs_err::write(&file, facts.to_string()).unwrap();
    let plan = |more: &[&str]| {
        let args = ["recover", "plan", "--facts", file.to_str().unwrap(), "-o", "json"];
        lifeboat(args.iter().chain(more))
    };
    let first = plan(&["--out", out.to_str().unwrap()]);
    assert_eq!(first.status.code(), Some(3), "{}", text(&first.stderr));
    let json: Value = serde_json::from_slice(&first.stdout).unwrap();
    let chosen: Vec<&Value> =
        json["candidates"].as_array().unwrap().iter().filter(|one| one["chosen"] == true).collect();
    assert_eq!(chosen.len(), 1);
    assert_eq!(
        (&chosen[0]["source"], &chosen[0]["revision"]),
        (&json!({"snapshot": nightly}), &json!(41_000))
    );
    assert_eq!(json.get("unexaminedSnapshots"), None);
    assert!(json["steps"].to_string().contains("restoreMember"));
    let written: Value = serde_json::from_slice(&fs_err::read(&out).unwrap()).unwrap();
    assert_eq!(written["steps"], json["steps"]);

    fs_err::write(nightly, "not a snapshot").unwrap();
    assert_eq!(plan(&[]).stdout, first.stdout);
    assert_eq!(plan(&["--source", nightly]).status.code(), Some(3));
    // What the facts do not have is not looked for.
    let other = dir.path().join("other.db");
    fs_err::copy(lab::fixture::kubernetes_snapshot(), &other).unwrap();
    fails(&plan(&["--source", other.to_str().unwrap()]), 2, &["other.db", "do not include this snapshot"]);
    fails(&plan(&["--source", "member:m9"]), 2, &["no etcd member m9"]);
    fails(&plan(&["--out", file.to_str().unwrap()]), 2, &["cannot be both the plan and the facts"]);
}

#[test]
fn a_plan_from_facts_without_snapshots_says_so() {
    let run = |case: &str, format: &str| {
        lifeboat(["recover", "plan", "--facts", facts(case).to_str().unwrap(), "-o", format])
    };
    let shown = text(&run("two-corrupt", "table").stdout);
    assert!(shown.contains("\nWarning: snapshots were not examined"), "{shown}");
    let json: Value = serde_json::from_slice(&run("two-corrupt", "json").stdout).unwrap();
    assert!(json["unexaminedSnapshots"].as_str().unwrap().contains("--save-facts"), "{json}");
    fails(&run("all-data-gone", "json"), 4, &["no state to restore from", "snapshots were not examined"]);
    let nothing_to_restore = text(&run("member-stopped", "table").stdout);
    assert!(!nothing_to_restore.contains("Warning"), "{nothing_to_restore}");
}

/// Whether ssh, which examines machines, is missing.
fn no_ssh() -> bool {
    let missing = std::process::Command::new("ssh").arg("-V").output().is_err();
    if missing {
        eprintln!("skipped: no ssh on this machine");
        assert!(std::env::var_os("CI").is_none(), "CI has ssh");
    }
    missing
}

/// An inventory of a cluster that does not answer: every port is a closed local one.
fn inventory_of_nothing(dir: &Path, more: &str) -> PathBuf {
    let host = |name: &str, last: u8| {
        format!("  {name}:\n    address: 127.0.0.{last}\n    ssh: ssh://root@127.0.0.{last}:1\n")
    };
    let member = |name: &str, last: u8| {
        format!(
            "    {name}:\n      host: {name}\n      clientUrl: http://127.0.0.{last}:1\n      peerUrl: \
             http://127.0.0.{last}:2\n      dataDir: /var/lib/etcd\n      service: {{unit: etcd.service}}\n"
        )
    };
    let text = format!(
        "version: 1\ncluster: nowhere\nhosts:\n{}{}{}etcd:\n  members:\n{}{}{}kubernetes:\n  kubeconfig: \
         kubeconfig\n  controlPlane:\n    m1:\n      url: https://127.0.0.2:1\n      apiserver: {{unit: \
         kube-apiserver.service}}\n      controllerManager: {{unit: kube-controller-manager.service}}\n      \
         scheduler: {{unit: kube-scheduler.service}}\n{more}",
        host("m1", 2),
        host("m2", 3),
        host("m3", 4),
        member("m1", 2),
        member("m2", 3),
        member("m3", 4)
    );
    fs_err::write(dir.join("kubeconfig"), KUBECONFIG).unwrap();
    let path = dir.join("lifeboat.yaml");
    fs_err::write(&path, text).unwrap();
    path
}

const KUBECONFIG: &str = "\
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: 'https://127.0.0.2:1'}}]
users: [{name: u, user: {token: not-to-be-printed}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
";

#[test]
fn an_unreachable_cluster_is_one_cause_and_its_saved_facts_agree() {
    if no_ssh() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let inventory = inventory_of_nothing(dir.path(), "");
    let saved = dir.path().join("facts.json");
    let path = |path: &Path| path.display().to_string();
    let log = dir.path().join("log");
    let flags = ["--inventory", &path(&inventory), "--save-facts", &path(&saved), "--log-file", &path(&log)];
    let seen = lifeboat(["diagnose", "-o", "json"].iter().chain(&flags));
    assert_eq!(seen.status.code(), Some(3), "{}", text(&seen.stderr));
    let lines = fs_err::read_to_string(&log).unwrap();
    assert!(lines.contains("lifeboat starts") && lines.contains("command failed host=\"m1\""), "{lines}");
    assert_eq!(fs_err::metadata(&log).unwrap().permissions().mode() & 0o777, 0o600);
    let json: Value = serde_json::from_slice(&seen.stdout).unwrap();
    let ids: Vec<&str> =
        json["causes"].as_array().unwrap().iter().map(|c| c["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["host.unreachable"]);
    assert_eq!(json["causes"][0]["subjects"], serde_json::json!(["m1", "m2", "m3"]));
    assert_eq!(json["unknown"], serde_json::json!([]));
    let replayed = lifeboat(["diagnose", "-o", "json", "--facts", &path(&saved)]);
    assert_eq!(text(&replayed.stdout), text(&seen.stdout));

    let planned = dir.path().join("planned.json");
    let plan = |more: &[&str]| lifeboat(["recover", "plan", "-o", "json"].iter().chain(more));
    let seen = plan(&["--inventory", &path(&inventory), "--save-facts", &path(&planned)]);
    let replayed = plan(&["--facts", &path(&planned)]);
    let json = |output: &std::process::Output| -> Value { serde_json::from_slice(&output.stdout).unwrap() };
    let (mut seen, mut replayed) = (json(&seen), json(&replayed));
    assert!(is_id(&seen["id"].take()) && is_id(&replayed["id"].take()));
    assert_eq!(replayed, seen);
    let again = plan(&["--inventory", &path(&inventory), "--save-facts", &path(&planned)]);
    fails(&again, 4, &["planned.json exists"]);
    for written in [saved, planned, log] {
        assert!(!fs_err::read_to_string(&written).unwrap().contains("not-to-be-printed"));
    }
}

fn is_id(id: &Value) -> bool {
    lifeboat_recovery::plan::is_id(id.as_str().unwrap())
}

/// A missing access key does not prevent examining the machines.
#[test]
fn a_cloud_without_its_secret_is_unknown_and_all_else_is_examined() {
    if no_ssh() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let cloud = "cloud:\n  zstack:\n    endpoint: http://127.0.0.1:1\n    accessKeyId: {env: LIFEBOAT_TEST_ID}\n    \
                 accessKeySecret: {env: LIFEBOAT_TEST_SECRET}\n    ipRanges: []\n";
    let inventory = inventory_of_nothing(dir.path(), cloud).display().to_string();
    let id = [("LIFEBOAT_TEST_ID", "id-not-to-be-printed")];
    let why = "the cloud's accessKeySecret: environment variable LIFEBOAT_TEST_SECRET is not set";
    for verb in
        [&["diagnose", "-o", "json"][..], &["recover", "plan", "-o", "json"], &["status", "-o", "json"]]
    {
        let args = verb.iter().copied().chain(["--inventory", &inventory]);
        let seen = support::lifeboat_with(args, &id);
        let (stdout, stderr) = (text(&seen.stdout), text(&seen.stderr));
        assert_eq!(seen.status.code(), Some(3), "{verb:?}: {stderr}");
        assert!(
            stderr.contains(&format!("warning: cannot query the cloud, its state is unknown: {why}")),
            "{stderr}"
        );
        assert!(stdout.contains("host.unreachable") || verb[0] == "status", "{stdout}");
        assert!(stdout.contains("cloud.unreachable") || verb[0] == "status", "{stdout}");
        assert!(!(stdout + &stderr).contains("not-to-be-printed"));
        if verb[0] == "diagnose" {
            assert!(text(&seen.stdout).contains(&format!("NICs: {why}")), "{}", text(&seen.stdout));
        }
    }
}

/// Colour is for terminals; here stdout is a pipe.
#[test]
fn colours_appear_only_if_requested() {
    let args = with_facts("diagnose", "incident", &[]);
    let plain = lifeboat(&args).stdout;
    assert!(!plain.contains(&0x1b));
    let forced = support::lifeboat_with(&args, &[("CLICOLOR_FORCE", "1")]).stdout;
    assert!(forced.contains(&0x1b));
    let refused = support::lifeboat_with(&args, &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]).stdout;
    assert_eq!(refused, plain);
}

#[test]
fn every_id_can_be_explained_and_a_wrong_one_names_the_nearest() {
    let list = lifeboat_ok(["explain"]);
    assert!(list.lines().count() > 30);
    for line in list.lines() {
        let id = line.split_whitespace().next().unwrap();
        assert!(lifeboat_ok(["explain", id]).starts_with(&format!("# {id}\n")));
    }
    fails(&lifeboat(["explain", "etcd.qorum-lost"]), 2, &["'etcd.quorum-lost'"]);
    let unlike = lifeboat(["explain", "nosuch"]);
    fails(&unlike, 2, &["lifeboat explain lists all findings"]);
    assert!(!text(&unlike.stderr).contains("similar"), "{}", text(&unlike.stderr));
    let json: Value = serde_json::from_str(&lifeboat_ok(["explain", "nic.missing", "-o", "json"])).unwrap();
    assert_eq!(json["id"], "nic.missing");
}

/// `HTTPS_PROXY` leads out of the network, not to the machines in it.
#[test]
fn proxies_in_the_environment_are_not_used_for_the_cluster() {
    if no_ssh() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let inventory = inventory_of_nothing(dir.path(), "").display().to_string();
    for (at, proxy) in ["http://127.0.0.1:9", "socks5://127.0.0.1:9", "not a url"].into_iter().enumerate() {
        let facts = dir.path().join(format!("facts-{at}.json"));
        let names = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY"];
        let args = ["diagnose", "--inventory", &inventory, "--save-facts", facts.to_str().unwrap()];
        let seen = support::lifeboat_with(args, &names.map(|name| (name, proxy)));
        assert_eq!(seen.status.code(), Some(3), "{}", text(&seen.stderr));
        let facts: Value = serde_json::from_slice(&fs_err::read(&facts).unwrap()).unwrap();
        let readyz = facts["controlPlane"]["m1"]["readyz"].to_string();
        assert!(readyz.contains("refused") && !readyz.contains("proxy"), "{proxy}: {readyz}");
    }
}
