//! Signatures of Standard Webhooks (<https://www.standardwebhooks.com>, "Signature scheme", symmetric `v1`).

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use streambook_model::{records::registry::Endpoint, time::Timestamp};
use streambook_runtime::secrets::{SecretError, SecretKey};

/// An endpoint's signing key. Its bytes are never printed.
pub struct SigningSecret(Hmac<Sha256>);

/// Why an endpoint's secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// It does not open.
    #[error("the endpoint's signing secret cannot be opened")]
    Sealed(#[source] SecretError),
    /// It is not `whsec_` and base64.
    #[error("the endpoint's signing secret is not `whsec_` and base64: rotate it")]
    Malformed,
    /// There is none.
    #[error("the endpoint has no signing secret: rotate it")]
    Missing,
}

impl SigningSecret {
    /// Reads `whsec_` and base64.
    pub fn parse(text: &str) -> Result<Self, SigningError> {
        let encoded = text.strip_prefix("whsec_").ok_or(SigningError::Malformed)?;
        let key = STANDARD.decode(encoded).map_err(|_| SigningError::Malformed)?;
        Hmac::new_from_slice(&key).map(Self).map_err(|_| SigningError::Malformed)
    }
}

/// Opens all live secrets of an endpoint, newest first; two during a rotation.
pub(super) fn open_all(endpoint: &Endpoint, key: &SecretKey) -> Result<Vec<SigningSecret>, SigningError> {
    let owner = endpoint.id.to_string();
    let open = |sealed| {
        let plain = key.open(sealed, owner.as_bytes()).map_err(SigningError::Sealed)?;
        SigningSecret::parse(&String::from_utf8(plain).map_err(|_| SigningError::Malformed)?)
    };
    let secrets: Vec<_> = endpoint.secrets.iter().map(open).collect::<Result<_, _>>()?;
    if secrets.is_empty() { Err(SigningError::Missing) } else { Ok(secrets) }
}

/// The value of `webhook-signature`: one `v1,…` for each secret, separated by spaces.
pub fn sign(secrets: &[SigningSecret], id: &str, sent_at: Timestamp, body: &str) -> String {
    let content = format!("{id}.{}.{body}", sent_at.millis().div_euclid(1_000));
    let one = |secret: &SigningSecret| {
        let digest = secret.0.clone().chain_update(content.as_bytes()).finalize().into_bytes();
        format!("v1,{}", STANDARD.encode(digest))
    };
    secrets.iter().map(one).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors of the official libraries (standard-webhooks and svix).
    #[test]
    fn signatures_are_those_of_the_official_libraries() -> Result<(), SigningError> {
        let check = |secret: &str, id, seconds: i64, body, expect: &str| {
            let signed =
                sign(&[SigningSecret::parse(secret)?], id, Timestamp::from_millis(seconds * 1_000), body);
            assert_eq!(signed, expect);
            Ok(())
        };
        check(
            "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
            "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
            1_649_367_553,
            r#"{"email":"test@example.com","username":"test_user"}"#,
            "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
        )?;
        check(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        )
    }

    #[test]
    fn a_rotation_signs_with_both_secrets() -> Result<(), SigningError> {
        let secret = |text| SigningSecret::parse(text);
        let both = [
            secret("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")?,
            secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")?,
        ];
        assert_eq!(sign(&both, "a", Timestamp::from_millis(0), "b").split(' ').count(), 2);
        assert!(secret("C2FV").is_err() && secret("whsec_!").is_err());
        Ok(())
    }
}
