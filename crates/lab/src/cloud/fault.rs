//! Faults on demand: jobs that take long or fail, and an API that does not answer.
//!
//! Set with `PUT /lab/faults`, which replaces all of them, and shown by `GET /lab/faults`. They end with the process.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::Method;
use serde::{Deserialize, Serialize};

use super::reply::ErrorCode;
use super::{Cloud, lock};
use crate::hypervisor::MachineInfo;

/// What goes wrong.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct FaultSpec {
    /// How long every job waits before it begins, in milliseconds.
    job_delay_ms: u64,
    /// Jobs that fail before they do anything.
    fail: Vec<Failing>,
    /// The API itself.
    api: Option<ApiFault>,
}

/// Jobs that fail. What is left out matches everything.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Failing {
    /// ZStack's name of the API, such as `attachL3NetworkToVm`. `detachNicFromVm` is a part of `deleteIpRange`.
    api: Option<String>,
    /// The machine, by name.
    machine: Option<String>,
    /// How many fail; all when left out.
    times: Option<u32>,
    /// What the cloud says of it.
    message: Option<String>,
}

/// An API that does not answer as it should.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ApiFault {
    mode: Mode,
    /// The HTTP method; all when left out.
    method: Option<String>,
    /// How many requests; all when left out.
    requests: Option<u32>,
}

/// How it does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Mode {
    /// Status 503, as from a proxy in front of it.
    Unavailable,
    /// Closes the connection and does nothing.
    Drop,
    /// Does what it is asked to, then closes the connection.
    DropAnswer,
}

#[derive(Default)]
pub(super) struct Faults(Mutex<FaultSpec>);

impl Faults {
    pub(super) fn job_delay(&self) -> Duration {
        Duration::from_millis(lock(&self.0).job_delay_ms)
    }

    /// Fails the job when it is its turn to.
    pub(super) fn fail_if_told(&self, api: &str, machine: Option<&MachineInfo>) -> Result<(), ErrorCode> {
        let aimed = |wanted: &Option<String>, is: Option<&str>| match wanted {
            Some(wanted) => is == Some(wanted),
            None => true,
        };
        let mut faults = lock(&self.0);
        let name = machine.map(|machine| machine.name.as_str());
        for failing in &mut faults.fail {
            if aimed(&failing.api, Some(api)) && aimed(&failing.machine, name) && take(&mut failing.times) {
                let message = failing.message.clone();
                return Err(ErrorCode::operation(
                    message.unwrap_or_else(|| format!("{api} was told to fail")),
                ));
            }
        }
        Ok(())
    }

    /// How a request goes wrong, if it does.
    pub(super) fn of_request(&self, method: &Method) -> Option<Mode> {
        let mut faults = lock(&self.0);
        let fault = faults.api.as_mut()?;
        let aimed = fault.method.as_ref().is_none_or(|wanted| wanted == method.as_str());
        (aimed && take(&mut fault.requests)).then_some(fault.mode)
    }
}

/// Counts one down; false when none are left.
fn take(times: &mut Option<u32>) -> bool {
    match times {
        None => true,
        Some(0) => false,
        Some(left) => {
            *left -= 1;
            true
        }
    }
}

/// `PUT /lab/faults`.
pub(super) async fn set(State(cloud): State<Arc<Cloud>>, Json(faults): Json<FaultSpec>) -> Json<FaultSpec> {
    lock(&cloud.faults.0).clone_from(&faults);
    Json(faults)
}

/// `GET /lab/faults`.
pub(super) async fn show(State(cloud): State<Arc<Cloud>>) -> Json<FaultSpec> {
    Json(lock(&cloud.faults.0).clone())
}
