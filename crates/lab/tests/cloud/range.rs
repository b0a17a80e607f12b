//! Deleting an IP range.

use super::*;

#[test]
fn deleting_a_range_deletes_the_nics_in_it_and_no_other() {
    let (hypervisor, dir) = (FakeHypervisor::new(), tempfile::tempdir().unwrap());
    let cloud = Running::open(&hypervisor, dir.path());
    hypervisor.set_power("nfs", false);
    run(async {
        cloud.operator().await.delete_reserved_range().await;
        let client = cloud.client();
        let left = client.nics().await.unwrap();
        assert_eq!(left.iter().map(|nic| nic.vm.as_str()).collect::<Vec<_>>(), [hypervisor.vm("n1")]);
        let ranges = client.ip_ranges().await.unwrap();
        assert_eq!(ranges.iter().map(|range| range.name.as_str()).collect::<Vec<_>>(), ["machines"]);
    });
    for machine in ["m1", "m2", "e1", "nfs"] {
        assert_eq!(hypervisor.nic(machine), None, "{machine}");
    }
    assert!(hypervisor.nic("n1").is_some());
}

#[test]
fn a_nic_that_cannot_be_detached_does_not_fail_the_job() {
    let (hypervisor, dir) = (FakeHypervisor::new(), tempfile::tempdir().unwrap());
    let cloud = Running::open(&hypervisor, dir.path());
    hypervisor.break_nic("m2");
    run(async {
        let operator = cloud.operator().await;
        operator.faults(&json!({ "fail": [{ "api": "detachNicFromVm", "machine": "nfs" }] })).await;
        operator.delete_reserved_range().await;
        let client = cloud.client();
        for (machine, stays) in [("m1", false), ("m2", true), ("e1", false), ("nfs", true), ("n1", true)] {
            assert_eq!(nic_of(&client, hypervisor.vm(machine)).await.is_some(), stays, "{machine}");
            assert_eq!(hypervisor.nic(machine).is_some(), stays, "{machine}");
        }
    });
}

#[test]
fn a_range_is_created_only_if_it_is_missing() {
    let (hypervisor, dir) = (FakeHypervisor::new(), tempfile::tempdir().unwrap());
    let cloud = Running::open(&hypervisor, dir.path());
    run(async {
        let client = cloud.client();
        let before = client.ip_ranges().await.unwrap();
        let reserved = before.iter().find(|range| range.name == "reserved").unwrap().clone();
        client.ensure_ip_range(&reserved, &job("there")).await.unwrap();
        assert_eq!(client.ip_ranges().await.unwrap().len(), before.len());
        cloud.operator().await.delete_reserved_range().await;
        client.ensure_ip_range(&reserved, &job("again")).await.unwrap();
        client.ensure_ip_range(&reserved, &job("again")).await.unwrap();
        let after = client.ip_ranges().await.unwrap();
        assert_eq!(after.len(), before.len());
        assert!(before.iter().all(|range| after.contains(range)), "{after:?}");
        let mut wider = reserved;
        wider.start_ip = "10.123.0.220".into();
        let error = client.ensure_ip_range(&wider, &job("wider")).await.unwrap_err();
        assert!(error.to_string().contains("overlap"), "{error}");
    });
}
