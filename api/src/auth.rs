//! Who asks, and what the key allows. A key is checked before anything of the request is read.
//!
//! Keys are `sk_test_…` or `sk_live_…` (RFC 6750 bearer tokens); only their SHA-256 is kept. A merchant's key sees its
//! merchant's data of its mode and nothing else. An operator's key (scope `admin`) acts for the merchant it names in
//! `Streambook-Merchant`.

use std::{marker::PhantomData, sync::Arc};

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use rand::{Rng, distr::Alphanumeric};
use sha2::{Digest, Sha256};
use streambook_model::{
    bytes::ContentHash,
    id::{ApiKeyId, MerchantId},
    records::registry::{ApiKey, Scope as KeyScope},
};
use streambook_runtime::metrics::Metric;
use streambook_sinks::sql::Scope;

use crate::{problem::Problem, state::ApiState};

/// The header in which an operator's key names the merchant it acts for.
const MERCHANT: HeaderName = HeaderName::from_static("streambook-merchant");
/// Random characters of a key: 190 bits.
const SECRET_CHARS: usize = 32;

/// What a handler asks of a key.
pub(crate) trait Needs: Send + Sync + 'static {
    /// The scope.
    const SCOPE: KeyScope;
}

/// Needs `read`.
pub(crate) enum Read {}
/// Needs `write`.
pub(crate) enum Write {}
/// Needs `refund`.
pub(crate) enum Refund {}

impl Needs for Read {
    const SCOPE: KeyScope = KeyScope::Read;
}
impl Needs for Write {
    const SCOPE: KeyScope = KeyScope::Write;
}
impl Needs for Refund {
    const SCOPE: KeyScope = KeyScope::Refund;
}

/// A caller that acts for a merchant, with a key that has the scope.
pub(crate) struct ForMerchant<N> {
    /// The key.
    pub(crate) key: ApiKeyId,
    /// Whose data, and of which mode.
    pub(crate) scope: Scope,
    needs: PhantomData<fn() -> N>,
}

/// A caller with an operator's key.
pub(crate) struct Operator {
    /// The key.
    pub(crate) key: ApiKeyId,
}

/// A key as it is given out, and what is kept of it.
pub(crate) struct NewKey {
    /// The key, shown once.
    pub(crate) secret: String,
    /// Its hash.
    pub(crate) hash: ContentHash,
    /// Its last four characters.
    pub(crate) hint: String,
}

impl NewKey {
    /// Draws a key of a mode.
    pub(crate) fn draw(livemode: bool) -> Self {
        let random: String =
            rand::rng().sample_iter(Alphanumeric).take(SECRET_CHARS).map(char::from).collect();
        let hint = random.chars().skip(SECRET_CHARS - 4).collect();
        let secret = format!("{}{random}", if livemode { "sk_live_" } else { "sk_test_" });
        Self { hash: hash_of(&secret), secret, hint }
    }
}

/// What is kept of a key.
pub(crate) fn hash_of(secret: &str) -> ContentHash {
    ContentHash::new(Sha256::digest(secret).into())
}

/// Checks the key of a request and its rate. The layer of every route below `/v1`.
pub(crate) async fn authenticate(
    State(state): State<ApiState>,
    mut request: Request,
    next: Next,
) -> Response {
    let key = match known_key(&state, request.headers()) {
        Ok(key) => key,
        Err(problem) => {
            Metric::HttpRefused.count(1, &[("reason", problem.code().to_owned())]);
            return problem.into_response();
        }
    };
    let allowance = match state.limits().take_key(key.id) {
        Ok(allowance) => allowance,
        Err(problem) => return problem.into_response(),
    };
    request.extensions_mut().insert(key);
    let mut response = next.run(request).await;
    allowance.write(response.headers_mut());
    response
}

