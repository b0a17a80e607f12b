//! Lifeboat's ZStack client against the lab's cloud.
//!
//! The machines are fake; `tests/machines.rs` tests real ones.

mod attach;
mod auth;
mod fake_hypervisor;
mod jobs;
mod persistence;
mod range;

use std::future::Future;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fake_hypervisor::FakeHypervisor;
use jiff::tz::TimeZone;
use lab::cloud::{self, Cloud, Credentials, Network};
use lab::hypervisor::Hypervisor;
use lifeboat_recovery::inventory::NicSpec;
use lifeboat_recovery::provider::{CloudProvider, Job, JobId, ZStack, ZStackConfig};
use lifeboat_recovery::secret::Secret;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// A running cloud. Dropping it ends it as a kill does: in the middle of its jobs.
struct Running {
    _runtime: Runtime,
    endpoint: String,
    credentials: Credentials,
}

impl Running {
    fn open(hypervisor: &Arc<FakeHypervisor>, dir: &Path) -> Self {
        Self::open_at(hypervisor, dir, TimeZone::UTC)
    }

    fn open_at(hypervisor: &Arc<FakeHypervisor>, dir: &Path, zone: TimeZone) -> Self {
        Self::open_on(hypervisor, dir, zone, "127.0.0.1:0")
    }

    fn open_on(hypervisor: &Arc<FakeHypervisor>, dir: &Path, zone: TimeZone, listen: &str) -> Self {
        let hypervisor: Arc<dyn Hypervisor> = hypervisor.clone();
        let cloud = Cloud::open(hypervisor, dir, &Network::default()).unwrap().in_time_zone(zone);
        let credentials = cloud.credentials().clone();
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind(listen)).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        runtime.spawn(cloud::serve(listener, Arc::new(cloud)));
        Self { _runtime: runtime, endpoint, credentials }
    }

    /// The client under test.
    fn client(&self) -> ZStack {
        self.client_with(&self.credentials.access_key_secret)
    }

    fn client_with(&self, secret: &str) -> ZStack {
        let config = ZStackConfig {
            endpoint: self.endpoint.clone(),
            ca: None,
            access_key_id: Secret::new(&self.credentials.access_key_id),
            access_key_secret: Secret::new(secret),
        };
        ZStack::new(config).unwrap()
    }

    /// A user of the cloud's web page.
    async fn operator(&self) -> Operator {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let digest: String = <sha2::Sha512 as sha2::Digest>::digest(&self.credentials.password)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let body = json!({ "logInByAccount": { "accountName": "admin", "password": digest } });
        let login = format!("{}/zstack/v1/accounts/login", self.endpoint);
        let reply: Value = http.put(login).json(&body).send().await.unwrap().json().await.unwrap();
        let session = reply["inventory"]["uuid"].as_str().unwrap().to_owned();
        Operator { http, endpoint: self.endpoint.clone(), session }
    }
}

/// Calls the API directly, without the client under test.
struct Operator {
    http: reqwest::Client,
    endpoint: String,
    session: String,
}

impl Operator {
    async fn send(&self, method: Method, path: &str, job: Option<&str>, body: &Value) -> Response {
        let mut request = self.http.request(method, format!("{}/zstack/v1{path}", self.endpoint)).json(body);
        request = request.header("Authorization", format!("OAuth {}", self.session));
        if let Some(job) = job {
            request = request.header("X-Job-UUID", job);
        }
        request.send().await.unwrap()
    }

    async fn get(&self, path: &str) -> Value {
        let response = self.send(Method::GET, path, None, &json!({})).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.json().await.unwrap()
    }

    /// Submits a job and polls its `location`; returns the final status and body.
    async fn act(&self, method: Method, path: &str, body: &Value) -> (StatusCode, Value) {
        let taken = self.send(method, path, None, body).await;
        assert_eq!(taken.status(), StatusCode::ACCEPTED, "{path}");
        let location = taken.json::<Value>().await.unwrap()["location"].as_str().unwrap().to_owned();
        for _ in 0..1000 {
            let polled = self.http.get(&location).send().await.unwrap();
            if polled.status() != StatusCode::ACCEPTED {
                return (polled.status(), polled.json().await.unwrap());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{path}: the job does not end");
    }

    /// Deletes the IP range that was deleted in the incident.
    async fn delete_reserved_range(&self) {
        let ranges = self.get("/l3-networks/ip-ranges?q=name=reserved").await;
        let uuid = ranges["inventories"][0]["uuid"].as_str().unwrap();
        let (status, _) =
            self.act(Method::DELETE, &format!("/l3-networks/ip-ranges/{uuid}"), &json!({})).await;
        assert_eq!(status, StatusCode::OK);
    }

    async fn faults(&self, faults: &Value) {
        let url = format!("{}/lab/faults", self.endpoint);
        let response = self.http.put(url).json(faults).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{faults}");
    }
}

fn run<T>(test: impl Future<Output = T>) -> T {
    Runtime::new().unwrap().block_on(test)
}

fn job(name: &str) -> Job {
    Job { id: JobId::derive(&[name]), deadline: Duration::from_secs(20) }
}

/// The NIC of a VM, as the cloud reports it.
async fn nic_of(client: &ZStack, vm: &str) -> Option<NicSpec> {
    let nic = client.nics().await.unwrap().into_iter().find(|nic| nic.vm == vm)?;
    Some(NicSpec { l3_network: nic.l3_network, ip: nic.ip, mac: nic.mac })
}
