//! One JSON-RPC request over HTTP. Guarantee: it ends within the time limit, reads no more than the size limit, and no
//! error shows the node's URL (which often holds an API key); a node that says it is asked too often is asked more slowly
//! ([`Pace`]). The transport of alloy is not used here because it reads answers of any size and copies them into its
//! errors.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use reqwest::Response;
use reqwest::header::RETRY_AFTER;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Error};
use serde_json::{Value, json};
use url::Url;

use super::pace::Pace;

/// JSON-RPC's code for a method that the node does not have.
pub const METHOD_NOT_FOUND: i64 = -32601;

/// JSON-RPC's code for too many requests (EIP-1474); some nodes use HTTP's 429 in its place.
const LIMIT_EXCEEDED: i64 = -32005;

/// What providers write who refuse for the rate: EIP-1474 has one code for it, and most use another.
const THROTTLING: [&str; 7] = [
    "rate limit",
    "ratelimit",
    "too many requests",
    "request limit",
    "compute units",
    "throughput",
    "exceeded its",
];

/// What providers write about an answer that they will not send because of its size, each in its own way.
const TOO_LARGE: [&str; 9] = [
    "too large",
    "too big",
    "size exceeded",
    "size limit",
    "response size",
    "exceeds max",
    "more than 10000 results",
    "max results",
    "content length",
];

/// A node that asks for a longer rest than this does not get it: it is asked once more after it.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// Most bytes that are set aside for an answer because the node says that it will be so long.
const RESERVED: usize = 1 << 20;

/// How much of a node's own words an error repeats, in characters.
const EXCERPT: usize = 200;

/// Why a JSON-RPC request has no result.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The request could not be sent or its answer not be received.
    #[error("the request did not get through")]
    Transport(#[source] reqwest::Error),
    /// Nothing complete came in time.
    #[error("no answer within {} ms", limit.as_millis())]
    Timeout {
        /// The configured limit.
        limit: Duration,
    },
    /// An HTTP status other than success, without a JSON-RPC error in its body.
    #[error("HTTP status {status}: {excerpt}")]
    Status {
        /// The status.
        status: u16,
        /// The beginning of the body.
        excerpt: String,
    },
    /// The answer is longer than the limit.
    #[error("the answer is longer than {limit} bytes")]
    TooLarge {
        /// The configured limit.
        limit: usize,
    },
    /// The answer is not the JSON-RPC of what was asked for.
    #[error("the answer cannot be read")]
    Unreadable(#[source] serde_json::Error),
    /// The answer belongs to another request.
    #[error("the answer is to another request")]
    OtherRequest,
    /// The node refuses, in JSON-RPC's way.
    #[error("error {code}: {message}")]
    Rpc {
        /// JSON-RPC error code.
        code: i64,
        /// The beginning of the node's message.
        message: String,
    },
}

impl HttpError {
    /// True when the same request may succeed soon: rate limits, overload, a broken connection, no answer in time.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Transport(_) | Self::Timeout { .. } | Self::OtherRequest | Self::Unreadable(_) => true,
            Self::Status { status, .. } => *status == 408 || *status == 429 || *status >= 500,
            Self::Rpc { code, .. } => !matches!(code, -32700 | -32602..=-32600),
            Self::TooLarge { .. } => false,
        }
    }

    /// True when the node says that it is asked too often.
    pub fn is_throttled(&self) -> bool {
        match self {
            Self::Status { status, .. } => *status == 429,
            Self::Rpc { code, message } => {
                matches!(*code, 429 | LIMIT_EXCEEDED) && !self.is_too_large() || says(message, &THROTTLING)
            }
            _ => false,
        }
    }

    /// True when the same may be had in smaller pieces: the answer is larger than the node, or this side, allows.
    pub fn is_too_large(&self) -> bool {
        match self {
            Self::TooLarge { .. } | Self::Status { status: 413, .. } => true,
            Self::Rpc { message, .. } => says(message, &TOO_LARGE),
            _ => false,
        }
    }

    /// True when the node answers that it will not or cannot, other than for being asked too often.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Rpc { code, .. } if *code != LIMIT_EXCEEDED && *code < 0)
    }

    /// True when the node says that it does not have the method.
    pub fn is_method_not_found(&self) -> bool {
        matches!(self, Self::Rpc { code: METHOD_NOT_FOUND, .. })
    }
}

fn says(message: &str, words: &[&str]) -> bool {
    let message = message.to_lowercase();
    words.iter().any(|word| message.contains(word))
}

#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct Envelope<T> {
    id: Option<u64>,
    #[serde(default = "Option::default")]
    result: Option<T>,
    error: Option<ErrorObject>,
}

#[derive(Deserialize)]
struct ErrorObject {
    code: i64,
    #[serde(default)]
    message: String,
}

/// A JSON-RPC endpoint.
#[derive(Debug)]
pub struct Endpoint {
    client: reqwest::Client,
    url: Url,
    timeout: Duration,
    limit: usize,
    next_id: AtomicU64,
    pace: Mutex<Pace>,
}

/// An answer as it came.
struct Exchanged {
    status: u16,
    retry_after: Option<Duration>,
    body: Vec<u8>,
}

impl Endpoint {
    /// An endpoint that shares the client's connections. `timeout` covers a whole request, `limit` is in bytes.
    pub fn new(client: reqwest::Client, url: Url, timeout: Duration, limit: usize) -> Self {
        Self { client, url, timeout, limit, next_id: AtomicU64::new(1), pace: Mutex::default() }
    }

