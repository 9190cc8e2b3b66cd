//! A request to the API: a line `METHOD path`, headers, an empty line, the body. Whatever it is, the answer is no server
//! error, an error says what is wrong and where, a refused request appends nothing, and what is appended is a record
//! that a processor can take. `stripe-signature: right` stands for the signature that Stripe would send.

use axum::http::{Request, request::Builder};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use streambook_model::codec;

use super::server::{ADMIN, NOW, SHOP, STRIPE_SECRET, Server};
use crate::Check;

/// Paths that the operator's key is for.
const OPERATORS: [&str; 3] = ["/v1/merchants", "/v1/api-keys", "/v1/dead-letters"];

/// Starts an API.
#[must_use]
pub fn prepare() -> Check {
    let mut server = Server::start();
    Box::new(move |data| check(&mut server, data))
}

fn check(server: &mut Server, data: &[u8]) {
    let Some((request, body)) = read(data) else { return };
    let Some(answer) = server.ask(request, body) else { return };
    answer.check();
    let appended = server.appended();
    assert!(!answer.status.is_client_error() || appended.is_empty(), "{answer:?} and {appended:?}");
    for message in appended {
        let encoded = codec::encode(&message).expect("an appended record can be encoded");
        super::avro::check(&encoded);
    }
}

/// The request and its body; `None` where there is no line for a method and a path.
fn read(data: &[u8]) -> Option<(Builder, Vec<u8>)> {
    let (head, body) = match data.windows(2).position(|pair| pair == b"\n\n") {
        Some(at) => (&data[..at], &data[at + 2..]),
        None => (data, &[][..]),
    };
    let mut lines = head.split(|byte| *byte == b'\n');
    let (method, path) = std::str::from_utf8(lines.next()?).ok()?.split_once(' ')?;
    let key = if OPERATORS.iter().any(|prefix| path.starts_with(prefix)) { ADMIN } else { SHOP };
    let mut request =
        Request::builder().method(method).uri(path).header("authorization", format!("Bearer {key}"));
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let is_right = (name, value) == (b"stripe-signature", b"right");
        request = if is_right { request.header(name, signature(body)) } else { request.header(name, value) };
    }
    Some((request, body.to_vec()))
}

fn signature(body: &[u8]) -> String {
    let seconds = NOW.millis() / 1_000;
    let mac = Hmac::<Sha256>::new_from_slice(STRIPE_SECRET.as_bytes()).expect("a key of any length");
    let mac = mac.chain_update(format!("{seconds}.")).chain_update(body);
    format!("t={seconds},v1={}", hex::encode(mac.finalize().into_bytes()))
}
