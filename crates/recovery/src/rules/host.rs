//! Machines: logins, machine ids, clocks, disks and fences.

use std::path::Path;

use crate::facts::{DataDir, Disk, Fact, HostFacts, Login};
use crate::finding::{Evidence, FindingId, Remedy, Severity, listed};
use crate::inventory::{HostSpec, Service};

use super::facts_view::{FactsView, seen_in};
use super::symptom::Symptom;

/// etcd makes its next WAL file this big before it writes on: a disk with less stops it.
const WAL_FILE_BYTES: u64 = 64_000_000;
/// A file system with fewer takes no new files soon.
const FEWEST_INODES: u64 = 100;
/// Seconds a clock may be off before people are confused.
const SKEW_WARNING: f64 = 5.0;
/// Seconds a clock may be off before leases and fresh certificates are misjudged.
const SKEW_ERROR: f64 = 60.0;

pub(super) fn evaluate(view: &FactsView<'_>) -> Vec<Symptom> {
    let mut found = Vec::new();
    for (host, spec, facts) in view.hosts() {
        found.extend(login(view, host, &spec.address, facts));
        found.extend(wrong_machine(view, host));
        let Some(facts) = view.host(host) else { continue };
        found.extend(no_machine_id(host, spec, facts));
        found.extend(architecture(view, host, facts));
        found.extend(full(host, facts));
        found.extend(read_only(host, facts));
        found.extend(fenced(view, host, facts));
        found.extend(reset(view, host, facts));
        found.extend(disabled(view, host, facts));
        found.extend(leftovers(host, facts));
    }
    found.extend(clocks(view));
    found
}

fn login(view: &FactsView<'_>, host: &str, address: &str, facts: &HostFacts) -> Option<Symptom> {
    let evidence = |why: &str| [seen_in(&facts.login, format!("{host}: {why}"))];
    match facts.login.get()? {
        Login::Ok => None,
        Login::Unreachable(why) => {
            let symptom = Symptom::new(FindingId::HostUnreachable)
                .on(host)
                .shown_by(evidence(why))
                .shown_by(seen_at_work(view, host));
            Some(match view.answers(host) {
                true => symptom
                    .summary(format!("{host} cannot be reached over SSH only: what runs on it answers"))
                    .manual(
                        "start sshd on {who} from its console, or open its port (`systemctl status sshd`)",
                    ),
                // Something there refuses: a machine that is off does not.
                false if is_refusal(why) => symptom
                    .summary(format!("{host} refuses SSH: a machine is up at its address, without sshd"))
                    .manual(
                        "start sshd on {who} from its console, and see there that no other machine has its address",
                    ),
                false => symptom
                    .manual("check the console of {who}: is it powered on, and on the network with its address?"),
            })
        }
        Login::HostKeyChanged(why) => {
            Some(Symptom::new(FindingId::HostKeyChanged).on(host).shown_by(evidence(why)).manual(format!(
                "check on {host}'s console that its host key was really renewed; only then `ssh-keygen -R \
                     {address}` and log in once by hand"
            )))
        }
        Login::Denied(why) => {
            let user = view.inventory().ssh.user.as_deref().unwrap_or("the user of ssh_config");
            Some(
                Symptom::new(FindingId::HostDenied)
                    .on(host)
                    .shown_by(evidence(why))
                    .shown_by(seen_at_work(view, host))
                    .manual(format!(
                        "allow {user} to log in to {{who}} with a key and use passwordless sudo"
                    )),
            )
        }
    }
}

fn is_refusal(why: &str) -> bool {
    why.contains("Connection refused")
}

/// What answers on a machine that cannot be logged in to.
fn seen_at_work(view: &FactsView<'_>, host: &str) -> Vec<Evidence> {
    let members = view.inventory().etcd.members.iter().filter(|(_, spec)| spec.host == host);
    let members = members.filter_map(|(name, _)| {
        let status = &view.facts.members.get(name)?.status;
        status.get().map(|_| seen_in(status, format!("{host}: etcd member {name} answers")))
    });
    let api = view.facts.control_plane.get(host).filter(|_| view.api_answers(host));
    let api = api.map(|facts| seen_in(&facts.readyz, format!("{host}: its API server is ready")));
    let nodes = &view.facts.kubernetes.nodes;
    let node = view.node_is_heard(host).then(|| seen_in(nodes, format!("{host}: its node is Ready")));
    members.chain(api).chain(node).collect()
}

