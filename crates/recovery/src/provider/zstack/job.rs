//! Calls: queries page by page, and jobs that are submitted once and polled to their end.
//!
//! The UUID of a job is ours to choose (`X-Job-UUID`), and ZStack takes none twice. So a job whose submission was not
//! answered is submitted again with the same UUID, and one that is there already is waited for.

use std::time::{Duration, Instant};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::http::Answer;
use super::wire::{self, Page};
use super::{ZStack, end_of};
use crate::provider::{Job, JobId, ProviderError, Result};

const JOB_UUID: HeaderName = HeaderName::from_static("x-job-uuid");
/// ZStack's own default.
const PAGE: usize = 1000;
const MOST_PAGES: usize = 100;
/// Enough for every attempt of an operation that is resumed again and again.
const MOST_ATTEMPTS: usize = 512;
const MOST_SUBMISSIONS: usize = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A job that nobody has asked for yet.
pub(super) struct Request<'a> {
    job: &'a Job,
    id: JobId,
    end: Instant,
    /// Whether an earlier attempt succeeded.
    pub(super) was_done: bool,
}

enum State {
    Unknown,
    Running,
    Done,
    Failed(ProviderError),
}

impl ZStack {
    /// Sends a request as who we are; once more when the refusal taught us how.
    async fn call(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        job: Option<&JobId>,
        body: Option<&Value>,
    ) -> Result<Answer> {
        let mut last = false;
        loop {
            let mut headers: HeaderMap = self.auth.headers(&self.http, &method, path).await?;
            if let Some(Ok(id)) = job.map(|id| HeaderValue::from_str(&id.0)) {
                headers.insert(JOB_UUID, id);
            }
            match self.http.send(method.clone(), path, query, headers, body).await {
                Err(refusal) if !last && self.auth.learn(&refusal).await => last = true,
                result => return result,
            }
        }
    }

    /// Sends a GET request.
    pub(super) async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value> {
        match self.call(Method::GET, path, query, None, None).await? {
            Answer::Done(value) => Ok(value),
            Answer::Failed(error) => Err(ProviderError::refused(format!("GET {path}: {}", error.message()))),
            Answer::Status(status, sentence) => {
                Err(ProviderError::refused(format!("GET {path}: status {status}: {sentence}")))
            }
            Answer::Accepted => {
                Err(ProviderError::Protocol { call: format!("GET {path}"), reason: "it is a job".into() })
            }
        }
    }

    /// Reads all rows.
    pub(super) async fn query<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>> {
        let mut rows = Vec::new();
        for _ in 0..MOST_PAGES {
            let (start, limit) = (rows.len().to_string(), PAGE.to_string());
            let query =
                [("start", start.as_str()), ("limit", &limit), ("sort", "uuid"), ("replyWithCount", "true")];
            let page: Page<T> = wire::decode(self.get(path, &query).await?, path)?;
            let ended = page.inventories.is_empty();
            rows.extend(page.inventories);
            if ended || rows.len() >= page.total {
                return Ok(rows);
            }
        }
        Err(ProviderError::Protocol {
            call: format!("GET {path}"),
            reason: format!("more than {MOST_PAGES} pages"),
        })
    }

    /// Waits for the attempts made before at this job, and finds the id of the next.
    pub(super) async fn settle<'a>(&self, api: &'static str, job: &'a Job) -> Result<Request<'a>> {
        let end = end_of(job);
        let mut id = job.id.clone();
        let mut was_done = false;
        for _ in 0..MOST_ATTEMPTS {
            match self.state(api, &id).await? {
                State::Unknown => return Ok(Request { job, id, end, was_done }),
                State::Failed(_) => {}
                State::Done => was_done = true,
                State::Running => match self.wait(api, &id, job, end).await {
                    Ok(()) => was_done = true,
                    Err(ProviderError::JobFailed { .. } | ProviderError::JobForgotten { .. }) => {}
                    Err(error) => return Err(error),
                },
            }
            id = id.next_attempt();
        }
        Err(ProviderError::refused(format!(
            "{api} was tried {MOST_ATTEMPTS} times; check in the cloud why it fails"
        )))
    }

    /// Submits a job and waits for its end.
    pub(super) async fn run(
        &self,
        api: &'static str,
        method: Method,
        path: &str,
        body: Value,
        request: &Request<'_>,
    ) -> Result<()> {
        let mut pause = FIRST_PAUSE;
        for submission in 1.. {
            let answer = self.call(method.clone(), path, &[], Some(&request.id), Some(&body)).await;
            let is_last = submission == MOST_SUBMISSIONS || Instant::now() + pause > request.end;
            match answer {
                Err(error) if error.is_transient() && !is_last => tokio::time::sleep(pause).await,
                Err(error) => return Err(error),
                Ok(Answer::Done(_)) => return Ok(()),
                Ok(Answer::Accepted) => break,
                Ok(Answer::Failed(error)) => return Err(failed(api, &request.id, &error)),
                Ok(Answer::Status(StatusCode::BAD_REQUEST, sentence))
                    if sentence.contains("Duplicate job uuid") =>
                {
                    break;
                }
                Ok(Answer::Status(status, sentence)) => {
                    return Err(ProviderError::refused(format!("{api}: status {status}: {sentence}")));
                }
            }
            pause = longer(pause);
        }
        self.wait(api, &request.id, request.job, request.end).await
    }

    /// Polls a job that was taken. The API may be away meanwhile.
    async fn wait(&self, api: &'static str, id: &JobId, job: &Job, end: Instant) -> Result<()> {
        let mut pause = FIRST_PAUSE;
        loop {
            let state = self.state(api, id).await;
            match state {
                Ok(State::Done) => return Ok(()),
                Ok(State::Failed(error)) => return Err(error),
                Ok(State::Unknown) => return Err(ProviderError::JobForgotten { api, job: id.to_string() }),
                Ok(State::Running) => {}
                Err(error) if error.is_transient() && Instant::now() < end => {}
                Err(error) => return Err(error),
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ProviderError::Timeout { api, job: id.to_string(), deadline: job.deadline });
            }
            tokio::time::sleep(pause.min(left)).await;
            pause = longer(pause);
        }
    }

    /// Not by the `location` of the answer: it is the management node's idea of its own address.
    async fn state(&self, api: &'static str, id: &JobId) -> Result<State> {
        let path = format!("/v1/api-jobs/{id}");
        match self.call(Method::GET, &path, &[], None, None).await? {
            Answer::Done(_) => Ok(State::Done),
            Answer::Accepted => Ok(State::Running),
            Answer::Failed(error) => Ok(State::Failed(failed(api, id, &error))),
            Answer::Status(StatusCode::NOT_FOUND, _) => Ok(State::Unknown),
            Answer::Status(status, sentence) => {
                Err(ProviderError::refused(format!("poll job {id}: status {status}: {sentence}")))
            }
        }
    }
}

fn failed(api: &'static str, id: &JobId, error: &wire::ErrorCode) -> ProviderError {
    ProviderError::JobFailed { api, job: id.to_string(), code: error.code.clone(), message: error.message() }
}

fn longer(pause: Duration) -> Duration {
    (pause * 3 / 2).min(LONGEST_PAUSE)
}
