//! `/v1/api-keys`: the operator gives out keys and takes them back.

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use garde::Validate;
use serde::{Deserialize, Serialize};
use streambook_model::{
    id::{ApiKeyId, MerchantId, kind},
    records::registry::{ApiKey, PutApiKey, Scope},
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    asked::Asked,
    auth::{NewKey, Operator, scope_name},
    command::{Answer, Done, no_object, pending},
    context::{RequestContext, mint},
    merchants::page_of,
    params::{Params, PathId},
    problem::Problem,
    state::ApiState,
    views::{List, PendingDoc},
};

/// The list's name in cursors.
const LIST: &str = "api_keys";

/// A key's mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Mode {
    /// Test data.
    Test,
    /// Live data.
    Live,
}

impl Mode {
    const fn of(livemode: bool) -> Self {
        if livemode { Self::Live } else { Self::Test }
    }
}

/// What a key may do: read data; create, cancel and accept payments and manage webhook endpoints; record refunds; everything,
/// for every merchant.
#[derive(Debug, ToSchema)]
#[schema(as = Scope, rename_all = "snake_case")]
#[expect(dead_code, reason = "describes the model's type")]
enum ScopeDoc {
    Read,
    Write,
    Refund,
    Admin,
}

/// Create a key.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreateApiKey)]
struct Create {
    /// The merchant it acts for; absent for an operator's key, whose scope is `admin`.
    #[garde(skip)]
    #[schema(value_type = Option<String>, example = "mer_0192f1c2a3b4c5d6e7f8091a2b3c4d5e")]
    merchant: Option<MerchantId>,
    /// What it may do.
    #[garde(custom(one_to_four))]
    #[schema(value_type = Vec<ScopeDoc>, min_items = 1, max_items = 4)]
    scopes: Vec<Scope>,
    /// Which data it sees.
    #[garde(skip)]
    #[schema(inline)]
    mode: Mode,
}

fn one_to_four(scopes: &[Scope], (): &()) -> garde::Result {
    if scopes.is_empty() || scopes.len() > 4 {
        return Err(garde::Error::new("name 1 to 4 of read, write, refund, admin"));
    }
    Ok(())
}

/// A key. The key itself is in the answer that created it and never again.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiKey)]
struct View {
    /// `key_` and 32 hex digits.
    id: String,
    /// Always `api_key`.
    object: &'static str,
    /// The merchant it acts for; absent for an operator's key.
    #[schema(required)]
    merchant: Option<String>,
    #[schema(value_type = Vec<ScopeDoc>)]
    scopes: Vec<&'static str>,
    #[schema(inline)]
    mode: Mode,
    /// The key, in the answer that created it only; a replayed answer has none either, since it is not kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    key: Option<String>,
    /// Its last four characters.
    hint: String,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(required, format = DateTime)]
    revoked_at: Option<String>,
}

impl View {
    fn of(key: &ApiKey) -> Self {
        Self {
            id: key.id.to_string(),
            object: "api_key",
            merchant: key.merchant.map(|id| id.to_string()),
            scopes: key.scopes.iter().map(|scope| scope_name(*scope)).collect(),
            mode: Mode::of(key.livemode),
            key: None,
            hint: key.hint.clone(),
            created_at: key.created_at.to_string(),
            revoked_at: key.revoked_at.map(|time| time.to_string()),
        }
    }
}

/// The routes of this resource.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(get, revoke))
}

/// Create a key (operator)
#[utoipa::path(post, path = "/v1/api-keys", tag = "administration", request_body = Create, responses(
    (status = 201, description = "Created; `key` is shown this once", body = View),
    (status = 202, description = "Recorded; not answered in time: revoke it and create another", body = PendingDoc),
))]
async fn create(
    State(state): State<ApiState>,
    operator: Operator,
    context: RequestContext,
    asked: Asked<Create>,
) -> Result<Response, Problem> {
    let new = NewKey::draw(asked.body.mode == Mode::Live);
    let api_key = wanted(&state, asked.body, &new)?;
    let id = api_key.id;
    let command = PutApiKey {
        meta: state.meta(&context),
        administrator: state.administrator(operator.key, context.id, asked.idempotency),
        api_key,
    };
    match state.ask_registry(&id.to_string(), context.id, command).await? {
        Answer::Done(done) => created(&done, new),
        Answer::Pending(position) => Ok(pending(position, &format!("/v1/api-keys/{id}"))),
    }
}

