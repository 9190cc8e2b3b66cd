//! `/v1/merchants`: the operator's administration of merchants.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use garde::Validate;
use serde::{Deserialize, Serialize};
use streambook_model::{
    asset::AssetId,
    chain::ChainId,
    id::{MerchantId, kind},
    payment_json::amount_text,
    records::registry::{AssetAmount, FixedAddress, Merchant, PutMerchant, Tolerance},
};
use streambook_sinks::sql::Page;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    asked::Asked,
    auth::Operator,
    command::{Answer, no_object, pending},
    context::{RequestContext, mint},
    cursor,
    params::{Params, PathId},
    payments::positive,
    problem::Problem,
    state::ApiState,
    views::{AddressText, DecimalText, List, PendingDoc, text},
};

/// The list's name in cursors.
const LIST: &str = "merchants";
/// The templates of a merchant that does not say.
const SETTLEMENT: &str = "custodial";

/// A merchant as it shall be: what is left out is none, or the default.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PutMerchant)]
struct Put {
    /// Its name, for people.
    #[garde(custom(readable))]
    #[schema(min_length = 1, max_length = 200, example = "shop")]
    name: String,
    /// The set of posting templates for its books.
    #[garde(skip)]
    #[schema(example = "custodial", default = "custodial")]
    settlement: Option<String>,
    /// Its own addresses by chain id, for payments matched by their exact amount. An address is one merchant's for ever.
    #[garde(skip)]
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>, example = json!({"1": "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"}))]
    addresses: BTreeMap<ChainText, AddressText>,
    /// By how much what is received for its chain payments may differ from their amount.
    #[garde(skip)]
    tolerance: Option<PutTolerance>,
}

/// A tolerance: the larger of the two, and never more than a tenth of the amount.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Tolerance)]
struct PutTolerance {
    /// Millionths of the amount, rounded down: 1,000 is 0.1%.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 100_000, example = 1_000)]
    parts_per_million: u32,
    /// At least so much, by asset.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>, example = json!({"usdc:1": "0.01"}))]
    amounts: BTreeMap<AssetId, DecimalText>,
}

/// A chain's id as the name of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
struct ChainText(ChainId);

impl TryFrom<String> for ChainText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let id = text.parse::<u64>().ok().filter(|id| i64::try_from(*id).is_ok() && id.to_string() == text);
        id.map(|id| Self(ChainId(id))).ok_or_else(|| format!("`{text}` is not a chain id such as `1`"))
    }
}

fn readable(given: &str, (): &()) -> garde::Result {
    text(1, 200)(given)
}

/// A merchant.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Merchant)]
struct View {
    /// `mer_` and 32 hex digits.
    id: String,
    /// Always `merchant`.
    object: &'static str,
    name: String,
    settlement: String,
    /// Its own addresses by chain id.
    addresses: BTreeMap<String, String>,
    #[schema(required)]
    tolerance: Option<ToleranceView>,
    #[schema(format = DateTime)]
    created_at: String,
}

/// By how much what is received may differ: the larger of the two, and never more than a tenth of the amount.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MerchantTolerance)]
struct ToleranceView {
    /// Millionths of the amount, rounded down.
    parts_per_million: u32,
    /// At least so much, by asset.
    amounts: BTreeMap<String, String>,
}

impl ToleranceView {
    fn of(tolerance: &Tolerance, state: &ApiState) -> Self {
        let amounts = tolerance.amounts.iter().filter_map(|least| {
            let scale = state.registry().scale(&least.asset)?;
            Some((least.asset.to_string(), amount_text(least.amount, scale)))
        });
        Self { parts_per_million: tolerance.parts_per_million, amounts: amounts.collect() }
    }
}

impl View {
    fn of(merchant: &Merchant, state: &ApiState) -> Self {
        Self {
            id: merchant.id.to_string(),
            object: "merchant",
            name: merchant.name.clone(),
            settlement: merchant.settlement.clone(),
            addresses: merchant
                .addresses
                .iter()
                .map(|fixed| (fixed.chain.to_string(), fixed.address.to_checksum()))
                .collect(),
            tolerance: merchant.tolerance.as_ref().map(|tolerance| ToleranceView::of(tolerance, state)),
            created_at: merchant.created_at.to_string(),
        }
    }
}

/// The routes of this resource.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(get, put))
}

/// Create a merchant (operator)
#[utoipa::path(post, path = "/v1/merchants", tag = "administration", request_body = Put, responses(
    (status = 201, description = "Created", body = View),
    (status = 202, description = "Recorded; not answered in time", body = PendingDoc),
))]
async fn create(
    State(state): State<ApiState>,
    operator: Operator,
    context: RequestContext,
    asked: Asked<Put>,
) -> Result<Response, Problem> {
    let id: MerchantId = mint();
    let command = command(&state, &operator, &context, id, asked)?;
    match state.ask_registry(&id.to_string(), context.id, command).await? {
        Answer::Done(done) => {
            let merchant = done.reply.merchant.as_ref().ok_or_else(no_object)?;
            let look =
                HeaderValue::from_str(&format!("/v1/merchants/{}", merchant.id)).map_err(|_| no_object())?;
            let view = Json(View::of(merchant, &state));
            Ok(done.respond((StatusCode::CREATED, [(header::LOCATION, look)], view)))
        }
        Answer::Pending(position) => Ok(pending(position, &format!("/v1/merchants/{id}"))),
    }
}

