//! `/v1/payments`: create, read, list, cancel, accept.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use garde::Validate;
use serde::Deserialize;
use streambook_model::{
    asset::AssetId,
    bytes::TxHash,
    id::{PaymentId, kind},
    metadata::Metadata,
    money::Amount,
    payment_json::payment_view,
    records::{
        book::{AcceptPayment, CancelPayment, ClaimPayment, CreatePayment},
        payment::{Matching, Payment, PaymentMethod, PaymentStatus, PaymentTransferStatus},
    },
    time::Timestamp,
};
use streambook_sinks::sql::{ChainHeadRow, PaymentFilter, PaymentKey, Scope};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    asked::{Asked, Nothing},
    auth::{ForMerchant, Read, Write},
    command::{Answer, Done, no_object, pending},
    context::{RequestContext, mint},
    cursor,
    params::{Params, PathId},
    problem::Problem,
    state::ApiState,
    views::{
        AddressText, DecimalText, List, MatchingDoc, MethodDoc, PaymentDoc, PendingDoc, optional_text,
        read_answer,
    },
};

/// The list's name in cursors.
const LIST: &str = "payments";
/// Seconds to the deadline of a payment that does not say.
const EXPIRES_IN: u32 = 1_800;

/// Create a payment.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreatePayment)]
struct Create {
    /// What is to be paid: a decimal number as text, more than zero.
    #[garde(skip)]
    #[schema(value_type = String, example = "12.50", pattern = "^[0-9]+(\\.[0-9]+)?$")]
    amount: DecimalText,
    /// A configured asset, or for a card a currency.
    #[garde(skip)]
    #[schema(value_type = String, example = "usdc:31337")]
    asset: AssetId,
    /// How it is paid.
    #[garde(skip)]
    #[serde(default = "chain")]
    #[schema(value_type = MethodDoc, inline, default = "chain")]
    method: PaymentMethod,
    /// How transfers are matched: `deposit_address` (an address of its own, the default) or `exact_amount` (the merchant's
    /// address, and an amount that no other open payment has there).
    #[garde(skip)]
    #[schema(value_type = Option<MatchingDoc>)]
    matching: Option<Matching>,
    /// Who pays: transactions of this address can be claimed for the payment. With the matching `exact_amount`.
    #[garde(skip)]
    #[schema(value_type = Option<String>, example = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed")]
    payer_address: Option<AddressText>,
    /// Your own reference.
    #[garde(custom(optional_text(200)))]
    #[schema(max_length = 200, example = "ORDER_1")]
    reference_id: Option<String>,
    /// Your own text.
    #[garde(custom(optional_text(1_000)))]
    #[schema(max_length = 1000)]
    description: Option<String>,
    /// Your own pairs: at most 50, names of at most 40 characters, values of at most 500.
    #[garde(custom(pairs))]
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    /// Seconds to the deadline.
    #[garde(custom(seconds))]
    #[schema(minimum = 60, maximum = 604_800, default = 1800)]
    expires_in: Option<u32>,
}

fn chain() -> PaymentMethod {
    PaymentMethod::Chain
}

fn pairs(pairs: &BTreeMap<String, String>, (): &()) -> garde::Result {
    let long = |text: &str, most| text.chars().count() > most || text.contains('\0');
    let wrong = pairs.len() > 50
        || pairs.iter().any(|(name, value)| name.is_empty() || long(name, 40) || long(value, 500));
    let remedy = "use at most 50 pairs, names of 1 to 40 characters, values of at most 500, none of them NUL";
    if wrong { Err(garde::Error::new(remedy)) } else { Ok(()) }
}

fn seconds(given: &Option<u32>, (): &()) -> garde::Result {
    let fits = given.is_none_or(|seconds| (60..=604_800).contains(&seconds));
    if fits { Ok(()) } else { Err(garde::Error::new("use 60 to 604800 seconds")) }
}

/// The routes of this resource.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get))
        .routes(routes!(cancel))
        .routes(routes!(accept))
        .routes(routes!(claim))
}

/// Create a payment
///
/// Answered when the book has accepted it and it is on disk.
#[utoipa::path(post, path = "/v1/payments", tag = "payments", request_body = Create, responses(
    (status = 201, description = "Created", body = PaymentDoc),
    (status = 202, description = "Recorded; not answered in time", body = PendingDoc),
))]
async fn create(
    State(state): State<ApiState>,
    caller: ForMerchant<Write>,
    context: RequestContext,
    asked: Asked<Create>,
) -> Result<Response, Problem> {
    let payment: PaymentId = mint();
    let command = command(&state, caller.scope, &context, asked, payment)?;
    let look = format!("/v1/payments/{payment}");
    match state.ask_book(caller.scope.merchant, context.id, command).await? {
        Answer::Done(done) => created(&done),
        Answer::Pending(position) => Ok(pending(position, &look)),
    }
}

