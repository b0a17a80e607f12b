//! ZStack's error responses: a status, and either JSON or plain text.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// ZStack's `ErrorCode`; the codes are those of `conf/errorCodes/{sys,identity}.xml`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ErrorCode {
    code: String,
    description: String,
    details: String,
}

impl ErrorCode {
    fn new(code: &str, description: &str, details: impl Into<String>) -> Self {
        Self { code: code.into(), description: description.into(), details: details.into() }
    }

    pub(super) fn internal(details: impl Into<String>) -> Self {
        Self::new("SYS.1000", "internal error", details)
    }

    pub(super) fn not_found(details: impl Into<String>) -> Self {
        Self::new("SYS.1003", "no such resource", details)
    }

    pub(super) fn operation(details: impl Into<String>) -> Self {
        Self::new("SYS.1006", "operation failed", details)
    }

    pub(super) fn argument(details: impl Into<String>) -> Self {
        Self::new("SYS.1007", "invalid argument", details)
    }

    pub(super) fn login(details: impl Into<String>) -> Self {
        Self::new("ID.1000", "not authenticated", details)
    }

    pub(super) fn session(details: impl Into<String>) -> Self {
        Self::new("ID.1001", "invalid session", details)
    }
}

/// An error of the hypervisor, or of the disk that holds the state.
impl From<anyhow::Error> for ErrorCode {
    fn from(error: anyhow::Error) -> Self {
        Self::internal(format!("{error:#}"))
    }
}

/// Why a request or query was rejected.
pub(super) enum Refusal {
    /// ZStack's `RestException`: plain text.
    Rest(StatusCode, String),
    /// A call that failed: 503 and an error code.
    Failed(ErrorCode),
}

impl Refusal {
    pub(super) fn bad_request(sentence: impl Into<String>) -> Self {
        Self::Rest(StatusCode::BAD_REQUEST, sentence.into())
    }

    pub(super) fn forbidden(sentence: impl Into<String>) -> Self {
        Self::Rest(StatusCode::FORBIDDEN, sentence.into())
    }
}

impl From<ErrorCode> for Refusal {
    fn from(error: ErrorCode) -> Self {
        Self::Failed(error)
    }
}

impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Rest(status, sentence) => (status, sentence).into_response(),
            Self::Failed(error) => {
                (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "error": error }))).into_response()
            }
        }
    }
}