fn known_key(state: &ApiState, headers: &HeaderMap) -> Result<Arc<ApiKey>, Problem> {
    if !state.registry().is_caught_up() {
        return Err(Problem::unavailable("not_ready", "the server is starting: try again, or watch /readyz"));
    }
    let given = headers.get(header::AUTHORIZATION).ok_or_else(|| {
        unauthorized("unauthenticated", "no API key: send `Authorization: Bearer sk_test_…` or `sk_live_…`")
    })?;
    let unknown = || unauthorized("invalid_key", "the API key is not known or was revoked: use another one");
    let secret = given.to_str().ok().and_then(bearer).ok_or_else(unknown)?;
    let key = state.registry().key_by_hash(&hash_of(secret)).filter(|key| key.revoked_at.is_none());
    key.ok_or_else(unknown)
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, secret) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
}

fn unauthorized(code: &'static str, detail: &str) -> Problem {
    let problem = Problem::new(StatusCode::UNAUTHORIZED, code, detail).about("Authorization");
    problem.header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
}

/// The key that [`authenticate`] found; a route outside its layer has none.
fn key_of(parts: &Parts) -> Result<Arc<ApiKey>, Problem> {
    let key = parts.extensions.get::<Arc<ApiKey>>().cloned();
    key.ok_or_else(|| unauthorized("unauthenticated", "no API key was checked for this route"))
}

fn require(key: &ApiKey, scope: KeyScope) -> Result<(), Problem> {
    if key.scopes.contains(&scope) || (key.merchant.is_none() && key.scopes.contains(&KeyScope::Admin)) {
        return Ok(());
    }
    let name = scope_name(scope);
    let detail = format!("this key has no scope `{name}`: use one that has");
    Err(Problem::new(StatusCode::FORBIDDEN, "missing_scope", detail))
}

/// A scope's name.
pub(crate) const fn scope_name(scope: KeyScope) -> &'static str {
    match scope {
        KeyScope::Read => "read",
        KeyScope::Write => "write",
        KeyScope::Refund => "refund",
        KeyScope::Admin => "admin",
    }
}

fn merchant_of(state: &ApiState, key: &ApiKey, headers: &HeaderMap) -> Result<MerchantId, Problem> {
    let named = named_merchant(headers)?;
    if let Some(own) = key.merchant {
        if named.is_none_or(|named| named == own) {
            return Ok(own);
        }
        let detail = "Streambook-Merchant: this key acts for its own merchant only: leave the header out";
        return Err(
            Problem::new(StatusCode::FORBIDDEN, "other_merchant", detail).about("Streambook-Merchant")
        );
    }
    let detail = "an operator's key acts for a merchant: name it, `Streambook-Merchant: mer_…`";
    let named = named.ok_or_else(|| Problem::field("Streambook-Merchant", detail))?;
    state
        .registry()
        .merchant(named)
        .map(|merchant| merchant.id)
        .ok_or_else(|| Problem::not_found("merchant", named))
}

fn named_merchant(headers: &HeaderMap) -> Result<Option<MerchantId>, Problem> {
    let Some(value) = headers.get(MERCHANT) else { return Ok(None) };
    let parsed = value.to_str().unwrap_or_default().parse();
    parsed.map(Some).map_err(|error| Problem::field("Streambook-Merchant", error))
}

impl<N: Needs> FromRequestParts<ApiState> for ForMerchant<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let key = key_of(parts)?;
        require(&key, N::SCOPE)?;
        let merchant = merchant_of(state, &key, &parts.headers)?;
        Ok(Self { key: key.id, scope: Scope { merchant, livemode: key.livemode }, needs: PhantomData })
    }
}

impl FromRequestParts<ApiState> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, Problem> {
        let key = key_of(parts)?;
        require(&key, KeyScope::Admin)?;
        if key.merchant.is_some() {
            let detail = "this is a merchant's key: use an operator's";
            return Err(Problem::new(StatusCode::FORBIDDEN, "operator_only", detail));
        }
        Ok(Self { key: key.id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_say_their_mode_are_never_alike_and_are_kept_as_a_hash() {
        let (test, live) = (NewKey::draw(false), NewKey::draw(true));
        assert!(test.secret.starts_with("sk_test_") && live.secret.starts_with("sk_live_"));
        assert_eq!(test.secret.len(), 8 + SECRET_CHARS);
        assert!(test.secret.ends_with(&test.hint) && test.hint.len() == 4);
        assert_eq!(hash_of(&test.secret), test.hash);
        assert_ne!(NewKey::draw(false).secret, test.secret);
    }
}
