//! The `Stripe-Signature` header, checked over the raw body (<https://docs.stripe.com/webhooks#verify-manually>).
//!
//! The header is `t=<unix seconds>,v1=<hex>,v1=<hex>,…`; a `v1` is HMAC-SHA256 of `<t>.<body>` under the endpoint's
//! secret, the text `whsec_…` itself being the key. During a rotation Stripe signs with both secrets and the operator
//! may hold both: any `v1` that any secret explains is enough. Schemes other than `v1` are ignored, so that a sender
//! cannot choose a weaker one. Comparison takes the same time wherever two signatures differ.

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;
use streambook_model::time::Timestamp;

/// How far `t` may lie from the clock, before or after it, in milliseconds: Stripe's own five minutes.
pub const TOLERANCE_MS: u64 = 5 * 60 * 1_000;
/// Signatures looked at in one header. Stripe sends one for each live secret, at most two.
const SIGNATURES_MAX: usize = 16;
/// Secrets an operator may hold at once.
const SECRETS_MAX: usize = 8;

/// The signing secrets of the operator's Stripe endpoint; several during a rotation. Never printed.
#[derive(Clone)]
pub struct Secrets(Vec<String>);

/// Signing secrets that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretsError {
    /// There is none, or one of them is empty or has blanks around it.
    #[error(
        "a signing secret is missing or has blanks: copy `whsec_…` from the endpoint's page in the Stripe dashboard"
    )]
    Unusable,
    /// There are too many.
    #[error("{0} signing secrets, at most {SECRETS_MAX}: remove those that have expired")]
    TooMany(usize),
}

/// Why a request is not believed to be Stripe's. Each message names the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// No header.
    #[error("the `Stripe-Signature` header is missing: only Stripe may post here")]
    Missing,
    /// `t=` is missing, given twice or not a number of seconds.
    #[error("`t` of the `Stripe-Signature` header must be given once, in unix seconds")]
    Time,
    /// No `v1=` that is 64 hex digits.
    #[error("the `Stripe-Signature` header has no `v1` signature of 64 hex digits")]
    NoSignature,
    /// More signatures than Stripe ever sends.
    #[error("the `Stripe-Signature` header has more than {SIGNATURES_MAX} signatures")]
    TooMany,
    /// No signature fits any secret.
    #[error(
        "no signature fits: check that the signing secret is this endpoint's, and that nothing on the way changes the body"
    )]
    Mismatch,
    /// The signature is right and too old, or from the future.
    #[error(
        "signed at {signed}, which is more than five minutes from {now}: check this machine's clock; a resent request is signed anew by Stripe"
    )]
    OutsideWindow {
        /// When it was signed.
        signed: Timestamp,
        /// The clock it was compared with.
        now: Timestamp,
    },
}

impl Secrets {
    /// At least one secret, as Stripe shows it.
    pub fn new(secrets: Vec<String>) -> Result<Self, SecretsError> {
        if secrets.is_empty() || secrets.iter().any(|secret| secret.is_empty() || secret.trim() != secret) {
            return Err(SecretsError::Unusable);
        }
        if secrets.len() > SECRETS_MAX {
            return Err(SecretsError::TooMany(secrets.len()));
        }
        Ok(Self(secrets))
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({} hidden)", self.0.len())
    }
}

/// The parts of a header that count.
struct Header<'h> {
    /// `t` as it was written, since that text is what was signed.
    time_text: &'h str,
    signed: Timestamp,
    signatures: Vec<[u8; 32]>,
}

/// Checks that one of the secrets signed this body at most five minutes before or after `now`.
pub fn verify(
    header: Option<&str>,
    body: &[u8],
    secrets: &Secrets,
    now: Timestamp,
) -> Result<(), SignatureError> {
    let header = parse(header.ok_or(SignatureError::Missing)?)?;
    if !secrets.0.iter().any(|secret| signed_by(secret, &header, body)) {
        return Err(SignatureError::Mismatch);
    }
    if header.signed.millis().abs_diff(now.millis()) > TOLERANCE_MS {
        return Err(SignatureError::OutsideWindow { signed: header.signed, now });
    }
    Ok(())
}

fn parse(header: &str) -> Result<Header<'_>, SignatureError> {
    let (mut time, mut signatures) = (None, Vec::new());
    for (name, value) in header.split(',').filter_map(|part| part.trim().split_once('=')) {
        match name {
            "t" if time.is_some() => return Err(SignatureError::Time),
            "t" => time = Some(value),
            "v1" if signatures.len() == SIGNATURES_MAX => return Err(SignatureError::TooMany),
            "v1" => signatures.extend(signature(value)),
            _ => {}
        }
    }
    let time_text = time.ok_or(SignatureError::Time)?;
    let signed = seconds(time_text).ok_or(SignatureError::Time)?;
    if signatures.is_empty() {
        return Err(SignatureError::NoSignature);
    }
    Ok(Header { time_text, signed, signatures })
}

fn seconds(text: &str) -> Option<Timestamp> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { Timestamp::from_seconds(text.parse().ok()?) } else { None }
}

fn signature(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).ok().map(|()| bytes)
}

fn signed_by(secret: &str, header: &Header<'_>, body: &[u8]) -> bool {
    // HMAC takes a key of any length, so this never fails; a failure would be no signature.
    let Ok(mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return false };
    let mac = mac.chain_update(header.time_text).chain_update(b".").chain_update(body);
    header.signatures.iter().any(|signature| mac.clone().verify_slice(signature).is_ok())
}

#[cfg(test)]
#[path = "signature_tests.rs"]
mod tests;
