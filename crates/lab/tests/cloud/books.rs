//! What outlives the cloud's process.

use std::os::unix::fs::PermissionsExt;

use super::*;
use lifeboat_recovery::provider::ProviderError;

const STATE: &str = "cloud-state.json";

/// Waits for something in the file of the books.
pub(crate) async fn wait_until(dir: &Path, is_so: impl Fn(&Value) -> bool) {
    for _ in 0..1000 {
        let books = fs_err::read(dir.join(STATE)).unwrap();
        if is_so(&serde_json::from_slice(&books).unwrap()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the books do not come to say so");
}

#[test]
fn a_restarted_cloud_remembers() {
    let (rack, dir) = (Rack::new(), tempfile::tempdir().unwrap());
    let cloud = Running::open(&rack, dir.path());
    let key = cloud.credentials.access_key_secret.clone();
    let (nic, vm) = run(async {
        let client = cloud.client();
        let nic = nic_of(&client, rack.vm("m1")).await.unwrap();
        cloud.operator().await.delete_reserved_range().await;
        client.reboot_vm(rack.vm("m1"), &job("reboot")).await.unwrap();
        (nic, rack.vm("m1"))
    });
    drop(cloud);
    let cloud = Running::open(&rack, dir.path());
    assert_eq!(cloud.credentials.access_key_secret, key);
    run(async {
        let client = cloud.client();
        assert_eq!(client.nics().await.unwrap().len(), 1);
        assert_eq!(client.ip_ranges().await.unwrap().len(), 1);
        // The same network, and the job that was done.
        assert_eq!(client.nics().await.unwrap()[0].l3_network, nic.l3_network);
        client.reboot_vm(vm, &job("reboot")).await.unwrap();
    });
    assert_eq!(rack.count("reboot m1"), 1);
}

#[test]
fn a_job_the_cloud_died_in_has_failed_and_is_tried_again() {
    let (rack, dir) = (Rack::new(), tempfile::tempdir().unwrap());
    let cloud = Running::open(&rack, dir.path());
    run(async {
        cloud.operator().await.faults(&json!({ "jobDelayMs": 60_000 })).await;
        let hasty = Job { deadline: Duration::from_millis(50), ..job("reboot") };
        let error = cloud.client().reboot_vm(rack.vm("m1"), &hasty).await.unwrap_err();
        assert!(matches!(error, ProviderError::Timeout { .. }), "{error}");
    });
    drop(cloud);
    let cloud = Running::open(&rack, dir.path());
    run(async {
        wait_until(dir.path(), |books| books["jobs"].to_string().contains("restarted while the job ran"))
            .await;
        cloud.client().reboot_vm(rack.vm("m1"), &job("reboot")).await.unwrap();
    });
    assert_eq!(rack.log(), ["reboot m1"]);
}

#[test]
fn only_root_reads_the_keys_and_the_books() {
    let (rack, dir) = (Rack::new(), tempfile::tempdir().unwrap());
    let state = dir.path().join("cloud");
    drop(Running::open(&rack, &state));
    let mode = |path: &Path| fs_err::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state), 0o700);
    for file in [STATE, "cloud-credentials.json"] {
        assert_eq!(mode(&state.join(file)), 0o600, "{file}");
    }
}
