//! `/v1/merchants`: the operator's administration of merchants.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use garde::Validate;
use serde::{Deserialize, Serialize};
use streambook_model::{
    id::{MerchantId, kind},
    records::registry::{Merchant, PutMerchant},
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
    problem::Problem,
    state::ApiState,
    views::{List, PendingDoc, text},
};

/// The list's name in cursors.
const LIST: &str = "merchants";
/// The templates of a merchant that does not say.
const SETTLEMENT: &str = "custodial";

/// Create a merchant.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreateMerchant)]
struct Create {
    /// Its name, for people.
    #[garde(custom(readable))]
    #[schema(min_length = 1, max_length = 200, example = "shop")]
    name: String,
    /// The set of posting templates for its books.
    #[garde(skip)]
    #[schema(example = "custodial", default = "custodial")]
    settlement: Option<String>,
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
    #[schema(format = DateTime)]
    created_at: String,
}

impl View {
    fn of(merchant: &Merchant) -> Self {
        Self {
            id: merchant.id.to_string(),
            object: "merchant",
            name: merchant.name.clone(),
            settlement: merchant.settlement.clone(),
            created_at: merchant.created_at.to_string(),
        }
    }
}

/// The routes of this resource.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(get))
}

/// Create a merchant (operator)
#[utoipa::path(post, path = "/v1/merchants", tag = "administration", request_body = Create, responses(
    (status = 201, description = "Created", body = View),
    (status = 202, description = "Recorded; not answered in time", body = PendingDoc),
))]
async fn create(
    State(state): State<ApiState>,
    operator: Operator,
    context: RequestContext,
    asked: Asked<Create>,
) -> Result<Response, Problem> {
    let id: MerchantId = mint();
    let settlement = settlement(&state, asked.body.settlement)?;
    let command = PutMerchant {
        meta: state.meta(&context),
        administrator: state.administrator(operator.key, context.id, asked.idempotency),
        merchant: Merchant { id, name: asked.body.name, settlement, created_at: state.now() },
    };
    match state.ask_registry(&id.to_string(), context.id, command).await? {
        Answer::Done(done) => {
            let merchant = done.reply.merchant.as_ref().ok_or_else(no_object)?;
            let look =
                HeaderValue::from_str(&format!("/v1/merchants/{}", merchant.id)).map_err(|_| no_object())?;
            Ok(done.respond((StatusCode::CREATED, [(header::LOCATION, look)], Json(View::of(merchant)))))
        }
        Answer::Pending(position) => Ok(pending(position, &format!("/v1/merchants/{id}"))),
    }
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
    Ok(Json(View::of(&merchant)).into_response())
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
    Ok(Json(page_of(LIST, &page, &rows, |merchant| merchant.id, View::of)).into_response())
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
