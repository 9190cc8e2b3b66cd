//! `/v1/dead-letters`: what could not be processed, for the operator.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;
use streambook_sinks::sql::{PositionKey, StoredDeadLetter};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{auth::Operator, cursor, params::Params, problem::Problem, state::ApiState, views::List};

/// The list's name in cursors.
const LIST: &str = "dead_letters";

/// A record that changed nothing because it could not be used.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeadLetter)]
struct View {
    /// `dl_` and 32 hex digits.
    id: String,
    /// The task or connector that could not use it.
    task: String,
    /// Where it was read.
    topic: String,
    partition: u16,
    offset: u64,
    /// A stable code for the reason.
    code: String,
    /// The reason in words.
    reason: String,
    /// The record, as base64.
    record: String,
    /// When it happened.
    #[schema(format = DateTime)]
    occurred_at: String,
}

impl View {
    fn of(letter: &StoredDeadLetter) -> Self {
        Self {
            id: letter.letter.to_string(),
            task: letter.task.clone(),
            topic: letter.from.topic.to_string(),
            partition: letter.from.partition.0,
            offset: letter.offset.0,
            code: letter.code.clone(),
            reason: letter.reason.clone(),
            record: STANDARD.encode(&letter.record),
            occurred_at: letter.occurred_at.to_string(),
        }
    }
}

/// The routes of this resource.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list))
}

/// List dead letters, newest of each partition first (operator)
#[utoipa::path(get, path = "/v1/dead-letters", tag = "administration", params(
    ("limit" = Option<u16>, Query, minimum = 1, maximum = 100),
    ("cursor" = Option<String>, Query),
), responses((status = 200, description = "A page", body = List<View>)))]
async fn list(State(state): State<ApiState>, _: Operator, mut params: Params) -> Result<Response, Problem> {
    let page = params.page::<PositionKey>(LIST)?;
    params.finish()?;
    let listed = state.reads()?.dead_letters(page).await.map_err(Problem::reading)?;
    let next_cursor = listed.next.map(|key| cursor::write(LIST, &key));
    Ok(Json(List { data: listed.rows.iter().map(View::of).collect(), next_cursor }).into_response())
}