/// A machine that has none of its units and none of its data: it was reinstalled, or its disk replaced.
fn reset(view: &FactsView<'_>, host: &str, facts: &HostFacts) -> Option<Symptom> {
    let services = view.inventory().services_on(host);
    let is_gone = |service: &&Service| {
        view.service(host, service).is_some_and(|state| {
            let is_unit = matches!(service, Service::Unit(_));
            state.is_undefined(service) && (is_unit || !state.is_running())
        })
    };
    let members = || view.inventory().etcd.members.iter().filter(|(_, spec)| spec.host == host);
    let dirs: Vec<(&std::path::PathBuf, &Fact<DataDir>)> = members()
        .filter_map(|(name, spec)| Some((&spec.data_dir, &view.facts.members.get(name)?.data_dir)))
        .collect();
    let no_data = dirs.iter().all(|(_, dir)| dir.get() == Some(&DataDir::Absent));
    // One unit that is missing may be called otherwise.
    if services.len() + dirs.len() < 2 || !no_data || !services.iter().all(|service| is_gone(&service)) {
        return None;
    }
    let missing: Vec<String> = services.iter().map(Service::key).collect();
    let data =
        dirs.iter().map(|(path, fact)| seen_in(fact, format!("{host}: {} is missing", path.display())));
    let mut what = missing.clone();
    what.extend(dirs.iter().map(|(path, _)| format!("the data in {}", path.display())));
    let symptom = Symptom::new(FindingId::HostReset)
        .on(host)
        .summary(format!("{host} has lost its units and data: {} are missing", listed(&what)))
        .shown_by([seen_in(&facts.services, format!("{host}: there is no {}", listed(&missing)))])
        .shown_by(data)
        .manual(format!(
            "rebuild {host}: install {} with their configuration and PKI again (from a backup of /etc/kubernetes and the \
             units, or with what installed the cluster), then `lifeboat recover`: an etcd member gets its data from the \
             others",
            listed(&missing)
        ));
    Some(services.iter().fold(symptom, |symptom, service| symptom.with_service(host, service)))
}

/// Units that run now and that nothing starts at the next boot.
fn disabled(view: &FactsView<'_>, host: &str, facts: &HostFacts) -> Option<Symptom> {
    let services = view.inventory().services_on(host);
    let units: Vec<&Service> = services
        .iter()
        .filter(|service| matches!(service, Service::Unit(_)))
        .filter(|service| {
            view.service(host, service)
                .is_some_and(|state| state.is_running() && !state.enabled && !state.fenced)
        })
        .collect();
    if units.is_empty() {
        return None;
    }
    let names: Vec<String> = units.iter().map(|service| service.label().to_owned()).collect();
    let remedy =
        |service: &&Service| Remedy::EnableService { host: host.into(), service: (*service).clone() };
    Some(
        Symptom::new(FindingId::ServiceDisabled)
            .on(host)
            .summary(format!(
                "{} on {host} is not enabled: it does not start at the next boot",
                listed(&names)
            ))
            .shown_by([seen_in(
                &facts.services,
                format!("{host}: {} runs and is not enabled", listed(&names)),
            )])
            .remedies(units.iter().map(remedy)),
    )
}

fn wrong_machine(view: &FactsView<'_>, host: &str) -> Option<Symptom> {
    let found = view.wrong_machine(host)?;
    let expected = view.inventory().hosts.get(host)?.machine_id.as_ref()?;
    let id = found.get()?;
    Some(
        Symptom::new(FindingId::HostWrongMachine)
            .on(host)
            .shown_by([seen_in(found, format!("machine id is {id}, {host}'s is {expected}"))])
            .manual(format!(
                "find out which machine answers at {host}'s address; if {host} was really reinstalled, write its new \
                 machineId into the inventory"
            )),
    )
}

