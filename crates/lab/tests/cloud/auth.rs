//! Authentication: AccessKeys, accounts and sessions.

use super::*;
use lifeboat_recovery::provider::ProviderError;

#[test]
fn an_access_key_or_an_account_is_accepted() {
    let (hypervisor, dir) = (FakeHypervisor::new(), tempfile::tempdir().unwrap());
    let cloud = Running::open(&hypervisor, dir.path());
    run(async {
        let vms = cloud.client().vms().await.unwrap();
        assert_eq!(vms.len(), 5);
        assert!(
            vms.iter().any(|vm| vm.name == "m1" && vm.uuid == hypervisor.vm("m1") && vm.state == "Running")
        );
        let account =
            ZStack::with_account(&cloud.endpoint, "admin", Secret::new(&cloud.credentials.password)).unwrap();
        assert_eq!(account.vms().await.unwrap(), vms);
    });
}

#[test]
fn a_wrong_key_or_password_is_reported_and_not_shown() {
    let (hypervisor, dir) = (FakeHypervisor::new(), tempfile::tempdir().unwrap());
    let cloud = Running::open(&hypervisor, dir.path());
    run(async {
        let wrong = [
            cloud.client_with("hunter2"),
            ZStack::with_account(&cloud.endpoint, "admin", Secret::new("hunter2")).unwrap(),
        ];
        for client in wrong {
            let error = client.vms().await.unwrap_err();
            assert!(matches!(error, ProviderError::Unauthorized { .. }), "{error}");
            let shown = format!("{error} {error:?} {client:?}");
            assert!(
                !shown.contains("hunter2") && !shown.contains(&cloud.credentials.access_key_id),
                "{shown}"
            );
        }
    });
}

#[test]
fn requests_without_valid_credentials_are_rejected() {
    let (hypervisor, dir) = (FakeHypervisor::new(), tempfile::tempdir().unwrap());
    let cloud = Running::open(&hypervisor, dir.path());
    run(async {
        let mut operator = cloud.operator().await;
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("{}/zstack/v1/vm-instances", cloud.endpoint);
        assert_eq!(http.get(&url).send().await.unwrap().status(), StatusCode::BAD_REQUEST);
        let key = &cloud.credentials.access_key_id;
        let signed = |signature: &str, date: &str| {
            http.get(&url)
                .header("Authorization", format!("ZStack {key}:{signature}"))
                .header("Date", date)
                .send()
        };
        let now = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let answers = [
            (signed("AAAA", &now).await, StatusCode::FORBIDDEN, "wrong accessKey signature"),
            (
                signed("AAAA", "Thu, 17 Oct 2024 05:43:35 GMT").await,
                StatusCode::FORBIDDEN,
                "requestTimeTooSkewed",
            ),
            (signed("AAAA", "now").await, StatusCode::BAD_REQUEST, "the Date must look like"),
        ];
        for (answer, status, sentence) in answers {
            let answer = answer.unwrap();
            assert_eq!(answer.status(), status);
            assert!(answer.text().await.unwrap().starts_with(sentence), "{sentence}");
        }
        operator.session = "0".repeat(32);
        let refused = operator.send(Method::GET, "/vm-instances", None, &json!({})).await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.json::<Value>().await.unwrap()["error"]["code"], "ID.1001");
    });
}

#[test]
fn dates_are_compared_with_the_wall_clock_of_the_management_node() {
    let (hypervisor, dir) = (FakeHypervisor::new(), tempfile::tempdir().unwrap());
    let china = TimeZone::fixed(jiff::tz::offset(8));
    let cloud = Running::open_at(&hypervisor, dir.path(), china.clone());
    run(async {
        assert_eq!(cloud.client().in_time_zone(china).vms().await.unwrap().len(), 5);
        let error = cloud.client().in_time_zone(TimeZone::UTC).vms().await.unwrap_err();
        assert!(error.to_string().contains("requestTimeTooSkewed"), "{error}");
    });
}

#[test]
fn an_expired_session_is_renewed() {
    let (hypervisor, dir) = (FakeHypervisor::new(), tempfile::tempdir().unwrap());
    let cloud = Running::open(&hypervisor, dir.path());
    let account =
        ZStack::with_account(&cloud.endpoint, "admin", Secret::new(&cloud.credentials.password)).unwrap();
    let address = cloud.endpoint.strip_prefix("http://").unwrap().to_owned();
    run(account.vms()).unwrap();
    drop(cloud);
    let again = Running::open_on(&hypervisor, dir.path(), TimeZone::UTC, &address);
    assert_eq!(run(account.vms()).unwrap().len(), 5);
    drop(again);
}
