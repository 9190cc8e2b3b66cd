//! The cursor of a list: any text, as it is and as the base64 of what a cursor holds. The answer is a page, or an error
//! that names the cursor.

use axum::http::Request;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::server::{ADMIN, Answer, SHOP, Server};
use crate::Check;

/// Every list that has pages, and the key it is read with.
const LISTS: [(&str, &str); 7] = [
    ("payments", SHOP),
    ("events", SHOP),
    ("ledger/transactions", SHOP),
    ("webhook-endpoints", SHOP),
    ("merchants", ADMIN),
    ("api-keys", ADMIN),
    ("dead-letters", ADMIN),
];

/// Starts an API.
#[must_use]
pub fn prepare() -> Check {
    let server = Server::start();
    Box::new(move |data| LISTS.iter().for_each(|list| check(&server, *list, data)))
}

fn check(server: &Server, (list, key): (&str, &str), data: &[u8]) {
    let as_it_is: String = data.iter().map(|byte| format!("%{byte:02x}")).collect();
    for cursor in [as_it_is, URL_SAFE_NO_PAD.encode(data)] {
        let request = Request::builder().uri(format!("/v1/{list}?limit=5&cursor={cursor}"));
        let request = request.header("authorization", format!("Bearer {key}"));
        let Some(answer) = server.ask(request, Vec::new()) else { continue };
        answer.check();
        is_a_page_or_names_the_cursor(&answer);
    }
}

fn is_a_page_or_names_the_cursor(answer: &Answer) {
    let document = answer.json();
    match answer.status.as_u16() {
        200 => assert!(document["data"].is_array(), "{document}"),
        422 => assert_eq!(document["field"], "cursor", "{document}"),
        other => panic!("{other}: {document}"),
    }
}
