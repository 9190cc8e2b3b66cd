//! `/v1/balances`: what the merchant's accounts hold.

use axum::{extract::State, http::HeaderMap, response::Response};
use serde::Serialize;
use streambook_sinks::sql::Balance;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::{ForMerchant, Read},
    params::Params,
    problem::Problem,
    state::ApiState,
    views::{List, read_answer},
};

/// Accounts whose balance is a debit in the built-in templates of direct settlement: what the merchant has or spent.
const DEBIT_ACCOUNTS: [&str; 6] = ["wallet", "stripe", "disputed", "refunds", "costs", "fees_due"];

/// The balance of one account in one asset.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Balance)]
struct BalanceView {
    /// The account: `available` is what is owed to you, `clearing` what was received and is not applied yet.
    account: String,
    /// The asset.
    asset: String,
    /// The amount on the account's own side, as a decimal number: of `available`, what is owed to you. Negative where the
    /// account is overdrawn.
    amount: String,
    /// The account's own side: `credit` for what is owed to you, `debit` for what you have.
    side: &'static str,
}

/// The routes of this resource.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list))
}

/// List the balances of your accounts
#[utoipa::path(get, path = "/v1/balances", tag = "ledger", responses(
    (status = 200, description = "All of them, by account and asset", body = List<BalanceView>),
))]
async fn list(
    State(state): State<ApiState>,
    caller: ForMerchant<Read>,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, Problem> {
    params.finish()?;
    let stale = state.is_stale(caller.scope, &headers).await?;
    let balances = state.reads()?.balances(caller.scope).await.map_err(Problem::reading)?;
    let data: Vec<_> = balances.iter().map(view).collect();
    Ok(read_answer(stale, List { data, next_cursor: None }))
}

fn view(balance: &Balance) -> BalanceView {
    let is_debit = DEBIT_ACCOUNTS.contains(&balance.name.as_str());
    let (amount, side) =
        if is_debit { (balance.balance, "debit") } else { (balance.balance.negated(), "credit") };
    BalanceView {
        account: balance.name.clone(),
        asset: balance.asset.to_string(),
        // Without decimal places known, the number is of smallest units.
        amount: amount.to_decimal(balance.scale.unwrap_or(0)),
        side,
    }
}
