//! The last errors logged by services that do not run: often only the log says why one ended.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;

use super::Hosts;
use super::access::Access;
use crate::error_text;
use crate::facts::{Fact, HostFacts, ServiceLogs};
use crate::host::Command;
use crate::inventory::{Inventory, Service};

const SCRIPT: &str = concat!(include_str!("host/pods.sh"), include_str!("logs.sh"));
/// Longest time on a machine; a journal has 2 s.
const LIMIT: Duration = Duration::from_secs(8);
/// Services of a machine that are asked about.
const MAX_SERVICES: usize = 4;
/// Lines that are kept of a service.
const MAX_LINES: usize = 3;

/// Asks the machines on which a service does not run.
pub(super) async fn collect(
    inventory: &Inventory,
    access: &Access,
    hosts: &Hosts<'_>,
    facts: &BTreeMap<String, HostFacts>,
) -> BTreeMap<String, Fact<ServiceLogs>> {
    let asked = facts.iter().map(|(name, facts)| async move {
        let services = inventory.services_on(name);
        let stopped: Vec<&Service> =
            services.iter().filter(|service| is_down(facts, service)).take(MAX_SERVICES).collect();
        // A machine that cannot be asked is a finding of its own.
        if stopped.is_empty() || hosts.trusted(inventory, name).await.is_err() {
            return None;
        }
        let source = format!("ssh {name}: logs");
        let fact = match one(inventory, access, name, &stopped).await {
            Ok(logs) => Fact::value(source, logs),
            Err(why) => Fact::unknown(source, why),
        };
        Some((name.clone(), fact))
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// Whether a service does not run. One that is fenced was stopped by Lifeboat.
fn is_down(facts: &HostFacts, service: &Service) -> bool {
    let state = facts.services.get().and_then(|services| services.get(&service.key()));
    state.is_some_and(|state| !state.fenced && !state.is_running())
}

async fn one(
    inventory: &Inventory,
    access: &Access,
    name: &str,
    services: &[&Service],
) -> Result<ServiceLogs, String> {
    let host = access.hosts.get(name).ok_or_else(|| format!("no access to {name}"))?;
    let mut arguments = vec![inventory.node_name(name).to_owned()];
    for service in services {
        let kind = if matches!(service, Service::Unit(_)) { "unit" } else { "pod" };
        arguments.extend([kind.to_owned(), service.key()]);
    }
    let output = host.run(&Command::script(SCRIPT, arguments).within(LIMIT)).await;
    Ok(read(&output.map_err(|error| error_text::of(&error))?.text(), services))
}

fn read(text: &str, services: &[&Service]) -> ServiceLogs {
    let mut logs = ServiceLogs::new();
    let lines = text.split_once("lifeboat-logs\n").map_or("", |(_, lines)| lines).lines();
    for (number, line) in lines.filter_map(|line| line.split_once('\t')) {
        let service = number.parse().ok().and_then(|number: usize| services.get(number));
        let Some(service) = service else { continue };
        let kept = logs.entry(service.key()).or_default();
        if kept.len() < MAX_LINES {
            kept.push(error_text::one_line(line));
        }
    }
    logs
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use fs_err as fs;

    use super::*;
    use crate::host::{Host, LocalHost};

    /// What the script prints where the journal holds these lines, and the kubelet's logs lie in this folder.
    async fn printed(journal: &str, pod_logs: &Path, arguments: &[&str]) -> String {
        let programs = tempfile::tempdir().unwrap();
        fs::write(programs.path().join("journal"), journal).unwrap();
        let here = programs.path().display();
        let stand_ins =
            [("systemctl", "echo InvocationID=".to_owned()), ("journalctl", format!("cat {here}/journal"))];
        for (name, script) in stand_ins {
            let path = programs.path().join(name);
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let pods = pod_logs.display();
        let script = SCRIPT.replace("pod_logs=/var/log/pods", &format!("pod_logs={pods} PATH={here}:$PATH"));
        assert_ne!(script, SCRIPT);
        let arguments = ["m1"].iter().chain(arguments).copied();
        LocalHost::new("m1").run_ok(&Command::script(&script, arguments)).await.unwrap().text()
    }

    async fn of_journal(journal: &str) -> Vec<String> {
        let service = Service::Unit("etcd.service".into());
        let text = printed(journal, Path::new("/none"), &["unit", "etcd.service"]).await;
        read(&text, &[&service]).remove("etcd.service").unwrap_or_default()
    }

    #[tokio::test]
    async fn the_last_errors_are_kept_and_else_the_last_line() {
        let etcd = r#"{"level":"info","msg":"starting"}
{"level":"error","msg":"one"}
{"level":"warn","msg":"failed to send"}
I1201 05:00:00.000000 1 state.go:541] "Failed to update"
{"level":"error","msg":"two"}
F1201 05:00:00.000000 1 server.go:1] three
{"level":"fatal","ts":"2026-12-01T05:00:01Z","msg":"discovery failed","error":"listen tcp 10.0.0.1:2380: bind: cannot assign requested address"}
etcd.service: Main process exited, code=exited, status=1/FAILURE
{"level":"error","msg":"setting up serving from embedded etcd failed.","error":"accept tcp: use of closed network connection"}
etcd.service: Failed with result 'exit-code'.
Failed to start etcd.service - etcd.
"#;
        let errors = of_journal(etcd).await;
        assert_eq!(errors.len(), 3);
        assert!(errors[0].contains("two") && errors[1].contains("three"), "{errors:?}");
        assert!(errors[2].contains("bind: cannot assign requested address"), "{errors:?}");
        let traced = of_journal(r#"{"level":"error","msg":"one","stacktrace":"go.etcd.io/etcd\n"}"#).await;
        assert_eq!(traced, [r#"{"level":"error","msg":"one"}"#]);
        assert_eq!(of_journal("Started etcd.\nStopped etcd.\n\n").await, ["Stopped etcd."]);
        let killed =
            of_journal("etcd.service: Main process exited, code=killed, status=9/KILL\nStopped etcd.\n")
                .await;
        assert_eq!(killed, ["etcd.service: Main process exited, code=killed, status=9/KILL"]);
        let older =
            of_journal("2026-12-01 05:00:00.1 C | etcdmain: listen tcp: address in use\nStopped etcd.\n")
                .await;
        assert!(older.len() == 1 && older[0].contains("address in use"), "{older:?}");
        assert!(of_journal("").await.is_empty());
        let long = format!("error: {}\tend\n", "x".repeat(5000));
        assert!(of_journal(&long.repeat(500)).await.iter().all(|line| line.len() <= 400));
    }

    #[tokio::test]
    async fn secrets_do_not_leave_the_machine() {
        let secrets = r#"error: login with password=not-to-be-printed failed
{"level":"error","msg":"auth","token":"not-to-be-printed","user":"root"}
error: Authorization: Bearer not-to-be-printed
error: get https://user:not-to-be-printed@10.0.0.1/healthz
error: flag --root-password: not-to-be-printed
error: secret: "not-to-be-printed"
"#;
        for line in secrets.lines() {
            let errors = of_journal(line).await;
            assert!(errors.len() == 1 && errors[0].contains("***"), "{errors:?}");
            assert!(!errors[0].contains("not-to-be-printed"), "{errors:?}");
        }
    }

    #[tokio::test]
    async fn the_newest_log_of_a_pod_is_read_without_the_container_runtime() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = dir.path().join("etcd.yaml");
        fs::write(&manifest, "metadata:\n  name: etcd\n  namespace: kube-system\n").unwrap();
        let logs = dir.path().join("kube-system_etcd-m1_aaaa/etcd");
        fs::create_dir_all(&logs).unwrap();
        let line = "2026-12-01T05:00:00.1Z stderr F error: verifying flags, unknown flag: --data\n";
        fs::write(logs.join("0.log"), line).unwrap();
        let other = dir.path().join("kube-system_etcd-events-m1_bbbb/etcd");
        fs::create_dir_all(&other).unwrap();
        fs::write(other.join("0.log"), "2026-12-01T05:00:00.1Z stderr F error: other\n").unwrap();
        let text = printed("", dir.path(), &["unit", "a.service", "pod", manifest.to_str().unwrap()]).await;
        assert_eq!(text, "lifeboat-logs\n1\terror: verifying flags, unknown flag: --data\n");
    }
}
