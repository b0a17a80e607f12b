//! Attaching NICs, setting addresses, and power.

use super::*;
use lifeboat_recovery::provider::ProviderError;

#[test]
fn deleted_nics_are_attached_again_with_their_address_and_mac() {
    let (hypervisor, dir) = (FakeHypervisor::new(), tempfile::tempdir().unwrap());
    let cloud = Running::open(&hypervisor, dir.path());
    hypervisor.set_power("nfs", false);
    run(async {
        let client = cloud.client();
        let (nics, ranges) = (client.nics().await.unwrap(), client.ip_ranges().await.unwrap());
        let machines = ["m1", "m2", "e1", "nfs"];
        let before = machines.map(|machine| hypervisor.nic(machine));
        cloud.operator().await.delete_reserved_range().await;
        for range in &ranges {
            client.ensure_ip_range(range, &job(&range.name)).await.unwrap();
        }
        for known in &nics {
            let nic = NicSpec {
                l3_network: known.l3_network.clone(),
                ip: known.ip.clone(),
                mac: known.mac.to_uppercase(),
            };
            client.attach_nic(&known.vm, &nic, &job(&known.vm)).await.unwrap();
            // The same request again, in the same job and in another.
            client.attach_nic(&known.vm, &nic, &job(&known.vm)).await.unwrap();
            client.attach_nic(&known.vm, &nic, &job("another")).await.unwrap();
        }
        assert_eq!(client.nics().await.unwrap().len(), nics.len());
        assert!(nics.iter().all(|nic| hypervisor.nic_is(&nic.vm, &nic.mac)));
        assert_eq!(machines.map(|machine| hypervisor.nic(machine)), before);
    });
    let attached = hypervisor.log().into_iter().filter(|entry| entry.starts_with("attach")).count();
    assert_eq!(attached, 4, "{:?}", hypervisor.log());
}

#[test]
fn conflicts_are_refused_and_change_nothing() {
    let (hypervisor, dir) = (FakeHypervisor::new(), tempfile::tempdir().unwrap());
    let cloud = Running::open(&hypervisor, dir.path());
    run(async {
        let client = cloud.client();
        let m1 = nic_of(&client, hypervisor.vm("m1")).await.unwrap();
        let n1 = nic_of(&client, hypervisor.vm("n1")).await.unwrap();
        let with = |ip: &str, mac: &str| NicSpec {
            l3_network: m1.l3_network.clone(),
            ip: ip.into(),
            mac: mac.into(),
        };
        let refused = |error: ProviderError, says: &str| {
            assert!(
                matches!(error, ProviderError::Refused { .. }) && error.to_string().contains(says),
                "{error}"
            );
        };
        let attach =
            async |vm: &str, nic: &NicSpec| client.attach_nic(vm, nic, &job("it")).await.unwrap_err();
        // The VM has another NIC.
        refused(
            attach(hypervisor.vm("m1"), &with(&m1.ip, "52:54:00:00:00:01")).await,
            "detach it in the cloud",
        );
        refused(attach(hypervisor.vm("m1"), &with("10.123.0.99", &m1.mac)).await, "detach it in the cloud");
        // Another VM has the address, or the MAC.
        cloud.operator().await.delete_reserved_range().await;
        refused(attach(hypervisor.vm("m1"), &with(&n1.ip, &m1.mac)).await, hypervisor.vm("n1"));
        refused(attach(hypervisor.vm("m1"), &with("10.123.0.99", &n1.mac)).await, hypervisor.vm("n1"));
        // Its range is gone.
        refused(attach(hypervisor.vm("m1"), &m1).await, "not in this range");
        // Not a valid id.
        refused(attach("../accounts", &m1).await, "correct the inventory");
    });
    assert!(hypervisor.log().iter().all(|entry| !entry.starts_with("attach")), "{:?}", hypervisor.log());
}

#[test]
fn a_nic_that_the_hypervisor_refuses_is_not_recorded() {
    let (hypervisor, dir) = (FakeHypervisor::new(), tempfile::tempdir().unwrap());
    let cloud = Running::open(&hypervisor, dir.path());
    run(async {
        let client = cloud.client();
        let (nic, range) =
            (nic_of(&client, hypervisor.vm("m1")).await.unwrap(), client.ip_ranges().await.unwrap());
        cloud.operator().await.delete_reserved_range().await;
        for range in &range {
            client.ensure_ip_range(range, &job(&range.name)).await.unwrap();
        }
        hypervisor.break_nic("m1");
        let error = client.attach_nic(hypervisor.vm("m1"), &nic, &job("m1")).await.unwrap_err();
        assert!(error.to_string().contains("the bridge is busy"), "{error}");
        assert_eq!(nic_of(&client, hypervisor.vm("m1")).await, None);
        // The same job id is a new attempt after a failure.
        hypervisor.repair_nics();
        client.attach_nic(hypervisor.vm("m1"), &nic, &job("m1")).await.unwrap();
        assert_eq!(nic_of(&client, hypervisor.vm("m1")).await, Some(nic));
    });
}