fn created(done: &Done) -> Result<Response, Problem> {
    let payment = done.reply.payment.as_ref().ok_or_else(no_object)?;
    let look = HeaderValue::from_str(&format!("/v1/payments/{}", payment.id)).map_err(|_| no_object())?;
    Ok(done.respond((StatusCode::CREATED, [(header::LOCATION, look)], Json(payment_view(payment)))))
}

fn command(
    state: &ApiState,
    scope: Scope,
    context: &RequestContext,
    asked: Asked<Create>,
    payment: PaymentId,
) -> Result<CreatePayment, Problem> {
    let Asked { body, idempotency } = asked;
    let scale = scale(state, body.method, &body.asset)?;
    Ok(CreatePayment {
        meta: state.meta(context),
        caller: state.caller(scope, context.id, idempotency),
        payment,
        amount: positive("amount", &body.amount, scale)?,
        asset: body.asset,
        method: body.method,
        reference_id: body.reference_id,
        description: body.description,
        metadata: Metadata(body.metadata),
        expires_in_seconds: body.expires_in.unwrap_or(EXPIRES_IN),
        matching: body.matching,
        payer: body.payer_address.map(|address| address.0),
    })
}

/// Reads an amount of more than nothing.
pub(crate) fn positive(field: &str, text: &DecimalText, scale: u8) -> Result<Amount, Problem> {
    let amount = Amount::parse_decimal(&text.0, scale).map_err(|error| Problem::field(field, error))?;
    if amount.is_positive() { Ok(amount) } else { Err(Problem::field(field, "must be more than zero")) }
}

/// The decimal places of an asset that can be paid in this way.
fn scale(state: &ApiState, method: PaymentMethod, asset: &AssetId) -> Result<u8, Problem> {
    match method {
        PaymentMethod::Chain => {
            let on_chain = asset.chain().and_then(|_| state.registry().asset(asset));
            on_chain.map(|asset| asset.scale).ok_or_else(|| {
                let accepted = state.registry().chain_assets();
                let names: Vec<_> = accepted.iter().take(20).map(AssetId::as_str).collect();
                let names = if names.is_empty() { "none is configured".to_owned() } else { names.join(", ") };
                Problem::field("asset", format!("`{asset}` is not accepted on a chain; accepted: {names}"))
            })
        }
        PaymentMethod::Card => {
            let currency = asset.chain().is_none().then(|| state.registry().scale(asset)).flatten();
            let remedy = || {
                Problem::field(
                    "asset",
                    format!("`{asset}` cannot be paid by card: use a currency such as `usd`"),
                )
            };
            currency.ok_or_else(remedy)
        }
    }
}

/// Cancel a payment
///
/// Only while nothing has been received for it.
#[utoipa::path(post, path = "/v1/payments/{id}/cancel", tag = "payments", params(("id" = String, Path)), responses(
    (status = 200, description = "Canceled", body = PaymentDoc),
    (status = 202, description = "Recorded; not answered in time", body = PendingDoc),
))]
async fn cancel(
    State(state): State<ApiState>,
    caller: ForMerchant<Write>,
    PathId(payment): PathId<kind::Payment>,
    context: RequestContext,
    asked: Asked<Nothing>,
) -> Result<Response, Problem> {
    let record_caller = state.caller(caller.scope, context.id, asked.idempotency);
    let command = CancelPayment { meta: state.meta(&context), caller: record_caller, payment };
    changed(state.ask_book(caller.scope.merchant, context.id, command).await?, payment)
}

/// Accept an underpaid, overpaid or late payment as it is
#[utoipa::path(post, path = "/v1/payments/{id}/accept", tag = "payments", params(("id" = String, Path)), responses(
    (status = 200, description = "Accepted", body = PaymentDoc),
    (status = 202, description = "Recorded; not answered in time", body = PendingDoc),
))]
async fn accept(
    State(state): State<ApiState>,
    caller: ForMerchant<Write>,
    PathId(payment): PathId<kind::Payment>,
    context: RequestContext,
    asked: Asked<Nothing>,
) -> Result<Response, Problem> {
    let record_caller = state.caller(caller.scope, context.id, asked.idempotency);
    let command = AcceptPayment { meta: state.meta(&context), caller: record_caller, payment };
    changed(state.ask_book(caller.scope.merchant, context.id, command).await?, payment)
}

/// Claim a transaction.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ClaimTransaction)]
struct Claim {
    /// The transaction that paid: `0x` and 64 hex digits.
    #[garde(skip)]
    #[schema(value_type = String, pattern = "^0x[0-9a-fA-F]{64}$")]
    transaction_hash: TxHash,
}

/// Claim a transaction for a payment
///
/// What the payment's `payer_address` has sent to the merchant's address in it, and what is not another payment's exact amount,
/// counts for this payment. How it stands is in `claims`.
#[utoipa::path(post, path = "/v1/payments/{id}/claim", tag = "payments", params(("id" = String, Path)), request_body = Claim,
    responses(
        (status = 200, description = "Claimed", body = PaymentDoc),
        (status = 202, description = "Recorded; not answered in time", body = PendingDoc),
    ))]