fn wanted(state: &ApiState, mut body: Create, new: &NewKey) -> Result<ApiKey, Problem> {
    body.scopes.sort_unstable();
    body.scopes.dedup();
    let is_admin = body.scopes.contains(&Scope::Admin);
    match body.merchant {
        Some(_) if is_admin => {
            return Err(Problem::field("scopes", "`admin` is for an operator's key: leave `merchant` out"));
        }
        None if !is_admin => return Err(Problem::field("merchant", "name the merchant the key acts for")),
        Some(id) if state.registry().merchant(id).is_none() => {
            return Err(Problem::field("merchant", format!("there is no merchant `{id}`: create it first")));
        }
        _ => {}
    }
    Ok(ApiKey {
        id: mint(),
        merchant: body.merchant,
        scopes: body.scopes,
        livemode: body.mode == Mode::Live,
        key_hash: new.hash,
        hint: new.hint.clone(),
        created_at: state.now(),
        revoked_at: None,
    })
}

fn created(done: &Done, new: NewKey) -> Result<Response, Problem> {
    let kept = done.reply.api_key.as_ref().ok_or_else(no_object)?;
    // A replayed command kept the first key; the one drawn now belongs to nobody.
    let key = (kept.key_hash == new.hash).then_some(new.secret);
    let look = HeaderValue::from_str(&format!("/v1/api-keys/{}", kept.id)).map_err(|_| no_object())?;
    Ok(done.respond((StatusCode::CREATED, [(header::LOCATION, look)], Json(View { key, ..View::of(kept) }))))
}

/// Read a key (operator)
#[utoipa::path(get, path = "/v1/api-keys/{id}", tag = "administration", params(("id" = String, Path)), responses(
    (status = 200, description = "The key, without the key itself", body = View),
))]
async fn get(
    State(state): State<ApiState>,
    _: Operator,
    PathId(id): PathId<kind::ApiKey>,
    params: Params,
) -> Result<Response, Problem> {
    params.finish()?;
    let key = state.registry().key(id).ok_or_else(|| Problem::not_found("key", id))?;
    Ok(Json(View::of(&key)).into_response())
}

/// List keys, newest first (operator)
#[utoipa::path(get, path = "/v1/api-keys", tag = "administration", params(
    ("limit" = Option<u16>, Query, minimum = 1, maximum = 100),
    ("cursor" = Option<String>, Query),
    ("merchant" = Option<String>, Query, description = "Of this merchant only"),
), responses((status = 200, description = "A page", body = List<View>)))]
async fn list(State(state): State<ApiState>, _: Operator, mut params: Params) -> Result<Response, Problem> {
    let page = params.page::<ApiKeyId>(LIST)?;
    let merchant = params.parse::<MerchantId>("merchant")?;
    params.finish()?;
    let rows = state.registry().keys(merchant, page.after, usize::from(page.limit) + 1);
    Ok(Json(page_of(LIST, &page, &rows, |key| key.id, View::of)).into_response())
}

/// Revoke a key (operator)
///
/// It is refused from then on. Revoking it again changes nothing.
#[utoipa::path(delete, path = "/v1/api-keys/{id}", tag = "administration", params(("id" = String, Path)), responses(
    (status = 200, description = "Revoked", body = View),
    (status = 202, description = "Recorded; not answered in time", body = PendingDoc),
))]
async fn revoke(
    State(state): State<ApiState>,
    operator: Operator,
    PathId(id): PathId<kind::ApiKey>,
    context: RequestContext,
) -> Result<Response, Problem> {
    let key = state.registry().key(id).ok_or_else(|| Problem::not_found("key", id))?;
    if key.revoked_at.is_some() {
        return Ok(Json(View::of(&key)).into_response());
    }
    let command = PutApiKey {
        meta: state.meta(&context),
        administrator: state.administrator(operator.key, context.id, None),
        api_key: ApiKey { revoked_at: Some(state.now()), ..(*key).clone() },
    };
    match state.ask_registry(&id.to_string(), context.id, command).await? {
        Answer::Done(done) => {
            let key = done.reply.api_key.as_ref().ok_or_else(no_object)?;
            Ok(done.respond(Json(View::of(key))))
        }
        Answer::Pending(position) => Ok(pending(position, &format!("/v1/api-keys/{id}"))),
    }
}
