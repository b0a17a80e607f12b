//! A restore can be rolled back at any moment before the restored etcd starts, and not after.

use std::thread;
use std::time::{Duration, Instant};

use lab::machines::{Layout, Topology};
use lifeboat_recovery::journal::Event;

use crate::Scenario;
use crate::harness::Harness;
use crate::interrupted::{journal, output, resume_or_start, run_until};

pub const SCENARIOS: &[Scenario] =
    &[("a_restore_is_rolled_back_at_every_step", Topology::Full, Layout::Systemd, rolled_back_at_every_step)];

pub const STATIC_PODS: &[Scenario] = &[(
    "a_restore_is_rolled_back_at_every_step",
    Topology::Full,
    Layout::StaticPods,
    rolled_back_at_every_step,
)];

/// The state that a rollback must bring back.
#[derive(Debug, PartialEq)]
struct Before {
    dbs: Vec<String>,
    fences: Vec<String>,
    running: Vec<String>,
}

const FENCES: &str =
    "ls /etc/systemd/system/*.d/00-lifeboat-fence.conf /etc/kubernetes/lifeboat-fenced/* 2>/dev/null || :";

fn state(harness: &Harness) -> Before {
    let machines = harness.etcd_machines();
    let ask = |script: &str| machines.iter().map(|machine| harness.sh(machine, script)).collect();
    Before {
        dbs: ask("sha256sum < /var/lib/etcd/member/snap/db"),
        fences: ask(FENCES),
        running: ask(match harness.lab.blueprint().layout {
            Layout::Systemd => {
                "for p in kube-apiserver kube-scheduler; do pgrep -x $p >/dev/null && echo $p; done || :"
            }
            // Without etcd they end, and the kubelet starts them after longer and longer pauses.
            Layout::StaticPods => "ls /etc/kubernetes/manifests",
        }),
    }
}

/// Runs until the journal has the begin, or the end, of this step, and kills it; false if there is no such step.
fn kill_at(harness: &Harness, step: u32, done: bool) -> bool {
    let is_there = || {
        let entries = journal(harness);
        // Until the new operation has its journal, the newest one is that of an operation before it.
        if entries.last().is_some_and(|entry| matches!(entry.event, Event::Ended { .. })) {
            return false;
        }
        let start =
            entries.iter().rposition(|entry| matches!(entry.event, Event::Started { .. })).unwrap_or(0);
        entries.iter().skip(start).any(|entry| match entry.event {
            Event::Begin { step: begun, .. } => !done && begun == step,
            Event::Done { step: ended, .. } => done && ended == step,
            _ => false,
        })
    };
    run_until(resume_or_start(harness), is_there).is_none()
}

/// The number of the step that starts the restored etcd.
fn start_of_etcd(harness: &Harness) -> u32 {
    let run = harness.lifeboat(&["recover", "plan", "-o", "json"]).expect(3);
    let plan: serde_json::Value = serde_json::from_str(&run.stdout).expect("a plan");
    let steps = plan["steps"].as_array().expect("steps");
    let start = steps.iter().find(|step| step["irreversible"] == true).expect("a step without a way back");
    u32::try_from(start["number"].as_u64().expect("its number")).expect("a small number")
}

fn rolled_back_at_every_step(harness: &Harness) {
    harness.snapshot();
    for machine in harness.etcd_machines() {
        harness.lab.damage_etcd(&machine).expect("damage its db");
    }
    harness.wait_for_any_cause(&["etcd.quorum-lost"]);
    let before = state(harness);
    let start = start_of_etcd(harness);
    for step in 1..start {
        assert!(kill_at(harness, step, step % 2 == 0), "it ended before step {step}\n{}", output(harness));
        if step == start - 1 {
            // Abandoned, and rolled back nevertheless.
            let run = harness.lifeboat(&["recover", "abandon"]).expect(0);
            assert!(run.stdout.contains("lifeboat recover rollback"), "{}", run.output());
            for machine in harness.etcd_machines() {
                assert_eq!(harness.sh(&machine, "find /var/lib/lifeboat -name state.db"), "", "{machine}");
            }
        }
        if step % 3 == 0 {
            // A rollback is killed too, and continues; the operation cannot be resumed meanwhile.
            let moment = Instant::now() + Duration::from_millis(1200);
            let killed =
                run_until(harness.start(&["recover", "rollback", "--yes"]), || Instant::now() >= moment);
            if killed.is_none()
                && journal(harness).iter().any(|e| matches!(e.event, Event::RollingBack { .. }))
            {
                harness.lifeboat(&["recover", "resume", "--yes"]).expect(4);
            }
        }
        let ended = |event: &Event| matches!(event, Event::Ended { how } if how == "rolled back");
        if !journal(harness).iter().any(|entry| ended(&entry.event)) {
            let run = harness.lifeboat(&["recover", "rollback", "--yes"]).expect(0);
            assert!(run.stdout.contains("Rolled back"), "{}", run.output());
        }
        harness.eventually("all is as it was", || match state(harness) {
            now if now == before => Ok(()),
            now => Err(format!("after step {step}: {now:?}, was {before:?}")),
        });
        for machine in harness.etcd_machines() {
            assert_eq!(harness.sh(&machine, "ls -A /var/lib/lifeboat"), "", "something is left on {machine}");
        }
    }
    let logged = harness.sh("m2", "journalctl -q -t lifeboat --no-pager");
    assert!(logged.contains(": Stop and fence ") && logged.contains("rollback of step"), "{logged}");

    assert!(kill_at(harness, start, true), "it ended before etcd started\n{}", output(harness));
    let refused = harness.lifeboat(&["recover", "rollback", "--yes"]).expect(4);
    assert!(refused.stderr.contains("cannot be rolled back"), "{}", refused.output());
    thread::sleep(Duration::from_millis(200));
    harness.lifeboat(&["recover", "resume", "--yes"]).expect(0);
    harness.assert_healthy();
}
