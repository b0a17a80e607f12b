//! State that survives a restart of the cloud.

use std::os::unix::fs::PermissionsExt;

use super::*;
use lifeboat_recovery::provider::ProviderError;

const STATE: &str = "cloud-state.json";

/// Waits until the saved state fulfils a condition.
pub(crate) async fn wait_for_state(dir: &Path, holds: impl Fn(&Value) -> bool) {
    for _ in 0..1000 {
        let state = fs_err::read(dir.join(STATE)).unwrap();
        if holds(&serde_json::from_slice(&state).unwrap()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the state does not change as expected");
}

#[test]
fn a_restarted_cloud_keeps_its_state() {
    let (hypervisor, dir) = (FakeHypervisor::new(), tempfile::tempdir().unwrap());
    let cloud = Running::open(&hypervisor, dir.path());
    let key = cloud.credentials.access_key_secret.clone();
    let (nic, vm) = run(async {
        let client = cloud.client();
        let nic = nic_of(&client, hypervisor.vm("m1")).await.unwrap();
        cloud.operator().await.delete_reserved_range().await;
        client.reboot_vm(hypervisor.vm("m1"), &job("reboot")).await.unwrap();
        (nic, hypervisor.vm("m1"))
    });
    drop(cloud);
    let cloud = Running::open(&hypervisor, dir.path());
    assert_eq!(cloud.credentials.access_key_secret, key);
    run(async {
        let client = cloud.client();
        assert_eq!(client.nics().await.unwrap().len(), 1);
        assert_eq!(client.ip_ranges().await.unwrap().len(), 1);
        // The network is the same, and the finished job is known.
        assert_eq!(client.nics().await.unwrap()[0].l3_network, nic.l3_network);
        client.reboot_vm(vm, &job("reboot")).await.unwrap();
    });
    assert_eq!(hypervisor.count("reboot m1"), 1);
}

#[test]
fn a_job_interrupted_by_a_restart_has_failed_and_can_be_retried() {
    let (hypervisor, dir) = (FakeHypervisor::new(), tempfile::tempdir().unwrap());
    let cloud = Running::open(&hypervisor, dir.path());
    run(async {
        cloud.operator().await.faults(&json!({ "jobDelayMs": 60_000 })).await;
        let short = Job { deadline: Duration::from_millis(50), ..job("reboot") };
        let error = cloud.client().reboot_vm(hypervisor.vm("m1"), &short).await.unwrap_err();
        assert!(matches!(error, ProviderError::Timeout { .. }), "{error}");
    });
    drop(cloud);
    let cloud = Running::open(&hypervisor, dir.path());
    run(async {
        wait_for_state(dir.path(), |state| state["jobs"].to_string().contains("restarted while the job ran"))
            .await;
        cloud.client().reboot_vm(hypervisor.vm("m1"), &job("reboot")).await.unwrap();
    });
    assert_eq!(hypervisor.log(), ["reboot m1"]);
}

#[test]
fn credentials_and_state_are_private() {
    let (hypervisor, dir) = (FakeHypervisor::new(), tempfile::tempdir().unwrap());
    let state = dir.path().join("cloud");
    drop(Running::open(&hypervisor, &state));
    let mode = |path: &Path| fs_err::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state), 0o700);
    for file in [STATE, "cloud-credentials.json"] {
        assert_eq!(mode(&state.join(file)), 0o600, "{file}");
    }
}
