//! The routes.

use std::net::Ipv4Addr;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post, put};
use axum::{Json, Router, middleware};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::action::{Action, AttachParams, IpRangeParams};
use super::reply::{ErrorCode, Refusal};
use super::{Cloud, auth, fault, inventory, job, query};

type Shared = State<Arc<Cloud>>;
type Rows = Result<Json<Value>, Refusal>;
type Parameters = Query<Vec<(String, String)>>;

/// All of the API, and the lab's own part of it.
pub(super) fn router(cloud: Arc<Cloud>) -> Router {
    let at = |path: &str| format!("{}/v1{path}", auth::CONTEXT);
    Router::new()
        .route(&at("/vm-instances"), get(vms))
        .route(&at("/vm-instances/{vm}/actions"), put(act))
        .route(&at("/vm-instances/{vm}/l3-networks/{l3}"), post(attach))
        .route(&at("/vm-instances/nics"), get(nics))
        .route(&at("/l3-networks"), get(l3_networks))
        .route(&at("/l3-networks/ip-ranges"), get(ip_ranges))
        .route(&at("/l3-networks/ip-ranges/{uuid}"), axum::routing::delete(delete_ip_range))
        .route(&at("/l3-networks/{l3}/ip-ranges"), post(add_ip_range))
        .route(&at("/l3-networks/{l3}/ip/{ip}/availability"), get(ip_availability))
        .route_layer(middleware::from_fn_with_state(cloud.clone(), auth::check))
        .route(&at("/accounts/login"), put(auth::log_in))
        .route(&at("/api-jobs/{uuid}"), get(job::poll))
        .route("/lab/faults", get(fault::show).put(fault::set))
        .with_state(cloud)
}

async fn vms(State(cloud): Shared, Query(parameters): Parameters) -> Rows {
    // Every machine is asked whether it has power.
    let rows = tokio::task::spawn_blocking(move || {
        cloud.machines.iter().map(|machine| inventory::vm(&cloud, machine)).collect::<Result<Vec<_>, _>>()
    });
    let rows = rows.await.map_err(|_| ErrorCode::internal("asking the machines failed"))??;
    query::answer(rows, &parameters).map(Json)
}

async fn nics(State(cloud): Shared, Query(parameters): Parameters) -> Rows {
    let rows = cloud.store.read(|state| state.nics.iter().map(|nic| inventory::nic(state, nic)).collect());
    query::answer(rows, &parameters).map(Json)
}

async fn l3_networks(State(cloud): Shared, Query(parameters): Parameters) -> Rows {
    let row = cloud.store.read(inventory::l3_network);
    query::answer(vec![row], &parameters).map(Json)
}

async fn ip_ranges(State(cloud): Shared, Query(parameters): Parameters) -> Rows {
    let rows = cloud
        .store
        .read(|state| state.ip_ranges.iter().map(|range| inventory::ip_range(state, range)).collect());
    query::answer(rows, &parameters).map(Json)
}

/// As `L3BasicNetwork.checkIpAvailability`, which finds every address in range when there is no range at all.
async fn ip_availability(State(cloud): Shared, Path((l3, ip)): Path<(String, Ipv4Addr)>) -> Rows {
    let reason = cloud.store.read(|state| {
        if state.l3_network != l3 {
            return Err(ErrorCode::not_found(format!("no L3 network has uuid {l3}")));
        }
        Ok(if state.ip_ranges.iter().any(|range| range.gateway == ip) {
            Some("it is gateway")
        } else if !state.ip_ranges.is_empty() && state.range_of(ip).is_none() {
            Some("it is not in this range")
        } else if state.nics.iter().any(|nic| nic.ip == ip) {
            Some("it is used")
        } else {
            None
        })
    })?;
    Ok(Json(match reason {
        Some(reason) => json!({ "available": false, "reason": reason }),
        None => json!({ "available": true }),
    }))
}

async fn attach(
    State(cloud): Shared,
    Path((vm, l3)): Path<(String, String)>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Result<Response, Refusal> {
    let params = match body.get("params") {
        Some(params) => from_body(params)?,
        None => AttachParams::default(),
    };
    job::submit(cloud, &headers, Action::AttachL3Network { vm, l3, params })
}

async fn add_ip_range(
    State(cloud): Shared,
    Path(l3): Path<String>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Result<Response, Refusal> {
    let params: IpRangeParams = from_body(&body["params"])?;
    job::submit(cloud, &headers, Action::AddIpRange { l3, params })
}

async fn delete_ip_range(
    State(cloud): Shared,
    Path(uuid): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    job::submit(cloud, &headers, Action::DeleteIpRange { uuid })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StaticIp {
    l3_network_uuid: String,
    ip: Ipv4Addr,
}

/// The body names the action: `{"rebootVmInstance": {}}`.
async fn act(
    State(cloud): Shared,
    Path(vm): Path<String>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Result<Response, Refusal> {
    let action = if body.get("startVmInstance").is_some() {
        Action::Start { vm }
    } else if let Some(stop) = body.get("stopVmInstance") {
        Action::Stop { vm, cold: stop["type"] == "cold" }
    } else if body.get("rebootVmInstance").is_some() {
        Action::Reboot { vm }
    } else if let Some(set) = body.get("setVmStaticIp") {
        let StaticIp { l3_network_uuid: l3, ip } = from_body(set)?;
        Action::SetStaticIp { vm, l3, ip }
    } else {
        return Err(Refusal::Rest(StatusCode::BAD_REQUEST, "the body doesn't contain an action".into()));
    };
    job::submit(cloud, &headers, action)
}

fn from_body<T: DeserializeOwned>(part: &Value) -> Result<T, Refusal> {
    T::deserialize(part).map_err(|error| Refusal::bad_request(error.to_string()))
}