    /// Calls a method; a `null` result is `None`.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        params: &Value,
    ) -> Result<Option<T>, HttpError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let request = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let start = self.pace.lock().reserve(Instant::now());
        if start > Instant::now() {
            tokio::time::sleep_until(start.into()).await;
        }
        let exchange = tokio::time::timeout(self.timeout, self.exchange(&request));
        let answer = exchange.await.map_err(|_| HttpError::Timeout { limit: self.timeout })??;
        let result = read_envelope(answer.status, &answer.body, id);
        let throttled = matches!(&result, Err(error) if error.is_throttled());
        let mut pace = self.pace.lock();
        if throttled {
            pace.throttled(Instant::now(), answer.retry_after);
        } else {
            pace.succeeded(Instant::now());
        }
        result
    }

    /// Requests a second the node is held to since it refused for the rate; `None` while it never did.
    pub fn requests_per_second(&self) -> Option<u32> {
        self.pace.lock().per_second()
    }

    async fn exchange(&self, request: &Value) -> Result<Exchanged, HttpError> {
        let transport = |error: reqwest::Error| HttpError::Transport(error.without_url());
        let response = self.client.post(self.url.clone()).json(request).send().await.map_err(transport)?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry_after.and_then(|seconds| seconds.trim().parse().ok());
        let retry_after = retry_after.map(|seconds| Duration::from_secs(seconds).min(LONGEST_REST));
        let body = self.read_body(response).await?;
        Ok(Exchanged { status, retry_after, body })
    }

    async fn read_body(&self, mut response: Response) -> Result<Vec<u8>, HttpError> {
        let announced = response.content_length().and_then(|length| usize::try_from(length).ok());
        let mut body = Vec::with_capacity(announced.unwrap_or(0).min(RESERVED));
        let transport = |error: reqwest::Error| HttpError::Transport(error.without_url());
        while let Some(chunk) = response.chunk().await.map_err(transport)? {
            if body.len().saturating_add(chunk.len()) > self.limit {
                return Err(HttpError::TooLarge { limit: self.limit });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// Reads an answer as it came: the HTTP status, the body, and the id of the request.
///
/// # Errors
/// [`HttpError`]; a JSON-RPC error wins over the status.
pub fn read_envelope<T: DeserializeOwned>(status: u16, body: &[u8], id: u64) -> Result<Option<T>, HttpError> {
    // Checked once for the whole body, text is not checked again for each of its strings.
    let envelope: Result<Envelope<T>, _> = match std::str::from_utf8(body) {
        Ok(text) => serde_json::from_str(text),
        Err(error) => Err(serde_json::Error::custom(error)),
    };
    let success = (200..300).contains(&status);
    match envelope {
        Ok(Envelope { error: Some(error), .. }) => {
            Err(HttpError::Rpc { code: error.code, message: excerpt(&error.message) })
        }
        _ if !success => Err(HttpError::Status { status, excerpt: excerpt(&String::from_utf8_lossy(body)) }),
        Ok(envelope) if envelope.id != Some(id) => Err(HttpError::OtherRequest),
        Ok(envelope) => Ok(envelope.result),
        Err(error) => Err(HttpError::Unreadable(error)),
    }
}

fn excerpt(text: &str) -> String {
    text.chars().take(EXCERPT).collect()
}

#[cfg(test)]
mod tests {
    use super::{HttpError, read_envelope};

    #[test]
    fn an_error_object_wins_over_the_http_status() {
        let body = br#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no such method"}}"#;
        let error = read_envelope::<u64>(400, body, 1).unwrap_err();
        assert!(error.is_method_not_found() && !error.is_retryable(), "{error}");
    }

    #[test]
    fn an_answer_to_another_request_is_refused() {
        let body = br#"{"jsonrpc":"2.0","id":2,"result":7}"#;
        assert!(matches!(read_envelope::<u64>(200, body, 1), Err(HttpError::OtherRequest)));
        assert!(matches!(read_envelope::<u64>(200, body, 2), Ok(Some(7))));
    }

    #[test]
    fn providers_many_words_for_too_often_and_too_large_are_understood() {
        let error = |code: i64, message: &str| HttpError::Rpc { code, message: message.into() };
        for (code, message) in [
            (429, "Your app has exceeded its compute units per second capacity"),
            (-32_005, "limit exceeded"),
            (-32_029, "Too Many Requests"),
            (-32_000, "daily request limit reached"),
            (-32_007, "50/second request limit reached - reduce calls per second"),
        ] {
            assert!(error(code, message).is_throttled(), "{code} {message}");
        }
        for (code, message) in [
            (-32_008, "Response is too big"),
            (-32_602, "Log response size exceeded. this block range should work: [0x1, 0x2]"),
            (-32_005, "query returned more than 10000 results"),
            (-32_000, "response too large"),
            (-32_603, "request exceeds max results 20000"),
        ] {
            let error = error(code, message);
            assert!(error.is_too_large() && !error.is_throttled(), "{code} {message}");
        }
        assert!(!error(-32_000, "header not found").is_throttled());
        assert!(!error(-32_000, "header not found").is_too_large());
    }

    #[test]
    fn rate_limits_and_overload_may_be_retried_and_a_refused_key_may_not() {
        let retryable = |status| read_envelope::<u64>(status, b"slow down", 1).unwrap_err().is_retryable();
        assert_eq!([429, 503, 401, 404].map(retryable), [true, true, false, false]);
    }
}
