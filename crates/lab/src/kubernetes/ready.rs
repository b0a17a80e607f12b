//! Waits until the cluster serves.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::machines::topology::{Blueprint, Role, WEB_PORT};
use crate::machines::{Lab, network};
use crate::process;

/// A new cluster on a busy host can take a minute.
const LIMIT: Duration = Duration::from_secs(180);
const TICK: Duration = Duration::from_millis(300);

/// Retries until it succeeds, or returns the last error after `limit`.
pub(super) fn retry(what: &str, limit: Duration, mut attempt: impl FnMut() -> Result<()>) -> Result<()> {
    let deadline = Instant::now() + limit;
    loop {
        match attempt() {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() >= deadline => {
                return Err(error).with_context(|| format!("{what}: not ready within {limit:?}"));
            }
            Err(_) => thread::sleep(TICK),
        }
    }
}

fn kubectl(lab: &Lab, arguments: &[&str]) -> Result<String> {
    process::run_ok(lab.kubectl().arg("--request-timeout=10s").args(arguments), Duration::from_secs(30))
}

/// Waits until every apiserver is ready.
pub(crate) fn apiservers(lab: &Lab) -> Result<()> {
    for master in lab.blueprint().with_role(Role::Master) {
        let server = format!("--server={}", Blueprint::api_url(master));
        retry(&format!("apiserver of {}", master.name), LIMIT, || {
            kubectl(lab, &[&server, "get", "--raw", "/readyz"]).map(drop)
        })?;
    }
    Ok(())
}

/// The state of each apiserver and of the nodes, one line each, or the error.
pub(crate) fn summary(lab: &Lab) -> Vec<(String, String)> {
    let ask = |arguments: &[&str]| {
        let mut command = lab.kubectl();
        command.arg("--request-timeout=3s").args(arguments);
        process::run_ok(&mut command, Duration::from_secs(10))
            .map_or_else(|error| format!("{error:#}"), |text| text.trim().to_owned())
    };
    let masters = lab.blueprint().with_role(Role::Master);
    let mut lines: Vec<(String, String)> = masters
        .map(|master| {
            let server = format!("--server={}", Blueprint::api_url(master));
            (format!("apiserver of {}", master.name), ask(&[&server, "get", "--raw", "/readyz"]))
        })
        .collect();
    let columns =
        r#"jsonpath={range .items[*]}{.metadata.name}={.status.conditions[?(@.type=="Ready")].status} {end}"#;
    lines.push(("nodes Ready".into(), ask(&["get", "nodes", "--output", columns])));
    lines
}

/// Waits until every node is Ready.
pub(crate) fn nodes(lab: &Lab) -> Result<()> {
    let blueprint = lab.blueprint();
    let nodes = blueprint.machines.iter().filter(|machine| blueprint.is_kubernetes_node(machine));
    let names: Vec<String> = nodes.map(|machine| format!("node/{}", machine.name)).collect();
    if names.is_empty() {
        return Ok(());
    }
    let mut arguments = vec!["wait", "--for=condition=Ready", "--timeout=5s"];
    arguments.extend(names.iter().map(String::as_str));
    retry("nodes Ready", LIMIT, || kubectl(lab, &arguments).map(drop))
}

/// Waits until CoreDNS has all its replicas.
pub(crate) fn coredns(lab: &Lab) -> Result<()> {
    let arguments = ["--namespace=kube-system", "rollout", "status", "deployment/coredns", "--timeout=8s"];
    retry("CoreDNS available", LIMIT, || kubectl(lab, &arguments).map(drop))
}

/// Waits until the workload answers through its Service on every node.
pub(crate) fn web(lab: &Lab) -> Result<()> {
    for node in lab.blueprint().with_role(Role::Node) {
        let address = SocketAddr::from((node.ip, WEB_PORT));
        retry(&format!("workload through {}", node.name), LIMIT, || network::inside(|| get(address))?)?;
    }
    Ok(())
}

fn get(address: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.lines().next().unwrap_or_default();
    ensure!(status.contains(" 200 "), "{address} answers {status}");
    Ok(())
}
