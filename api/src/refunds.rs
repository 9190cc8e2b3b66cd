//! `/v1/refunds`: record a refund, read and list refunds.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use garde::Validate;
use serde::Deserialize;
use streambook_model::{
    id::{PaymentId, RefundId, kind},
    payment_json::refund_json,
    records::book::CreateRefund,
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    asked::Asked,
    auth::{ForMerchant, Read, Refund},
    command::{Answer, no_object, pending},
    context::{RequestContext, mint},
    params::{Params, PathId},
    payments,
    problem::Problem,
    state::ApiState,
    views::{DecimalText, List, PendingDoc, RefundDoc, optional_text, read_answer},
};

/// Record a refund.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreateRefund)]
struct Create {
    /// The payment that money is returned of.
    #[garde(skip)]
    #[schema(value_type = String, example = "pay_0192f1c2a3b4c5d6e7f8091a2b3c4d5e")]
    payment: PaymentId,
    /// What is returned: a decimal number as text, more than zero. Absent: all that is left.
    #[garde(skip)]
    #[schema(value_type = Option<String>, example = "2.50", pattern = "^[0-9]+(\\.[0-9]+)?$")]
    amount: Option<DecimalText>,
    /// Where it goes; never guessed from the sender.
    #[garde(custom(optional_text(200)))]
    #[schema(max_length = 200)]
    destination: Option<String>,
    /// The transaction that carries it out, where it is known.
    #[garde(custom(optional_text(200)))]
    #[schema(max_length = 200)]
    reference: Option<String>,
    /// Why.
    #[garde(custom(optional_text(500)))]
    #[schema(max_length = 500)]
    reason: Option<String>,
}

/// The routes of this resource.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(get))
}

/// Record a refund
///
/// The amount is reserved in the step that accepts it.
#[utoipa::path(post, path = "/v1/refunds", tag = "refunds", request_body = Create, responses(
    (status = 201, description = "Recorded", body = RefundDoc),
    (status = 202, description = "Recorded; not answered in time", body = PendingDoc),
))]
async fn create(
    State(state): State<ApiState>,
    caller: ForMerchant<Refund>,
    context: RequestContext,
    headers: HeaderMap,
    asked: Asked<Create>,
) -> Result<Response, Problem> {
    // The payment is read for its asset's decimal places only; the book decides, on its own state.
    let stale = state.is_stale(caller.scope, &headers).await?;
    let Asked { body, idempotency } = asked;
    let found = payments::find(&state, caller.scope, body.payment).await;
    let payment = found.map_err(|problem| problem.where_stale(stale))?;
    let amount =
        body.amount.as_ref().map(|text| payments::positive("amount", text, payment.scale)).transpose()?;
    let refund: RefundId = mint();
    let command = CreateRefund {
        meta: state.meta(&context),
        caller: state.caller(caller.scope, context.id, idempotency),
        refund,
        payment: body.payment,
        amount,
        destination: body.destination,
        reference: body.reference,
        reason: body.reason,
    };
    match state.ask_book(caller.scope.merchant, context.id, command).await? {
        Answer::Done(done) => {
            let refund = done.reply.refund.as_ref().ok_or_else(no_object)?;
            let look =
                HeaderValue::from_str(&format!("/v1/refunds/{}", refund.id)).map_err(|_| no_object())?;
            Ok(done.respond((StatusCode::CREATED, [(header::LOCATION, look)], Json(refund_json(refund)))))
        }
        Answer::Pending(position) => Ok(pending(position, &format!("/v1/refunds/{refund}"))),
    }
}

/// Read a refund
#[utoipa::path(get, path = "/v1/refunds/{id}", tag = "refunds", params(("id" = String, Path)), responses(
    (status = 200, description = "The refund", body = RefundDoc),
))]
async fn get(
    State(state): State<ApiState>,
    caller: ForMerchant<Read>,
    PathId(id): PathId<kind::Refund>,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, Problem> {
    params.finish()?;
    let stale = state.is_stale(caller.scope, &headers).await?;
    let refund = state.reads()?.refund(caller.scope, id).await.map_err(Problem::reading)?;
    let refund = refund.ok_or_else(|| Problem::not_found("refund", id).where_stale(stale))?;
    Ok(read_answer(stale, refund_json(&refund)))
}

/// List a payment's refunds, oldest first
#[utoipa::path(get, path = "/v1/refunds", tag = "refunds", params(("payment" = String, Query)), responses(
    (status = 200, description = "All of them", body = List<RefundDoc>),
))]
async fn list(
    State(state): State<ApiState>,
    caller: ForMerchant<Read>,
    headers: HeaderMap,
    mut params: Params,
) -> Result<Response, Problem> {
    let payment = params.parse::<PaymentId>("payment")?;
    let payment =
        payment.ok_or_else(|| Problem::field("payment", "name the payment whose refunds you want"))?;
    params.finish()?;
    let stale = state.is_stale(caller.scope, &headers).await?;
    let refunds = state.reads()?.refunds_of(caller.scope, payment).await.map_err(Problem::reading)?;
    let data: Vec<_> = refunds.iter().map(refund_json).collect();
    Ok(read_answer(stale, List { data, next_cursor: None }))
}
