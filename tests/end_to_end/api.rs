//! A client of the HTTP API. It follows the process over restarts, since its address is shared with whoever starts it.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use reqwest::{Client, Method, RequestBuilder, header::HeaderMap};
use serde_json::Value;

/// Where the process listens now.
pub(crate) type Address = Arc<Mutex<String>>;

/// The API with a key, or without one.
#[derive(Clone)]
pub(crate) struct Api {
    client: Client,
    address: Address,
    key: Option<String>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The body; null where it is empty or no JSON.
    pub(crate) body: Value,
}

impl Answer {
    /// A header as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Api {
    /// Where it is, as in `http://127.0.0.1:8080`.
    pub(crate) fn url(&self) -> String {
        self.address.lock().clone()
    }

    /// Without a key.
    pub(crate) fn new(address: Address) -> Self {
        let client = Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap();
        Self { client, address, key: None }
    }

    /// The same with this key.
    pub(crate) fn with_key(&self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self.clone() }
    }

    /// A request with the key, if there is one.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.address.lock());
        let request = self.client.request(method, url);
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    /// Sends a request; an error is one of the connection.
    pub(crate) async fn try_send(&self, request: RequestBuilder) -> reqwest::Result<Answer> {
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = serde_json::from_slice(&response.bytes().await?).unwrap_or_default();
        Ok(Answer { status, headers, body })
    }

    /// Sends a request to a process that must answer.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Answer {
        self.try_send(request).await.unwrap_or_else(|error| panic!("no answer: {error:?}"))
    }

    /// `GET` that must succeed.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let answer = self.send(self.request(Method::GET, path)).await;
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.body);
        answer.body
    }

    /// `POST`, whatever its answer.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// `POST` that must succeed with `200` or `201`.
    pub(crate) async fn done(&self, path: &str, body: &Value) -> Value {
        let answer = self.post(path, body).await;
        assert!(matches!(answer.status, 200 | 201), "POST {path}: {} {}", answer.status, answer.body);
        answer.body
    }

    /// Every row of a list, page by page.
    pub(crate) async fn all(&self, path: &str) -> Vec<Value> {
        let (mut rows, mut cursor) = (Vec::new(), String::new());
        let joint = if path.contains('?') { '&' } else { '?' };
        loop {
            let mut page = self.get(&format!("{path}{joint}limit=100{cursor}")).await;
            rows.append(page["data"].as_array_mut().expect("a list has data"));
            let Some(next) = page["next_cursor"].as_str() else { return rows };
            cursor = format!("&cursor={next}");
        }
    }
}

/// A member that is text.
pub(crate) fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("`{name}` is not text in {value}")).to_owned()
}