#[test]
fn attaching_waits_for_the_job_not_for_the_record() {
    let (hypervisor, dir) = (FakeHypervisor::new(), tempfile::tempdir().unwrap());
    let cloud = Running::open(&hypervisor, dir.path());
    run(async {
        let client = cloud.client();
        let (nic, ranges) =
            (nic_of(&client, hypervisor.vm("m1")).await.unwrap(), client.ip_ranges().await.unwrap());
        cloud.operator().await.delete_reserved_range().await;
        for range in &ranges {
            client.ensure_ip_range(range, &job(&range.name)).await.unwrap();
        }
        hypervisor.set_attach_delay(Duration::from_millis(500));
        let short = Job { deadline: Duration::from_millis(200), ..job("m1") };
        let error = client.attach_nic(hypervisor.vm("m1"), &nic, &short).await.unwrap_err();
        assert!(matches!(error, ProviderError::Timeout { .. }), "{error}");
        client.attach_nic(hypervisor.vm("m1"), &nic, &job("m1")).await.unwrap();
        assert!(hypervisor.nic("m1").is_some());
    });
    assert_eq!(hypervisor.count("attach m1"), 1);
}

#[test]
fn addresses_are_checked_and_assigned_as_in_zstack() {
    let (hypervisor, dir) = (FakeHypervisor::new(), tempfile::tempdir().unwrap());
    let cloud = Running::open(&hypervisor, dir.path());
    run(async {
        let operator = cloud.operator().await;
        let l3 = operator.get("/l3-networks").await["inventories"][0]["uuid"].as_str().unwrap().to_owned();
        let availability =
            async |ip: &str| operator.get(&format!("/l3-networks/{l3}/ip/{ip}/availability")).await;
        assert_eq!(availability("10.123.0.99").await, json!({ "available": true }));
        for (ip, reason) in
            [("231", "it is used"), ("1", "it is gateway"), ("251", "it is not in this range")]
        {
            let answer = availability(&format!("10.123.0.{ip}")).await;
            assert_eq!(answer, json!({ "available": false, "reason": reason }));
        }
        let actions = format!("/vm-instances/{}/actions", hypervisor.vm("m1"));
        let set = |ip: &str| json!({ "setVmStaticIp": { "l3NetworkUuid": l3, "ip": ip } });
        let (status, vm) = operator.act(Method::PUT, &actions, &set("10.123.0.99")).await;
        assert_eq!((status, &vm["inventory"]["vmNics"][0]["ip"]), (StatusCode::OK, &json!("10.123.0.99")));
        assert_eq!(hypervisor.nic("m1").unwrap().1, Ipv4Addr::new(10, 123, 0, 99));
        let (status, failure) = operator.act(Method::PUT, &actions, &set("10.123.0.232")).await;
        assert_eq!(
            (status, &failure["error"]["code"]),
            (StatusCode::SERVICE_UNAVAILABLE, &json!("SYS.1006"))
        );
        // Without address and MAC the cloud chooses both; it refuses a second NIC on the network.
        let attach = format!("/vm-instances/{}/l3-networks/{l3}", hypervisor.vm("m2"));
        let (status, _) = operator.act(Method::POST, &attach, &json!({ "params": {} })).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        operator.delete_reserved_range().await;
        let (status, vm) = operator.act(Method::POST, &attach, &json!({ "params": {} })).await;
        assert_eq!(status, StatusCode::OK);
        assert!(vm["inventory"]["vmNics"][0]["mac"].as_str().unwrap().starts_with("fa:"), "{vm}");
        assert_eq!(hypervisor.nic("m2").unwrap().1, Ipv4Addr::new(10, 123, 0, 10));
    });
}

#[test]
fn power() {
    let (hypervisor, dir) = (FakeHypervisor::new(), tempfile::tempdir().unwrap());
    let cloud = Running::open(&hypervisor, dir.path());
    run(async {
        let (client, operator) = (cloud.client(), cloud.operator().await);
        let actions = format!("/vm-instances/{}/actions", hypervisor.vm("m1"));
        operator.act(Method::PUT, &actions, &json!({ "stopVmInstance": {} })).await;
        client.start_vm(hypervisor.vm("m1"), &job("start")).await.unwrap();
        client.start_vm(hypervisor.vm("m1"), &job("start")).await.unwrap();
        client.start_vm(hypervisor.vm("m1"), &job("another")).await.unwrap();
        // The job is done, but the VM is off again: it is started all the same.
        operator.act(Method::PUT, &actions, &json!({ "stopVmInstance": { "type": "cold" } })).await;
        client.start_vm(hypervisor.vm("m1"), &job("start")).await.unwrap();
        client.reboot_vm(hypervisor.vm("m1"), &job("reboot")).await.unwrap();
        client.reboot_vm(hypervisor.vm("m1"), &job("reboot")).await.unwrap();
        client.reboot_vm(hypervisor.vm("m1"), &job("once more")).await.unwrap();
        let error = client.start_vm("unknown", &job("unknown")).await.unwrap_err();
        assert!(error.to_string().contains("no VM unknown"), "{error}");
    });
    assert_eq!(hypervisor.log(), ["stop m1", "start m1", "kill m1", "start m1", "reboot m1", "reboot m1"]);
}
