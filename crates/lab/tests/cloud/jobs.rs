//! Slow, failing and repeated jobs, and an API that is unavailable.

use super::*;
use lifeboat_recovery::provider::ProviderError;

#[test]
fn a_job_uuid_is_accepted_once() {
    let (hypervisor, dir) = (FakeHypervisor::new(), tempfile::tempdir().unwrap());
    let cloud = Running::open(&hypervisor, dir.path());
    run(async {
        let operator = cloud.operator().await;
        let reboot = async |job: &str| {
            let path = format!("/vm-instances/{}/actions", hypervisor.vm("m1"));
            operator.send(Method::PUT, &path, Some(job), &json!({ "rebootVmInstance": {} })).await
        };
        let uuid = "5a441ef9697c4e7b98c9e86715e4987f";
        assert_eq!(reboot(uuid).await.status(), StatusCode::ACCEPTED);
        let second = reboot(uuid).await;
        assert_eq!(second.status(), StatusCode::BAD_REQUEST);
        assert_eq!(second.text().await.unwrap(), format!("Duplicate job uuid[{uuid}]"));
        assert_eq!(reboot("short").await.status(), StatusCode::BAD_REQUEST);
        let unknown =
            operator.send(Method::GET, &format!("/api-jobs/{}", "0".repeat(32)), None, &json!({})).await;
        assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    });
}

#[test]
fn two_clients_with_the_same_job_share_it() {
    let (hypervisor, dir) = (FakeHypervisor::new(), tempfile::tempdir().unwrap());
    let cloud = Running::open(&hypervisor, dir.path());
    run(async {
        cloud.operator().await.faults(&json!({ "jobDelayMs": 300 })).await;
        let (one, two, job) = (cloud.client(), cloud.client(), job("reboot"));
        let (one, two) =
            tokio::join!(one.reboot_vm(hypervisor.vm("m1"), &job), two.reboot_vm(hypervisor.vm("m1"), &job));
        one.unwrap();
        two.unwrap();
    });
    assert_eq!(hypervisor.log(), ["reboot m1"]);
}

#[test]
fn a_lost_answer_does_not_repeat_the_job() {
    let (hypervisor, dir) = (FakeHypervisor::new(), tempfile::tempdir().unwrap());
    let cloud = Running::open(&hypervisor, dir.path());
    run(async {
        let lost = json!({ "api": { "mode": "dropAnswer", "method": "PUT", "requests": 1 } });
        cloud.operator().await.faults(&lost).await;
        cloud.client().reboot_vm(hypervisor.vm("m1"), &job("reboot")).await.unwrap();
    });
    assert_eq!(hypervisor.log(), ["reboot m1"]);
}

#[test]
fn a_slow_job_can_be_picked_up_after_a_timeout() {
    let (hypervisor, dir) = (FakeHypervisor::new(), tempfile::tempdir().unwrap());
    let cloud = Running::open(&hypervisor, dir.path());
    run(async {
        cloud.operator().await.faults(&json!({ "jobDelayMs": 3000 })).await;
        let client = cloud.client();
        let short = Job { deadline: Duration::from_millis(100), ..job("reboot") };
        let error = client.reboot_vm(hypervisor.vm("m1"), &short).await.unwrap_err();
        assert!(matches!(error, ProviderError::Timeout { .. }), "{error}");
        client.reboot_vm(hypervisor.vm("m1"), &job("reboot")).await.unwrap();
    });
    assert_eq!(hypervisor.log(), ["reboot m1"]);
}

#[test]
fn a_failed_job_reports_the_clouds_error_and_can_be_retried() {
    let (hypervisor, dir) = (FakeHypervisor::new(), tempfile::tempdir().unwrap());
    let cloud = Running::open(&hypervisor, dir.path());
    run(async {
        let fail = json!({ "fail": [
            { "api": "rebootVmInstance", "machine": "m2", "message": "not this one" },
            { "api": "rebootVmInstance", "times": 2, "message": "host is in maintenance" },
        ] });
        cloud.operator().await.faults(&fail).await;
        let client = cloud.client();
        for _ in 0..2 {
            match client.reboot_vm(hypervisor.vm("m1"), &job("reboot")).await.unwrap_err() {
                ProviderError::JobFailed { api, code, message, .. } => {
                    assert_eq!((api, code.as_str()), ("rebootVmInstance", "SYS.1006"));
                    assert_eq!(message, "host is in maintenance");
                }
                error => panic!("{error}"),
            }
        }
        client.reboot_vm(hypervisor.vm("m1"), &job("reboot")).await.unwrap();
        client.reboot_vm(hypervisor.vm("m1"), &job("reboot")).await.unwrap();
    });
    assert_eq!(hypervisor.log(), ["reboot m1"]);
}

#[test]
fn an_unreachable_api_is_named() {
    let (hypervisor, dir) = (FakeHypervisor::new(), tempfile::tempdir().unwrap());
    let cloud = Running::open(&hypervisor, dir.path());
    let client = cloud.client();
    run(async {
        for mode in ["unavailable", "drop"] {
            let operator = cloud.operator().await;
            operator.faults(&json!({ "api": { "mode": mode } })).await;
            for error in
                [client.vms().await.map(drop), client.reboot_vm(hypervisor.vm("m1"), &job(mode)).await]
            {
                let error = error.unwrap_err();
                assert!(matches!(error, ProviderError::Unreachable { .. }), "{mode}: {error}");
                assert!(error.is_transient() && error.to_string().contains(&cloud.endpoint), "{error}");
            }
            operator.faults(&json!({})).await;
            assert_eq!(client.vms().await.unwrap().len(), 5);
        }
    });
    drop(cloud);
    let error = run(client.vms()).unwrap_err();
    assert!(matches!(error, ProviderError::Unreachable { .. }), "{error}");
    assert_eq!(hypervisor.count("reboot m1"), 0);
}

#[test]
fn the_client_waits_for_an_api_that_is_briefly_unavailable() {
    let (hypervisor, dir) = (FakeHypervisor::new(), tempfile::tempdir().unwrap());
    let cloud = Running::open(&hypervisor, dir.path());
    run(async {
        let operator = cloud.operator().await;
        operator.faults(&json!({ "jobDelayMs": 1000 })).await;
        let (client, reboot) = (cloud.client(), job("reboot"));
        let away = async {
            persistence::wait_for_state(dir.path(), |state| {
                state["jobs"].as_object().is_some_and(|jobs| !jobs.is_empty())
            })
            .await;
            operator.faults(&json!({ "api": { "mode": "unavailable", "requests": 3 } })).await;
        };
        let (result, ()) = tokio::join!(client.reboot_vm(hypervisor.vm("m1"), &reboot), away);
        result.unwrap();
        let left = operator.http.get(format!("{}/lab/faults", operator.endpoint)).send().await.unwrap();
        assert_eq!(left.json::<Value>().await.unwrap()["api"]["requests"], 0);
    });
    assert_eq!(hypervisor.log(), ["reboot m1"]);
}

#[test]
fn all_pages_of_a_query_are_read() {
    let (hypervisor, dir) = (FakeHypervisor::large(2345), tempfile::tempdir().unwrap());
    let cloud = Running::open(&hypervisor, dir.path());
    let nics = run(cloud.client().nics()).unwrap();
    let macs: std::collections::HashSet<_> = nics.iter().map(|nic| &nic.mac).collect();
    assert_eq!((nics.len(), macs.len()), (2345, 2345));
}
