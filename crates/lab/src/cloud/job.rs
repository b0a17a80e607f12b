//! Asynchronous jobs: taken with 202, polled until 200 or 503, as in ZStack's `MysqlAsyncRestStore`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::action::Action;
use super::reply::{ErrorCode, Refusal};
use super::store::now;
use super::{Cloud, new_uuid};

const JOB_UUID: &str = "x-job-uuid";
const UUID_LENGTH: usize = 32;

/// A job as it is saved.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Job {
    api: String,
    state: JobState,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum JobState {
    Running,
    Done { at: i64, answer: Value },
    Failed { at: i64, error: ErrorCode },
}

impl Job {
    pub(super) fn is_running(&self) -> bool {
        matches!(self.state, JobState::Running)
    }

    pub(super) fn ended_before(&self, time: i64) -> bool {
        match self.state {
            JobState::Running => false,
            JobState::Done { at, .. } | JobState::Failed { at, .. } => at < time,
        }
    }

    pub(super) fn fail(&mut self, error: ErrorCode) {
        self.state = JobState::Failed { at: now(), error };
    }
}

/// Accepts a job and starts it; refuses a UUID that was used before.
pub(super) fn submit(cloud: Arc<Cloud>, headers: &HeaderMap, action: Action) -> Result<Response, Refusal> {
    let uuid = match headers.get(JOB_UUID) {
        Some(chosen) => chosen.to_str().unwrap_or_default().to_owned(),
        None => new_uuid(),
    };
    if uuid.len() != UUID_LENGTH {
        return Err(Refusal::bad_request("X-Job-UUID is not 32 characters"));
    }
    let api = action.name().to_owned();
    cloud.store.try_change(|state| {
        if state.jobs.contains_key(&uuid) {
            return Err(Refusal::bad_request(format!("Duplicate job uuid[{uuid}]")));
        }
        state.jobs.insert(uuid.clone(), Job { api, state: JobState::Running });
        Ok(())
    })??;
    let host = headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
    let location = format!("http://{host}/zstack/v1/api-jobs/{uuid}");
    tokio::spawn(execute(cloud, uuid, action));
    Ok((StatusCode::ACCEPTED, Json(json!({ "location": location }))).into_response())
}

async fn execute(cloud: Arc<Cloud>, uuid: String, action: Action) {
    tokio::time::sleep(cloud.faults.job_delay()).await;
    let worker = cloud.clone();
    let result = tokio::task::spawn_blocking(move || action.run(&worker)).await;
    let result = result.unwrap_or_else(|_| Err(ErrorCode::internal("the job panicked")));
    let saved = cloud.store.change(|state| {
        if let Some(job) = state.jobs.get_mut(&uuid) {
            match result {
                Ok(answer) => job.state = JobState::Done { at: now(), answer },
                Err(error) => job.fail(error),
            }
        }
    });
    if let Err(error) = saved {
        eprintln!("cloud: save the end of job {uuid}: {error:#}");
    }
}

/// `GET /api-jobs/{uuid}`, which needs no authorization in ZStack either.
pub(super) async fn poll(State(cloud): State<Arc<Cloud>>, Path(uuid): Path<String>) -> Response {
    let state = cloud.store.read(|state| state.jobs.get(&uuid).map(|job| job.state.clone()));
    match state {
        None => (StatusCode::NOT_FOUND, "the job does not exist or has expired").into_response(),
        Some(JobState::Running) => (StatusCode::ACCEPTED, Json(json!({}))).into_response(),
        Some(JobState::Done { answer, .. }) => Json(answer).into_response(),
        Some(JobState::Failed { error, .. }) => Refusal::Failed(error).into_response(),
    }
}
