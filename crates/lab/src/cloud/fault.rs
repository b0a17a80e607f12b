//! Fault injection: slow or failing jobs, and an API that does not answer.
//!
//! `PUT /lab/faults` replaces all faults, `GET /lab/faults` shows them. They are lost when the process ends.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::Method;
use serde::{Deserialize, Serialize};

use super::reply::ErrorCode;
use super::{Cloud, lock};
use crate::hypervisor::MachineInfo;

/// The faults in effect.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct FaultSpec {
    /// How long every job waits before it begins, in milliseconds.
    job_delay_ms: u64,
    /// Jobs that fail before they do anything.
    fail: Vec<JobFault>,
    /// The API itself.
    api: Option<ApiFault>,
}

/// Jobs that fail. A field that is left out matches everything.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct JobFault {
    /// ZStack's name of the API, such as `attachL3NetworkToVm`. `deleteIpRange` runs `detachNicFromVm` for each NIC.
    api: Option<String>,
    /// The machine, by name.
    machine: Option<String>,
    /// How many fail; all when left out.
    times: Option<u32>,
    /// Details of the error.
    message: Option<String>,
}

/// A fault of the API itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ApiFault {
    mode: Mode,
    /// The HTTP method; all when left out.
    method: Option<String>,
    /// How many requests fail; all when left out.
    requests: Option<u32>,
}

/// How the API fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Mode {
    /// Status 503, as from a proxy in front of it.
    Unavailable,
    /// Closes the connection without carrying out the request.
    Drop,
    /// Carries out the request, then closes the connection.
    DropAnswer,
}

#[derive(Default)]
pub(super) struct Faults(Mutex<FaultSpec>);

impl Faults {
    pub(super) fn job_delay(&self) -> Duration {
        Duration::from_millis(lock(&self.0).job_delay_ms)
    }

    /// Fails if a fault selects this job.
    pub(super) fn fail_if_injected(&self, api: &str, machine: Option<&MachineInfo>) -> Result<(), ErrorCode> {
        let matches = |wanted: &Option<String>, is: Option<&str>| match wanted {
            Some(wanted) => is == Some(wanted),
            None => true,
        };
        let mut faults = lock(&self.0);
        let name = machine.map(|machine| machine.name.as_str());
        for fault in &mut faults.fail {
            if matches(&fault.api, Some(api)) && matches(&fault.machine, name) && take(&mut fault.times) {
                let message = fault.message.clone();
                return Err(ErrorCode::operation(
                    message.unwrap_or_else(|| format!("injected failure of {api}")),
                ));
            }
        }
        Ok(())
    }

    /// The fault to apply to a request, if any.
    pub(super) fn for_request(&self, method: &Method) -> Option<Mode> {
        let mut faults = lock(&self.0);
        let fault = faults.api.as_mut()?;
        let matches = fault.method.as_ref().is_none_or(|wanted| wanted == method.as_str());
        (matches && take(&mut fault.requests)).then_some(fault.mode)
    }
}

/// Uses up one of the remaining times; false if there are none.
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