/// Without the id another machine at the address is not noticed, and is changed in its place.
fn no_machine_id(host: &str, spec: &HostSpec, facts: &HostFacts) -> Option<Symptom> {
    let id = facts.machine_id.get().filter(|_| spec.machine_id.is_none())?;
    Some(
        Symptom::new(FindingId::HostNoMachineId)
            .on(host)
            .shown_by([seen_in(&facts.machine_id, format!("{host}: machine id is {id}"))])
            .manual(
                "check that the right machine answers for {who}, then add what `cat /etc/machine-id` prints there to the \
                 inventory, as machineId of the host",
            ),
    )
}

/// Data dirs are read and restored by this binary on their machines.
fn architecture(view: &FactsView<'_>, host: &str, facts: &HostFacts) -> Option<Symptom> {
    let (ours, fact) = (&view.facts.platform, facts.platform.as_ref()?);
    let theirs = fact.get()?;
    let has_member = view.inventory().etcd.members.values().any(|member| member.host == host);
    (has_member && !ours.is_empty() && ours != theirs).then(|| {
        Symptom::new(FindingId::HostArchitecture)
            .on(host)
            .shown_by([seen_in(fact, format!("{host} is {theirs}, this binary is built for {ours}"))])
            .manual(format!("use a Lifeboat binary for {theirs}, on a machine that runs it"))
    })
}

fn full(host: &str, facts: &HostFacts) -> Option<Symptom> {
    let no_bytes = |disk: &Disk| disk.available < WAL_FILE_BYTES.min(disk.size / 20);
    let no_inodes = |disk: &Disk| disk.free_inodes.is_some_and(|free| free < FEWEST_INODES);
    let is_full = |disk: &Disk| !disk.read_only && (no_bytes(disk) || no_inodes(disk));
    let (mounts, evidence) = disks(host, facts, is_full, |disk| match disk.free_inodes {
        Some(free) if no_inodes(disk) => format!("{free} inodes left"),
        _ => format!("{} MB of {} MB left", disk.available / 1_000_000, disk.size / 1_000_000),
    });
    (!mounts.is_empty()).then(|| {
        Symptom::new(FindingId::HostDiskFull)
            .on(host)
            .summary(format!("{host}'s disk is full: {}", listed(&mounts)))
            .shown_by(evidence)
            .manual(format!("free up space on {host} in {}; Lifeboat deletes nothing", listed(&mounts)))
    })
}

fn read_only(host: &str, facts: &HostFacts) -> Option<Symptom> {
    let (mounts, evidence) = disks(host, facts, |disk| disk.read_only, |_| "mounted read-only".into());
    (!mounts.is_empty()).then(|| {
        Symptom::new(FindingId::HostDiskReadOnly)
            .on(host)
            .summary(format!("{host}'s disk is read-only: {}", listed(&mounts)))
            .shown_by(evidence)
            .manual(format!(
                "read `dmesg` on {host} for disk errors, repair {}, and mount it writable",
                listed(&mounts)
            ))
    })
}

fn disks(
    host: &str,
    facts: &HostFacts,
    is_bad: impl Fn(&Disk) -> bool,
    say: impl Fn(&Disk) -> String,
) -> (Vec<String>, Vec<Evidence>) {
    let all = facts.disks.get().into_iter().flatten();
    let bad: Vec<(&Path, &Disk)> =
        all.filter(|(_, disk)| is_bad(disk)).map(|(mount, disk)| (mount.as_path(), disk)).collect();
    let mounts = bad.iter().map(|(mount, _)| mount.display().to_string()).collect();
    let evidence = bad
        .iter()
        .map(|(mount, disk)| seen_in(&facts.disks, format!("{host}: {}: {}", mount.display(), say(disk))))
        .collect();
    (mounts, evidence)
}

