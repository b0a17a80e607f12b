//! Machines: what one script over SSH shows of each.

mod parse;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::facts::{Fact, HostFacts, Leftovers, Login};
use crate::host::{Command, Host, HostError, Output};
use crate::inventory::{Inventory, Service};

use crate::error_text;
use parse::ScriptOutput;
pub(super) use parse::free;

/// Tells a static pod's processes from others of the same name: shell functions.
pub(crate) const PODS: &str = include_str!("host/pods.sh");
/// The script; its own head says what it prints.
const SCRIPT: &str = concat!(include_str!("host/pods.sh"), include_str!("host/look.sh"));
/// Longest time for all answers; the slowest one, of a kubelet that hangs, takes 2 s.
const ANSWERS: Duration = Duration::from_secs(6);
/// Longest time for logging in and all answers; both have limits of their own, which are closer as a rule.
const LIMIT: Duration = Duration::from_secs(13);
/// Uncertainty of a clock comparison, in seconds, above which it is repeated.
const INEXACT: f64 = 1.0;
/// Where manifests wait while they are fenced.
pub(crate) const FENCED_MANIFESTS: &str = "/etc/kubernetes/lifeboat-fenced";
/// The drop-in that fences a unit.
pub(crate) const FENCE_DROP_IN: &str = "00-lifeboat-fence.conf";

/// What is asked of a machine.
struct Questions {
    paths: Vec<String>,
    pods: Vec<Service>,
    units: Vec<String>,
    kubelet: bool,
    node: String,
}

impl Questions {
    fn new(inventory: &Inventory, name: &str) -> Self {
        let members = inventory.etcd.members.values().filter(|member| member.host == name);
        let data_dirs = members.map(|member| member.data_dir.display().to_string());
        let paths: BTreeSet<String> =
            ["/", "/var/log"].map(String::from).into_iter().chain(data_dirs).collect();
        let services: BTreeSet<Service> = inventory.services_on(name).into_iter().collect();
        let (mut pods, mut units) = (Vec::new(), Vec::new());
        for service in services {
            match service {
                Service::Unit(unit) => units.push(unit),
                pod @ Service::StaticPod(_) => pods.push(pod),
            }
        }
        let kubelet = inventory.kubernetes.nodes.contains_key(name);
        let node = inventory.node_name(name).to_owned();
        Self { paths: paths.into_iter().collect(), pods, units, kubelet, node }
    }

    fn command(&self) -> Command {
        let mut arguments: Vec<&str> =
            vec![FENCE_DROP_IN, FENCED_MANIFESTS, if self.kubelet { "yes" } else { "no" }, &self.node];
        let keys: Vec<String> = self.pods.iter().map(Service::key).collect();
        arguments.extend(self.paths.iter().map(String::as_str));
        arguments.push("--");
        for (pod, manifest) in self.pods.iter().zip(&keys) {
            arguments.extend([manifest, pod.label()]);
        }
        arguments.push("--");
        arguments.extend(self.units.iter().map(String::as_str));
        Command::script(SCRIPT, arguments).within(ANSWERS)
    }
}

/// Observes one machine.
pub async fn collect(inventory: &Inventory, name: &str, host: &dyn Host) -> HostFacts {
    let questions = Questions::new(inventory, name);
    let begin = now();
    let ran = tokio::time::timeout(LIMIT, host.run(&questions.command())).await;
    let asked = (begin, now());
    let source = |what: &str| format!("ssh {name}: {what}");
    let (login, output) = match ran {
        Ok(Ok(output)) => (Fact::value(source("login"), Login::Ok), Ok(output)),
        Ok(Err(error)) => {
            let why = error_text::of(&error);
            (login(source("login"), error), Err(why))
        }
        Err(_) => {
            let why = format!("no answer within {} s", LIMIT.as_secs());
            (Fact::value(source("login"), Login::Unreachable(why.clone())), Err(why))
        }
    };
    let text = match output.and_then(|output| understand(&output)) {
        Ok(text) => text,
        Err(why) => return nothing(&questions, login, &why, source),
    };
    let said = ScriptOutput::of(&text);
    let mut clock = said.clock().map(|clock| Offset::of(clock, asked));
    if clock.as_ref().is_ok_and(|clock| clock.inexact > INEXACT) {
        // Logging in took long, which counts on our side only. It has been done now.
        clock = ask_clock(name, host).await.or(clock);
    }
    facts(&questions, login, &said, clock, source)
}

