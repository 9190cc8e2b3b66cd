//! The `Stripe-Signature` header: the input's first line is one, the rest is a body. A header from outside is believed
//! only if it carries the HMAC that this file computes on its own; the header that Stripe would send is believed, and
//! none of its bytes or the body's can be changed.

use hmac::{Hmac, Mac};
use sha2::Sha256;
use streambook_connectors::stripe::signature::{Secrets, verify};
use streambook_model::time::Timestamp;

const SECRET: &str = "whsec_fuzz";
const SECONDS: i64 = 1_700_000_000;

/// Checks the property.
pub fn check(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    let (line, body) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let header = String::from_utf8_lossy(line);
    if is_believed(Some(&header), body) {
        assert!(is_signed(&header, body), "{header:?} is no signature of {body:?}");
    } else {
        assert!(!is_believed(Some(""), body) && !is_believed(None, body));
    }
    only_the_right_bytes(body);
}

/// What Stripe would send is believed, and nothing that differs in one byte.
fn only_the_right_bytes(body: &[u8]) {
    let right = header(&SECONDS.to_string(), body);
    assert!(is_believed(Some(&right), body), "{right} is right");
    // Which byte is changed follows from the body, so that every input tries another.
    let at = body.iter().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
    let mut changed = body.to_vec();
    let place = at.checked_rem(changed.len()).unwrap_or(0);
    match changed.get_mut(place) {
        Some(byte) => *byte ^= 1 << (at % 8),
        None => changed.push(b' '),
    }
    assert!(!is_believed(Some(&right), &changed), "the body may not change");
    let time_changed = right.replacen("t=1", "t=2", 1);
    assert!(!is_believed(Some(&time_changed), body), "the time may not change");
    let mut digits = right.into_bytes();
    let place = digits.len() - 1 - at % 64;
    digits[place] = if digits[place] == b'0' { b'1' } else { b'0' };
    assert!(!is_believed(Some(&String::from_utf8_lossy(&digits)), body), "the digest may not change");
}

fn is_believed(header: Option<&str>, body: &[u8]) -> bool {
    let secrets = Secrets::new(vec![SECRET.to_owned()]).expect("a usable secret");
    let verified = verify(header, body, &secrets, Timestamp::from_millis(SECONDS * 1_000));
    verified.inspect_err(|error| assert!(!error.to_string().is_empty())).is_ok()
}

fn header(time: &str, body: &[u8]) -> String {
    format!("t={time},v1={}", hex::encode(digest(time, body)))
}

fn digest(time: &str, body: &[u8]) -> Vec<u8> {
    let mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("a key of any length");
    mac.chain_update(time).chain_update(b".").chain_update(body).finalize().into_bytes().to_vec()
}

/// Whether any `t` and `v1` of the header belong together.
fn is_signed(header: &str, body: &[u8]) -> bool {
    let values = |name: &'static str| {
        header.split(',').filter_map(move |part| part.trim().strip_prefix(name)?.strip_prefix('='))
    };
    values("t").any(|time| {
        let right = digest(time, body);
        values("v1").any(|digits| hex::decode(digits).is_ok_and(|bytes| bytes == right))
    })
}