fn fenced(view: &FactsView<'_>, host: &str, facts: &HostFacts) -> Option<Symptom> {
    let services = view.inventory().services_on(host);
    let held: Vec<&Service> = services
        .iter()
        .filter(|service| view.service(host, service).is_some_and(|state| state.fenced))
        .collect();
    let names: Vec<String> = held.iter().map(|service| service.label().to_owned()).collect();
    (!held.is_empty()).then(|| {
        let seen = seen_in(&facts.services, format!("{host}: fenced by Lifeboat: {}", listed(&names)));
        let back = |service: &&&Service| {
            let in_place = view.service(host, service).is_some_and(|state| state.enabled);
            in_place && matches!(service, Service::StaticPod(_))
        };
        let written_back = held.iter().filter(back).map(|service| {
            seen_in(&facts.services, format!("{host}: {} is in place again beside its fenced version", service.key()))
        });
        let symptom = Symptom::new(FindingId::ServiceFenced)
            .on(host)
            .summary(format!("Fenced by an unfinished recovery on {host}: {}", listed(&names)))
            .shown_by([seen])
            .shown_by(written_back)
            .manual(
                "continue the interrupted recovery: `lifeboat recover resume`; if it was or will be abandoned \
                 (`lifeboat recover abandon`), release its fences by hand (`lifeboat explain service.fenced`)",
            );
        held.iter().fold(symptom, |symptom, service| symptom.with_service(host, service))
    })
}

/// State that was sent to a machine and that no operation uses: while one holds the lock, it may need it.
fn leftovers(host: &str, facts: &HostFacts) -> Option<Symptom> {
    let left = &facts.leftovers;
    if left.locked || left.sent.is_empty() {
        return None;
    }
    let seen =
        |what: &str, path: &Path| seen_in(&facts.services, format!("{host}: {} {what}", path.display()));
    let sent = left.sent.iter().map(|path| seen("was sent by a recovery", path));
    let aside = left.aside.iter().map(|path| seen("was moved aside; it is never removed", path));
    let paths: Vec<String> = left.sent.iter().map(|path| path.display().to_string()).collect();
    Some(
        Symptom::new(FindingId::HostLeftovers)
            .on(host)
            .shown_by(sent)
            .shown_by(aside)
            .manual(format!(
                "`lifeboat recover`, run where the operation was, removes what its ended operations left; where that is gone: \
                 ssh {host} rm -r {}",
                paths.join(" ")
            )),
    )
}

fn clocks(view: &FactsView<'_>) -> Vec<Symptom> {
    let off: Vec<(&String, &HostFacts, f64)> = view
        .hosts()
        .filter_map(|(host, _, _)| {
            let facts = view.host(host)?;
            let offset = *facts.clock_offset.get()?;
            (offset.abs() > SKEW_WARNING).then_some((host, facts, offset))
        })
        .collect();
    let ours = ours_is_off(view, &off);
    let symptom = |(host, facts, offset): (&String, &HostFacts, f64)| {
        let severity = if offset.abs() > SKEW_ERROR && !ours { Severity::Error } else { Severity::Warning };
        let way = if offset > 0.0 { "ahead of" } else { "behind" };
        let seen = format!("{host}'s clock is {} {way} ours", duration(offset.abs()));
        let remedy = if ours {
            "all machines agree with each other: set the clock of the machine Lifeboat runs on".to_owned()
        } else {
            "set the clock of {who}: `chronyc makestep`, or `timedatectl set-ntp true`".to_owned()
        };
        Symptom::new(FindingId::HostClockSkew)
            .severity(severity)
            .on(host)
            .summary(seen.clone())
            .shown_by([seen_in(&facts.clock_offset, seen)])
            .remedy(Remedy::Manual(remedy))
    };
    off.into_iter().map(symptom).collect()
}

/// Whether it is rather our own clock: at least three machines are asked, all are off, and by the same.
fn ours_is_off(view: &FactsView<'_>, off: &[(&String, &HostFacts, f64)]) -> bool {
    let asked = view.hosts().filter(|(host, _, _)| view.host(host).is_some()).count();
    let offsets = || off.iter().map(|(_, _, offset)| *offset);
    let spread = offsets().fold(f64::MIN, f64::max) - offsets().fold(f64::MAX, f64::min);
    off.len() >= 3 && off.len() == asked && spread <= SKEW_WARNING
}

/// Whether no machine that can be asked has a clock that is off.
pub(super) fn clocks_agree(view: &FactsView<'_>) -> bool {
    view.hosts().filter_map(|(host, _, _)| view.host(host)?.clock_offset.get()).all(|offset| {
        // A clock that cannot be read as a number agrees with nothing.
        offset.abs() <= SKEW_WARNING
    })
}

/// `3 h 5 min`, of seconds.
fn duration(seconds: f64) -> String {
    let total = seconds.round() as u64;
    match (total / 3600, total % 3600 / 60, total % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}
