//! Jobs that are slow, fail or are asked for twice, and an API that goes away.

use super::*;
use lifeboat_recovery::provider::ProviderError;

#[test]
fn a_job_uuid_is_taken_once() {
    let (rack, dir) = (Rack::new(), tempfile::tempdir().unwrap());
    let cloud = Running::open(&rack, dir.path());
    run(async {
        let operator = cloud.operator().await;
        let reboot = async |job: &str| {
            let path = format!("/vm-instances/{}/actions", rack.vm("m1"));
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
fn two_who_ask_for_the_same_job_wait_for_the_same_job() {
    let (rack, dir) = (Rack::new(), tempfile::tempdir().unwrap());
    let cloud = Running::open(&rack, dir.path());
    run(async {
        cloud.operator().await.faults(&json!({ "jobDelayMs": 300 })).await;
        let (one, two, job) = (cloud.client(), cloud.client(), job("reboot"));
        let (one, two) = tokio::join!(one.reboot_vm(rack.vm("m1"), &job), two.reboot_vm(rack.vm("m1"), &job));
        one.unwrap();
        two.unwrap();
    });
    assert_eq!(rack.log(), ["reboot m1"]);
}

#[test]
fn an_answer_that_is_lost_does_not_do_it_twice() {
    let (rack, dir) = (Rack::new(), tempfile::tempdir().unwrap());
    let cloud = Running::open(&rack, dir.path());
    run(async {
        let lost = json!({ "api": { "mode": "dropAnswer", "method": "PUT", "requests": 1 } });
        cloud.operator().await.faults(&lost).await;
        cloud.client().reboot_vm(rack.vm("m1"), &job("reboot")).await.unwrap();
    });
    assert_eq!(rack.log(), ["reboot m1"]);
}

#[test]
fn a_slow_job_is_waited_for_or_left_and_found_again() {
    let (rack, dir) = (Rack::new(), tempfile::tempdir().unwrap());
    let cloud = Running::open(&rack, dir.path());
    run(async {
        cloud.operator().await.faults(&json!({ "jobDelayMs": 500 })).await;
        let client = cloud.client();
        let hasty = Job { deadline: Duration::from_millis(100), ..job("reboot") };
        let error = client.reboot_vm(rack.vm("m1"), &hasty).await.unwrap_err();
        assert!(matches!(error, ProviderError::Timeout { .. }), "{error}");
        client.reboot_vm(rack.vm("m1"), &job("reboot")).await.unwrap();
    });
    assert_eq!(rack.log(), ["reboot m1"]);
}

#[test]
fn a_job_that_fails_says_why_in_the_clouds_words_and_can_be_tried_again() {
    let (rack, dir) = (Rack::new(), tempfile::tempdir().unwrap());
    let cloud = Running::open(&rack, dir.path());
    run(async {
        let fail = json!({ "fail": [
            { "api": "rebootVmInstance", "machine": "m2", "message": "not this one" },
            { "api": "rebootVmInstance", "times": 2, "message": "host is in maintenance" },
        ] });
        cloud.operator().await.faults(&fail).await;
        let client = cloud.client();
        for _ in 0..2 {
            match client.reboot_vm(rack.vm("m1"), &job("reboot")).await.unwrap_err() {
                ProviderError::JobFailed { api, code, message, .. } => {
                    assert_eq!((api, code.as_str()), ("rebootVmInstance", "SYS.1006"));
                    assert_eq!(message, "host is in maintenance");
                }
                error => panic!("{error}"),
            }
        }
        client.reboot_vm(rack.vm("m1"), &job("reboot")).await.unwrap();
        client.reboot_vm(rack.vm("m1"), &job("reboot")).await.unwrap();
    });
    assert_eq!(rack.log(), ["reboot m1"]);
}

#[test]
fn an_api_that_is_down_is_named() {
    let (rack, dir) = (Rack::new(), tempfile::tempdir().unwrap());
    let cloud = Running::open(&rack, dir.path());
    let client = cloud.client();
    run(async {
        for mode in ["unavailable", "drop"] {
            let operator = cloud.operator().await;
            operator.faults(&json!({ "api": { "mode": mode } })).await;
            for error in [client.vms().await.map(drop), client.reboot_vm(rack.vm("m1"), &job(mode)).await] {
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
    assert_eq!(rack.count("reboot m1"), 0);
}

#[test]
fn an_api_that_comes_back_finds_us_waiting() {
    let (rack, dir) = (Rack::new(), tempfile::tempdir().unwrap());
    let cloud = Running::open(&rack, dir.path());
    run(async {
        let operator = cloud.operator().await;
        operator.faults(&json!({ "jobDelayMs": 1000 })).await;
        let (client, reboot) = (cloud.client(), job("reboot"));
        let away = async {
            books::wait_until(dir.path(), |books| {
                books["jobs"].as_object().is_some_and(|jobs| !jobs.is_empty())
            })
            .await;
            operator.faults(&json!({ "api": { "mode": "unavailable", "requests": 3 } })).await;
        };
        let (result, ()) = tokio::join!(client.reboot_vm(rack.vm("m1"), &reboot), away);
        result.unwrap();
        let left = operator.http.get(format!("{}/lab/faults", operator.endpoint)).send().await.unwrap();
        assert_eq!(left.json::<Value>().await.unwrap()["api"]["requests"], 0);
    });
    assert_eq!(rack.log(), ["reboot m1"]);
}

#[test]
fn more_rows_than_a_page_holds_are_read_all() {
    let (rack, dir) = (Rack::large(2345), tempfile::tempdir().unwrap());
    let cloud = Running::open(&rack, dir.path());
    let nics = run(cloud.client().nics()).unwrap();
    let macs: std::collections::HashSet<_> = nics.iter().map(|nic| &nic.mac).collect();
    assert_eq!((nics.len(), macs.len()), (2345, 2345));
}
