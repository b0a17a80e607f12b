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

/// A job as the books have it.
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

/// Takes a job, unless its UUID was taken before, and begins it.
pub(super) fn submit(cloud: Arc<Cloud>, headers: &HeaderMap, action: Action) -> Result<Response, Refusal> {
    let uuid = match headers.get(JOB_UUID) {
        Some(chosen) => chosen.to_str().unwrap_or_default().to_owned(),
        None => new_uuid(),
    };
    if uuid.len() != UUID_LENGTH {
        return Err(Refusal::bad_request("X-Job-UUID is not 32 characters"));
    }
    let api = action.name().to_owned();
    cloud.store.try_change(|books| {
        if books.jobs.contains_key(&uuid) {
            return Err(Refusal::bad_request(format!("Duplicate job uuid[{uuid}]")));
        }
        books.jobs.insert(uuid.clone(), Job { api, state: JobState::Running });
        Ok(())
    })??;
    let host = headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
    let location = format!("http://{host}/zstack/v1/api-jobs/{uuid}");
    tokio::spawn(carry_out(cloud, uuid, action));
    Ok((StatusCode::ACCEPTED, Json(json!({ "location": location }))).into_response())
}

async fn carry_out(cloud: Arc<Cloud>, uuid: String, action: Action) {
    tokio::time::sleep(cloud.faults.job_delay()).await;
    let at_work = cloud.clone();
    let result = tokio::task::spawn_blocking(move || action.run(&at_work)).await;
    let result = result.unwrap_or_else(|_| Err(ErrorCode::internal("the job panicked")));
    let saved = cloud.store.change(|books| {
        if let Some(job) = books.jobs.get_mut(&uuid) {
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
    let state = cloud.store.read(|books| books.jobs.get(&uuid).map(|job| job.state.clone()));
    match state {
        None => (StatusCode::NOT_FOUND, "no such job, or not any more").into_response(),
        Some(JobState::Running) => (StatusCode::ACCEPTED, Json(json!({}))).into_response(),
        Some(JobState::Done { answer, .. }) => Json(answer).into_response(),
        Some(JobState::Failed { error, .. }) => Refusal::Failed(error).into_response(),
    }
}