/// Replace a merchant (operator)
///
/// Everything is as the body says afterwards. Payments that exist keep the terms they were made with.
#[utoipa::path(put, path = "/v1/merchants/{id}", tag = "administration", params(("id" = String, Path)), request_body = Put,
    responses(
        (status = 200, description = "The merchant", body = View),
        (status = 202, description = "Recorded; not answered in time", body = PendingDoc),
    ))]
async fn put(
    State(state): State<ApiState>,
    operator: Operator,
    PathId(id): PathId<kind::Merchant>,
    context: RequestContext,
    asked: Asked<Put>,
) -> Result<Response, Problem> {
    state.registry().merchant(id).ok_or_else(|| Problem::not_found("merchant", id))?;
    let command = command(&state, &operator, &context, id, asked)?;
    match state.ask_registry(&id.to_string(), context.id, command).await? {
        Answer::Done(done) => {
            let merchant = done.reply.merchant.as_ref().ok_or_else(no_object)?;
            Ok(done.respond(Json(View::of(merchant, &state))))
        }
        Answer::Pending(position) => Ok(pending(position, &format!("/v1/merchants/{id}"))),
    }
}

fn command(
    state: &ApiState,
    operator: &Operator,
    context: &RequestContext,
    id: MerchantId,
    asked: Asked<Put>,
) -> Result<PutMerchant, Problem> {
    let Asked { body, idempotency } = asked;
    let addresses =
        body.addresses.iter().map(|(chain, address)| FixedAddress { chain: chain.0, address: address.0 });
    let merchant = Merchant {
        id,
        name: body.name,
        settlement: settlement(state, body.settlement)?,
        created_at: state.now(),
        addresses: addresses.collect(),
        tolerance: body.tolerance.map(|given| tolerance(state, given)).transpose()?,
    };
    let administrator = state.administrator(operator.key, context.id, idempotency);
    Ok(PutMerchant { meta: state.meta(context), administrator, merchant })
}

fn tolerance(state: &ApiState, given: PutTolerance) -> Result<Tolerance, Problem> {
    let amounts = given.amounts.into_iter().map(|(asset, text)| {
        let field = format!("tolerance.amounts.{asset}");
        let scale = state.registry().asset(&asset).map(|asset| asset.scale);
        let scale = scale.ok_or_else(|| Problem::field(&*field, "there is no such asset here"))?;
        Ok(AssetAmount { amount: positive(&field, &text, scale)?, asset })
    });
    let amounts = amounts.collect::<Result<_, Problem>>()?;
    Ok(Tolerance { parts_per_million: given.parts_per_million, amounts })
}

/// The named set of templates, which the settings must have.
fn settlement(state: &ApiState, given: Option<String>) -> Result<String, Problem> {
    let known = state.registry().settlements();
    match given {
        None => Ok(SETTLEMENT.to_owned()),
        Some(given) if known.contains(&given) => Ok(given),
        Some(_) => Err(Problem::field(
            "settlement",
            format!("no such set of posting templates; there are {}", known.join(", ")),
        )),
    }
}

/// Read a merchant (operator)
#[utoipa::path(get, path = "/v1/merchants/{id}", tag = "administration", params(("id" = String, Path)), responses(
    (status = 200, description = "The merchant", body = View),
))]
async fn get(
    State(state): State<ApiState>,
    _: Operator,
    PathId(id): PathId<kind::Merchant>,
    params: Params,
) -> Result<Response, Problem> {
    params.finish()?;
    let merchant = state.registry().merchant(id).ok_or_else(|| Problem::not_found("merchant", id))?;
    Ok(Json(View::of(&merchant, &state)).into_response())
}

/// List merchants, newest first (operator)
#[utoipa::path(get, path = "/v1/merchants", tag = "administration", params(
    ("limit" = Option<u16>, Query, minimum = 1, maximum = 100),
    ("cursor" = Option<String>, Query),
), responses((status = 200, description = "A page", body = List<View>)))]
async fn list(State(state): State<ApiState>, _: Operator, mut params: Params) -> Result<Response, Problem> {
    let page = params.page::<MerchantId>(LIST)?;
    params.finish()?;
    let rows = state.registry().merchants(page.after, usize::from(page.limit) + 1);
    Ok(Json(page_of(LIST, &page, &rows, |merchant| merchant.id, |merchant| View::of(merchant, &state)))
        .into_response())
}

/// A page of what the registry's view gave: one row more than the page shows that there is another page.
pub(crate) fn page_of<T, K: Serialize, V>(
    list: &'static str,
    page: &Page<K>,
    rows: &[Arc<T>],
    key: impl Fn(&T) -> K,
    view: impl Fn(&T) -> V,
) -> List<V> {
    let most = usize::from(page.limit);
    let data = rows.iter().take(most).map(|row| view(row)).collect();
    let last = rows.get(most.saturating_sub(1)).filter(|_| rows.len() > most);
    List { data, next_cursor: last.map(|row| cursor::write(list, &key(row))) }
}
