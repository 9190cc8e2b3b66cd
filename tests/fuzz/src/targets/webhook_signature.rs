//! The signatures that webhooks leave with: the input is a secret, an id and a body, a line each. A secret of any text is
//! read or refused; what is signed verifies by the definition of Standard Webhooks, computed here on its own, and no
//! byte of it can be changed.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use streambook_model::time::Timestamp;
use streambook_sinks::webhooks::{SigningSecret, sign};

const SECONDS: i64 = 1_700_000_000;

/// Checks the property.
pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.splitn(3, '\n');
    let mut next = || lines.next().unwrap_or_default();
    let (secret, id, body) = (next(), next(), next());
    let Ok(signing) = SigningSecret::parse(secret) else { return };
    let key = secret.strip_prefix("whsec_").and_then(|encoded| STANDARD.decode(encoded).ok());
    let key = key.expect("a secret that is read is `whsec_` and base64");
    let signature = sign(&[signing], id, Timestamp::from_millis(SECONDS * 1_000), body);
    assert!(verifies(&signature, &key, id, SECONDS, body), "{signature}");
    assert!(!verifies(&signature, &key, id, SECONDS + 1, body), "the time may not change");
    assert!(!verifies(&signature, &key, &format!("{id}x"), SECONDS, body), "the id may not change");
    for at in 0..body.len().min(32) {
        let mut changed = body.as_bytes().to_vec();
        changed[at] ^= 1;
        assert!(!verifies_bytes(&signature, &key, id, SECONDS, &changed), "byte {at} may not change");
    }
}

fn verifies(signature: &str, key: &[u8], id: &str, seconds: i64, body: &str) -> bool {
    verifies_bytes(signature, key, id, seconds, body.as_bytes())
}

fn verifies_bytes(signature: &str, key: &[u8], id: &str, seconds: i64, body: &[u8]) -> bool {
    let mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    let mac = mac.chain_update(format!("{id}.{seconds}.")).chain_update(body);
    let given = signature.strip_prefix("v1,").and_then(|encoded| STANDARD.decode(encoded).ok());
    given.is_some_and(|given| mac.verify_slice(&given).is_ok())
}
