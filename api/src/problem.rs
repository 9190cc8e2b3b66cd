//! Problem documents (RFC 9457): what every error is answered with.
//!
//! A [`Problem`] travels through the layers as a response's extension; [`crate::envelope`] writes its body, since only it
//! knows the request's id.

use std::{borrow::Cow, fmt::Display};

use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use streambook_model::{id::RequestId, records::reply};
use streambook_runtime::step::chain_of;
use streambook_sinks::sql::SqlError;
use utoipa::ToSchema;

/// Where a problem's code is explained.
const TYPE_BASE: &str = "https://streambook.dev/problems/";

/// An error, as RFC 9457 writes it. `code` is stable; `detail` is for people.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemDocument<'a> {
    /// A stable URI for the kind of problem.
    r#type: String,
    /// The kind of problem in a few words.
    title: &'a str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What is wrong, and what to do about it.
    detail: &'a str,
    /// A stable code.
    code: &'a str,
    /// The field, parameter or header it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    field: Option<&'a str>,
    /// The request's id, also in `X-Request-Id`.
    request_id: String,
    /// The path that was asked for.
    instance: &'a str,
}

/// An error on its way to the caller.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    status: StatusCode,
    code: Cow<'static, str>,
    field: Option<String>,
    detail: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem with a stable code, and what is wrong and what to do about it.
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code: code.into(), field: None, detail: detail.into(), headers: Vec::new() }
    }

    /// A field, parameter or header has a value that cannot be used.
    pub(crate) fn field(field: impl Into<String>, detail: impl Display) -> Self {
        let field = field.into();
        let detail = if field.is_empty() { detail.to_string() } else { format!("{field}: {detail}") };
        Self { field: Some(field), ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_field", detail) }
    }

    /// There is no such object, or it is not the caller's to see: the two look the same.
    pub(crate) fn not_found(what: &str, id: impl Display) -> Self {
        let detail =
            format!("there is no {what} `{id}` for this key: check the id, the merchant and the key's mode");
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// What a database that lags behind a write does not have may be there in a moment, so nobody is told that it does not
    /// exist.
    pub(crate) fn where_stale(self, stale: bool) -> Self {
        if !stale || self.status != StatusCode::NOT_FOUND {
            return self;
        }
        let detail = "the database lags behind and does not have it yet: try again, or watch /readyz";
        Self::unavailable("storage_behind", detail)
    }

    /// Something behind the API does not work; the caller may try again.
    pub(crate) fn unavailable(code: &'static str, detail: impl Into<String>) -> Self {
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail);
        problem.header(header::RETRY_AFTER, HeaderValue::from_static("1"))
    }

    /// A read failed.
    #[expect(clippy::needless_pass_by_value, reason = "the signature that `map_err` asks for")]
    pub(crate) fn reading(error: SqlError) -> Self {
        tracing::error!(error = chain_of(&error), "a read failed");
        Self::unavailable("storage_unavailable", "the database cannot be read: try again, or watch /readyz")
    }

    /// Why the book or the registry rejected a command.
    pub(crate) fn rejected(problem: reply::Problem) -> Self {
        let status = StatusCode::from_u16(problem.status).ok().filter(|status| status.as_u16() >= 400);
        Self {
            status: status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            code: problem.code.into(),
            field: problem.field,
            detail: problem.detail,
            headers: Vec::new(),
        }
    }

    /// The problem of a response that some layer made with a status alone.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        let (code, detail) = match status {
            StatusCode::NOT_FOUND => ("unknown_route", "there is nothing at this path: see /openapi.json"),
            StatusCode::METHOD_NOT_ALLOWED => {
                ("method_not_allowed", "this path has no such method: `Allow` names those it has")
            }
            _ => ("http_error", "the request could not be answered"),
        };
        Self::new(status, code, detail)
    }

    /// With the field it is about.
    pub(crate) fn about(mut self, field: &str) -> Self {
        self.field = Some(field.to_owned());
        self
    }

    /// With a header.
    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Its status.
    pub(crate) const fn status(&self) -> StatusCode {
        self.status
    }

    /// Its code.
    pub(crate) fn code(&self) -> &str {
        &self.code
    }

    /// The document's bytes.
    pub(crate) fn document(&self, request: RequestId, path: &str) -> Vec<u8> {
        let document = ProblemDocument {
            r#type: format!("{TYPE_BASE}{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            code: &self.code,
            field: self.field.as_deref(),
            request_id: request.to_string(),
            instance: path,
        };
        // Text and a number: there is nothing in it that JSON cannot state.
        serde_json::to_vec(&document).unwrap_or_default()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        for (name, value) in &self.headers {
            response.headers_mut().append(name, value.clone());
        }
        response.extensions_mut().insert(self);
        response
    }
}