async fn claim(
    State(state): State<ApiState>,
    caller: ForMerchant<Write>,
    PathId(payment): PathId<kind::Payment>,
    context: RequestContext,
    asked: Asked<Claim>,
) -> Result<Response, Problem> {
    let record_caller = state.caller(caller.scope, context.id, asked.idempotency);
    let tx_hash = asked.body.transaction_hash;
    let command = ClaimPayment { meta: state.meta(&context), caller: record_caller, payment, tx_hash };
    changed(state.ask_book(caller.scope.merchant, context.id, command).await?, payment)
}

fn changed(answer: Answer, payment: PaymentId) -> Result<Response, Problem> {
    match answer {
        Answer::Done(done) => {
            let payment = done.reply.payment.as_ref().ok_or_else(no_object)?;
            Ok(done.respond(Json(payment_view(payment))))
        }
        Answer::Pending(position) => Ok(pending(position, &format!("/v1/payments/{payment}"))),
    }
}

/// Read a payment
#[utoipa::path(get, path = "/v1/payments/{id}", tag = "payments", params(("id" = String, Path)), responses(
    (status = 200, description = "The payment", body = PaymentDoc),
))]
async fn get(
    State(state): State<ApiState>,
    caller: ForMerchant<Read>,
    PathId(id): PathId<kind::Payment>,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, Problem> {
    params.finish()?;
    let stale = state.is_stale(caller.scope, &headers).await?;
    let found = find(&state, caller.scope, id).await;
    let mut payment = found.map_err(|problem| problem.where_stale(stale))?;
    if let Some(chain) = payment.chain.filter(|_| payment.status == PaymentStatus::Confirming) {
        let head = state.reads()?.chain_head(chain).await.map_err(Problem::reading)?;
        count_confirmations(&mut payment, head.as_slice());
    }
    Ok(read_answer(stale, payment_view(&payment)))
}

/// A merchant's payment, or the problem that there is none.
pub(crate) async fn find(state: &ApiState, scope: Scope, id: PaymentId) -> Result<Payment, Problem> {
    let payment = state.reads()?.payment(scope, id).await.map_err(Problem::reading)?;
    payment.ok_or_else(|| Problem::not_found("payment", id))
}

/// List payments, newest first
#[utoipa::path(get, path = "/v1/payments", tag = "payments", params(
    ("limit" = Option<u16>, Query, minimum = 1, maximum = 100),
    ("cursor" = Option<String>, Query),
    ("status" = Option<crate::views::StatusDoc>, Query),
    ("reference_id" = Option<String>, Query),
    ("created_from" = Option<String>, Query, description = "Created at this time or later (RFC 3339)"),
    ("created_before" = Option<String>, Query, description = "Created before this time (RFC 3339)"),
), responses((status = 200, description = "A page", body = List<PaymentDoc>)))]
async fn list(
    State(state): State<ApiState>,
    caller: ForMerchant<Read>,
    headers: HeaderMap,
    mut params: Params,
) -> Result<Response, Problem> {
    let page = params.page::<PaymentKey>(LIST)?;
    let filter = PaymentFilter {
        status: params.named::<PaymentStatus>("status")?,
        reference_id: params.take("reference_id")?,
        created_from: params.named::<Timestamp>("created_from")?,
        created_before: params.named::<Timestamp>("created_before")?,
    };
    params.finish()?;
    let stale = state.is_stale(caller.scope, &headers).await?;
    let mut listed = state.reads()?.payments(caller.scope, &filter, page).await.map_err(Problem::reading)?;
    if listed.rows.iter().any(|payment| payment.status == PaymentStatus::Confirming) {
        let heads = state.reads()?.chain_heads().await.map_err(Problem::reading)?;
        listed.rows.iter_mut().for_each(|payment| count_confirmations(payment, &heads));
    }
    let next_cursor = listed.next.map(|key| cursor::write(LIST, &key));
    let data: Vec<_> = listed.rows.iter().map(payment_view).collect();
    Ok(read_answer(stale, List { data, next_cursor }))
}

/// Counts the confirmations of a confirming payment's least confirmed transfer up to the chain's head: events are not made
/// for every block.
fn count_confirmations(payment: &mut Payment, heads: &[ChainHeadRow]) {
    let head = heads.iter().find(|head| Some(head.chain) == payment.chain);
    let Some(head) = head.filter(|_| payment.status == PaymentStatus::Confirming) else { return };
    let standing =
        payment.transfers.iter().filter(|transfer| transfer.status != PaymentTransferStatus::Orphaned);
    let newest = standing.map(|transfer| transfer.block_number.0).max();
    if let Some(blocks) = newest.and_then(|newest| (head.number.0 + 1).checked_sub(newest)) {
        payment.confirmations = u32::try_from(blocks).unwrap_or(u32::MAX);
    }
}