/// Asks for nothing but the time.
async fn ask_clock(name: &str, host: &dyn Host) -> Result<Offset, String> {
    let begin = now();
    let command =
        Command::script(SCRIPT, [FENCE_DROP_IN, FENCED_MANIFESTS, "no", name, "--", "--"]).within(ANSWERS);
    let output = host.run(&command).await.map_err(|error| error_text::of(&error))?;
    let asked = (begin, now());
    ScriptOutput::of(&understand(&output)?).clock().map(|clock| Offset::of(clock, asked))
}

/// What the script printed, past whatever the shell's own start may have said.
fn understand(output: &Output) -> Result<String, String> {
    let text = String::from_utf8_lossy(&output.stdout);
    parse::body(&text).map(str::to_owned).map_err(|why| {
        let stderr = String::from_utf8_lossy(&output.stderr);
        error_text::one_line(&format!("{why}; exit code {}: {stderr}", output.code))
    })
}

fn login(source: String, error: HostError) -> Fact<Login> {
    let text = error_text::of(&error);
    match error {
        HostError::Unreachable { why, .. } => {
            Fact::value(source, Login::Unreachable(error_text::one_line(&why)))
        }
        HostError::Timeout { .. } => Fact::value(source, Login::Unreachable(text)),
        HostError::HostKeyChanged { why, .. } => {
            Fact::value(source, Login::HostKeyChanged(error_text::one_line(&why)))
        }
        HostError::Denied { why, .. } => Fact::value(source, Login::Denied(error_text::one_line(&why))),
        HostError::Failed { .. } => Fact::unknown(source, text),
    }
}

fn facts(
    questions: &Questions,
    login: Fact<Login>,
    said: &ScriptOutput<'_>,
    clock: Result<Offset, String>,
    source: impl Fn(&str) -> String,
) -> HostFacts {
    let services = said.units(&questions.units).and_then(|units| {
        let mut services: BTreeMap<_, _> = questions.units.iter().cloned().zip(units).collect();
        services.extend(questions.pods.iter().map(Service::key).zip(said.pods(questions.pods.len())?));
        Ok(services)
    });
    HostFacts {
        login,
        machine_id: known(source("/etc/machine-id"), said.machine_id()),
        boot_id: known(source("boot_id"), said.boot_id()),
        platform: Some(known(source("uname -sm"), said.platform())),
        clock_offset: known(source("date"), clock.map(|clock| clock.seconds)),
        disks: known(source("df"), said.disks(questions.paths.len())),
        services: known(source("systemctl, manifests, processes"), services),
        leftovers: said.leftovers(),
        kubelet: questions.kubelet.then(|| known(source("kubelet /healthz"), said.kubelet())),
        kubelet_api: None,
        logs: None,
    }
}

fn nothing(
    questions: &Questions,
    login: Fact<Login>,
    why: &str,
    source: impl Fn(&str) -> String,
) -> HostFacts {
    HostFacts {
        login,
        machine_id: Fact::unknown(source("/etc/machine-id"), why),
        boot_id: Fact::unknown(source("boot_id"), why),
        platform: None,
        clock_offset: Fact::unknown(source("date"), why),
        disks: Fact::unknown(source("df"), why),
        services: Fact::unknown(source("systemctl, manifests, processes"), why),
        leftovers: Leftovers::default(),
        kubelet: questions.kubelet.then(|| Fact::unknown(source("kubelet /healthz"), why)),
        kubelet_api: None,
        logs: None,
    }
}

fn known<T>(source: String, answer: Result<T, String>) -> Fact<T> {
    match answer {
        Ok(value) => Fact::value(source, value),
        Err(why) => Fact::unknown(source, why),
    }
}

/// Facts of a machine that cannot be accessed.
pub(super) fn unasked(inventory: &Inventory, name: &str) -> HostFacts {
    let why = "no access to this machine: set its address in the inventory";
    let source = |what: &str| format!("ssh {name}: {what}");
    nothing(&Questions::new(inventory, name), Fact::unknown(source("login"), why), why, source)
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// How far a machine's clock is ahead of ours.
struct Offset {
    /// As far as it is sure.
    seconds: f64,
    /// How much of the difference may be the way there and back.
    inexact: f64,
}

impl Offset {
    /// The machine read its clock when it began and when it ended, we before and after: the middles are compared, so
    /// that the time its answers took does not count. What the way there and back can explain does not count either:
    /// clocks that agree are to be told as such.
    fn of(clock: (f64, f64), asked: (f64, f64)) -> Self {
        let difference = (clock.0 + clock.1) / 2.0 - (asked.0 + asked.1) / 2.0;
        let inexact = ((asked.1 - asked.0) - (clock.1 - clock.0)).abs() / 2.0;
        let sure = (difference.abs() - inexact).max(0.0);
        Self { seconds: sure.copysign(difference), inexact }
    }
}

#[cfg(test)]
mod tests;
