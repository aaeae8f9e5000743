use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

/// Why a request is not answered, told as OpenAI's API tells it.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It cannot be understood, or asks for what the model cannot do.
    #[error("{problem}")]
    Wrong {
        problem: String,
        /// The field that is wrong.
        field: Option<&'static str>,
    },
    #[error("a key is wanted: `authorization: Bearer KEY`, and this is none that is known here")]
    NoKey,
    #[error("there is no model `{name}` here; `/v1/models` has those that there are")]
    NoModel { name: String },
    #[error("there is no room for more files; take some away")]
    Full,
    #[error("there is no {what} `{id}`")]
    NoThing { what: &'static str, id: String },
    #[error("there is nothing at this address; there are `/v1/models`, `/v1/chat/completions`, `/v1/files` and `/v1/fine_tuning/jobs`")]
    NoPlace,
    #[error("this address takes another method")]
    NoMethod,
    #[error("the request has more than {most} bytes")]
    TooLarge { most: usize },
    #[error("the request did not come to its end in time")]
    TooSlow,
    #[error("the prompt has more tokens than the {most} that the model holds with its answer")]
    TooLong { most: usize },
    #[error("without keys only programs of this machine may ask, and this came by way of {from:?}: make a key with `retune serve --new-key NAME`")]
    Foreign { from: String },
    /// It may be asked again after some seconds.
    #[error("{what}")]
    Busy { what: String, seconds: u64 },
    /// The provider behind does not answer, or what it says is no answer.
    #[error("{problem}")]
    Upstream { problem: String },
    /// The provider behind failed again and again, and is not asked for some seconds.
    #[error("the provider behind this model failed again and again, and is not asked for a while")]
    Resting { seconds: u64 },
    #[error("{problem}")]
    Broken { problem: String },
}

impl Refusal {
    pub fn wrong(field: &'static str, problem: impl Into<String>) -> Self {
        Self::Wrong { problem: problem.into(), field: Some(field) }
    }

    fn parts(&self) -> (StatusCode, &'static str, Option<&'static str>) {
        match self {
            Self::Wrong { .. } => (StatusCode::BAD_REQUEST, "invalid_request_error", None),
            Self::NoKey => (StatusCode::UNAUTHORIZED, "authentication_error", Some("invalid_api_key")),
            Self::NoModel { .. } => (StatusCode::NOT_FOUND, "invalid_request_error", Some("model_not_found")),
            Self::Full => (StatusCode::INSUFFICIENT_STORAGE, "invalid_request_error", Some("no_room")),
            Self::NoThing { .. } => (StatusCode::NOT_FOUND, "invalid_request_error", Some("not_found")),
            Self::NoPlace => (StatusCode::NOT_FOUND, "invalid_request_error", Some("unknown_url")),
            Self::NoMethod => (StatusCode::METHOD_NOT_ALLOWED, "invalid_request_error", Some("method_not_supported")),
            Self::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "invalid_request_error", None),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, "invalid_request_error", None),
            Self::Busy { .. } => (StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", Some("rate_limit_exceeded")),
            Self::TooLong { .. } => (StatusCode::BAD_REQUEST, "invalid_request_error", Some("context_length_exceeded")),
            Self::Foreign { .. } => (StatusCode::FORBIDDEN, "authentication_error", Some("foreign_origin")),
            Self::Resting { .. } => (StatusCode::SERVICE_UNAVAILABLE, "api_error", Some("upstream")),
            Self::Upstream { .. } => (StatusCode::BAD_GATEWAY, "api_error", Some("upstream")),
            Self::Broken { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "api_error", None),
        }
    }

    /// The object that tells of it.
    pub fn json(&self) -> Value {
        let (_, kind, code) = self.parts();
        let field = if let Self::Wrong { field, .. } = self { *field } else { None };
        json!({ "error": { "message": self.to_string(), "type": kind, "param": field, "code": code } })
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.parts().0, Json(self.json())).into_response();
        if let Self::Busy { seconds, .. } | Self::Resting { seconds } = self {
            response.headers_mut().insert(http::header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
