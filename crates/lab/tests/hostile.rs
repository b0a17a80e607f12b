//! `lifeboat init` against a hostile machine: a real sshd that answers every command as an attacker would.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;

use base64::Engine;
use fs_err as fs;
use lab::peers::Unavailable;
use lab::sshd::Sshd;
use lifeboat_recovery::discover::{Request, discover};
use lifeboat_recovery::inventory::Ssh;
use tempfile::TempDir;

/// Answers as `host_scan.sh` does, and with `kubeconfig` for every file that is requested.
const ANSWERS: &str = r#"#!/bin/sh
case $SSH_ORIGINAL_COMMAND in
*"sh -s"*)
    case $(cat) in
    *"kubeconfig \$file"*) cat DIR/survey ;;
    esac ;;
*admin.conf*) cat DIR/kubeconfig ;;
*"id -u"*) echo 0 ;;
esac
exit 0
"#;

const SURVEY: &str = "\
hostname \u{1b}]52;c;aWQ=\u{7}evil
machine-id 5d3f1c0a9b7e4d2f8a6c1e0b3d5f7a91
address 127.0.0.1
process 1
argument kube-apiserver
argument --secure-port=9
argument --etcd-servers=https://local:2379,https://-oProxyCommand=touch${IFS}PWNED:2379,https://localhost:2379,https://[::1]:2379
directory /
kubeconfig /etc/kubernetes/admin.conf
";

/// A hostile machine, and the directory of its answers.
struct HostileMachine {
    sshd: Sshd,
    dir: TempDir,
}

impl HostileMachine {
    fn start() -> Result<Self, Unavailable> {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("answer");
        fs::write(&program, ANSWERS.replace("DIR", &dir.path().display().to_string())).unwrap();
        fs::set_permissions(&program, Permissions::from_mode(0o700)).unwrap();
        Ok(Self { sshd: Sshd::start_with(&format!("ForceCommand {}", program.display()))?, dir })
    }

    /// Runs `init` with these answers; returns the result, and the machines it has looked at.
    async fn init(&self, survey: &str, kubeconfig: &str) -> (String, Vec<String>) {
        fs::write(self.dir.path().join("survey"), survey).unwrap();
        fs::write(self.dir.path().join("kubeconfig"), kubeconfig).unwrap();
        let seen = Mutex::new(Vec::new());
        let watch = |what: &str| seen.lock().unwrap().push(what.to_owned());
        let request = Request {
            from: vec!["machine".into()],
            ssh: Ssh { user: None, config: Some(self.sshd.ssh_config().unwrap()) },
            cluster: "prod".into(),
            cloud: None,
            watch: &watch,
        };
        let why = discover(request).await.expect_err("no cluster is there").to_string();
        let looked = seen.into_inner().unwrap().into_iter().filter(|what| what.starts_with("looking at"));
        (why, looked.collect())
    }

    /// The files in the machine's directory other than its answers.
    fn left(&self) -> Vec<String> {
        let names = fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let names = names.map(|name| name.into_string().unwrap());
        names.filter(|name| !["answer", "survey", "kubeconfig"].contains(&name.as_str())).collect()
    }
}

fn kubeconfig(user: &str, cluster: &str) -> String {
    format!(
        "kind: Config\ncurrent-context: c\ncontexts:\n- {{name: c, context: {{cluster: k, user: u}}}}\nclusters:\n\
         - {{name: k, cluster: {{server: 'https://127.0.0.1:9'{cluster}}}}}\nusers:\n- {{name: u, user: {{{user}}}}}\n"
    )
}

/// A valid CA, so that nothing else is wrong with a kubeconfig.
fn authority() -> String {
    rcgen::generate_simple_self_signed(vec!["k".into()]).unwrap().cert.pem()
}

#[tokio::test]
async fn a_kubeconfig_from_a_machine_runs_and_reads_nothing_here() {
    let machine = lab::or_skip!(HostileMachine::start());
    let mark = machine.dir.path().join("pwned").display().to_string();
    let secret = machine.dir.path().join("survey").display().to_string();
    let exec = format!(
        "exec: {{apiVersion: client.authentication.k8s.io/v1, command: touch, args: ['{mark}'], interactiveMode: Never}}"
    );
    let ca = base64::engine::general_purpose::STANDARD.encode(authority());
    let ca = format!(", certificate-authority-data: {ca}");
    for (user, cluster, field) in [
        (exec, ca.clone(), "user.exec"),
        (
            format!("tokenFile: '{secret}'"),
            format!("{ca}, insecure-skip-tls-verify: true"),
            "insecure-skip-tls-verify",
        ),
        (format!("tokenFile: '{secret}'"), ca.clone(), "user.tokenFile"),
        ("token: x".into(), format!("{ca}, proxy-url: 'http://127.0.0.1:9'"), "cluster.proxy-url"),
        (
            format!("auth-provider: {{name: gcp, config: {{cmd-path: touch, cmd-args: '{mark}'}}}}"),
            ca.clone(),
            "user.auth-provider",
        ),
    ] {
        let (why, _) = machine.init(SURVEY, &kubeconfig(&user, &cluster)).await;
        assert!(why.contains(field) && why.contains("is not accepted from a machine"), "{why}");
    }
    assert_eq!(machine.left(), Vec::<String>::new());
}

#[tokio::test]
async fn addresses_from_a_machine_do_not_lead_back_here() {
    let machine = lab::or_skip!(HostileMachine::start());
    let (why, looked) = machine.init(SURVEY, "").await;
    assert_eq!(looked, ["looking at machine"], "{why}");
    assert_eq!(machine.left(), Vec::<String>::new());
    // With `local` as its hostname, address and destination.
    let survey = SURVEY
        .replace("127.0.0.1", "local")
        .replace("https://local:2379", "https://LOCAL:2379,http://0:2379,https://127.1:2379");
    assert_eq!(machine.init(&survey, "").await.1, ["looking at machine"]);
}
