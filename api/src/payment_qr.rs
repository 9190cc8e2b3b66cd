//! `/v1/payments/{id}/qr.svg` and `.png`: what a wallet opens to pay, as a picture for a payment page. It says what the
//! payment's `payment_uri` says, and never changes.

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use streambook_model::{id::kind, payment_json::payment_uri, records::payment::Payment};
use streambook_runtime::step::chain_of;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::{ForMerchant, Read},
    params::{Params, PathId},
    payments::find,
    problem::Problem,
    qr::{self, Drawing, MARGINS, QrFailure, SCALES},
    state::ApiState,
};

/// Pixels of a module where nothing is asked for.
const SCALE: u16 = 8;
/// Light modules around the code where nothing is asked for.
const MARGIN: u16 = 4;
/// A browser may keep a picture for a day; nobody in between may.
const KEEP: HeaderValue = HeaderValue::from_static("private, max-age=86400, immutable");

/// The routes of this resource.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(svg)).routes(routes!(png))
}

/// A payment's QR code as SVG
#[utoipa::path(get, path = "/v1/payments/{id}/qr.svg", tag = "payments", params(
    ("id" = String, Path),
    ("scale" = Option<u16>, Query, minimum = 1, maximum = 32, description = "Pixels of a module; 8 if absent"),
    ("margin" = Option<u16>, Query, minimum = 4, maximum = 16, description = "Light modules around the code; 4 if absent"),
), responses((status = 200, description = "The picture", body = String, content_type = "image/svg+xml")))]
async fn svg(
    State(state): State<ApiState>,
    caller: ForMerchant<Read>,
    PathId(id): PathId<kind::Payment>,
    headers: HeaderMap,
    mut params: Params,
) -> Result<Response, Problem> {
    let drawing = drawing(&mut params)?;
    params.finish()?;
    let stale = state.is_stale(caller.scope, &headers).await?;
    let payment = find(&state, caller.scope, id).await.map_err(|problem| problem.where_stale(stale))?;
    let picture = qr::svg(&uri(&payment)?, drawing).map_err(failed)?;
    Ok(shown("image/svg+xml", picture))
}

/// A payment's QR code as PNG
#[utoipa::path(get, path = "/v1/payments/{id}/qr.png", tag = "payments", params(
    ("id" = String, Path),
    ("scale" = Option<u16>, Query, minimum = 1, maximum = 32, description = "Pixels of a module; 8 if absent"),
    ("margin" = Option<u16>, Query, minimum = 4, maximum = 16, description = "Light modules around the code; 4 if absent"),
), responses((status = 200, description = "The picture", body = Vec<u8>, content_type = "image/png")))]
async fn png(
    State(state): State<ApiState>,
    caller: ForMerchant<Read>,
    PathId(id): PathId<kind::Payment>,
    headers: HeaderMap,
    mut params: Params,
) -> Result<Response, Problem> {
    let drawing = drawing(&mut params)?;
    params.finish()?;
    let stale = state.is_stale(caller.scope, &headers).await?;
    let payment = find(&state, caller.scope, id).await.map_err(|problem| problem.where_stale(stale))?;
    let picture = qr::png(&uri(&payment)?, drawing).map_err(failed)?;
    Ok(shown("image/png", picture))
}

fn drawing(params: &mut Params) -> Result<Drawing, Problem> {
    let scale = bounded(params, "scale", SCALE, &SCALES)?;
    let margin = bounded(params, "margin", MARGIN, &MARGINS)?;
    Ok(Drawing { scale, margin })
}

fn bounded(
    params: &mut Params,
    name: &str,
    usual: u16,
    range: &std::ops::RangeInclusive<u16>,
) -> Result<u16, Problem> {
    let given = params.parse::<u16>(name)?.unwrap_or(usual);
    if range.contains(&given) {
        return Ok(given);
    }
    Err(Problem::field(name, format!("use {} to {}", range.start(), range.end())))
}

fn uri(payment: &Payment) -> Result<String, Problem> {
    payment_uri(payment).ok_or_else(|| {
        let detail = "it is not paid on a chain, so there is nothing for a wallet to open";
        Problem::new(StatusCode::CONFLICT, "no_payment_uri", detail)
    })
}

fn shown(kind: &'static str, picture: impl IntoResponse) -> Response {
    let mut response = picture.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(header::CACHE_CONTROL, KEEP);
    response
}

/// A payment URI has at most 200 characters and a code holds ten times as many, so this is a defect.
#[expect(clippy::needless_pass_by_value, reason = "the signature that `map_err` asks for")]
fn failed(error: QrFailure) -> Problem {
    tracing::error!(error = chain_of(&error), "a QR code cannot be drawn");
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "qr_failed",
        "the picture cannot be made: tell the operator",
    )
}
