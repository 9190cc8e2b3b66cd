//! `/v1/ledger/transactions`: the merchant's book, newest first.

use axum::{extract::State, http::HeaderMap, response::Response};
use serde::Serialize;
use streambook_model::id::PaymentId;
use streambook_sinks::sql::{Scope, SequenceKey, StoredEntry, StoredTransaction};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::{ForMerchant, Read},
    cursor,
    params::Params,
    problem::Problem,
    state::ApiState,
    views::{List, read_answer},
};

/// The list's name in cursors.
const LIST: &str = "ledger";

/// A balanced transaction.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LedgerTransaction)]
struct TransactionView {
    /// `txn_` and 32 hex digits.
    id: String,
    /// Its number in your book of this mode, from 1; no gaps.
    sequence: u64,
    /// The posting template that made it.
    template: String,
    /// The payment it is about.
    #[schema(required)]
    payment: Option<String>,
    /// The refund it is about.
    #[schema(required)]
    refund: Option<String>,
    /// The money event that it books.
    event: String,
    /// The transaction it takes back.
    #[schema(required)]
    reverses: Option<String>,
    /// When the money moved.
    #[schema(format = DateTime)]
    occurred_at: String,
    /// Its lines; they sum to zero for each asset.
    entries: Vec<EntryView>,
    /// The hash of the transaction before it.
    previous_hash: String,
    /// Its hash.
    hash: String,
}

/// A line of a transaction.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LedgerEntry)]
struct EntryView {
    /// The account.
    account: String,
    /// The asset.
    asset: String,
    /// The change as a decimal number: positive is a debit, negative a credit.
    amount: String,
    /// The account's balance after it; absent for the platform's accounts, which hold other merchants' money too.
    #[schema(required)]
    balance: Option<String>,
}

/// The routes of this resource.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list))
}

/// List ledger transactions, newest first
#[utoipa::path(get, path = "/v1/ledger/transactions", tag = "ledger", params(
    ("limit" = Option<u16>, Query, minimum = 1, maximum = 100),
    ("cursor" = Option<String>, Query),
    ("payment" = Option<String>, Query, description = "Of this payment only"),
), responses((status = 200, description = "A page", body = List<TransactionView>)))]
async fn list(
    State(state): State<ApiState>,
    caller: ForMerchant<Read>,
    headers: HeaderMap,
    mut params: Params,
) -> Result<Response, Problem> {
    let page = params.page::<SequenceKey>(LIST)?;
    let payment = params.parse::<PaymentId>("payment")?;
    params.finish()?;
    let stale = state.is_stale(caller.scope, &headers).await?;
    let listed =
        state.reads()?.ledger_transactions(caller.scope, payment, page).await.map_err(Problem::reading)?;
    let next_cursor = listed.next.map(|key| cursor::write(LIST, &key));
    let data: Vec<_> = listed.rows.iter().map(|row| view(&state, caller.scope, row)).collect();
    Ok(read_answer(stale, List { data, next_cursor }))
}

fn view(state: &ApiState, scope: Scope, row: &StoredTransaction) -> TransactionView {
    TransactionView {
        id: row.transaction.to_string(),
        sequence: row.sequence,
        template: row.template.clone(),
        payment: row.payment.map(|id| id.to_string()),
        refund: row.refund.map(|id| id.to_string()),
        event: row.event.clone(),
        reverses: row.reverses.map(|id| id.to_string()),
        occurred_at: row.occurred_at.to_string(),
        entries: row.entries.iter().map(|entry| entry_view(state, scope, entry)).collect(),
        previous_hash: row.previous_hash.to_string(),
        hash: row.hash.to_string(),
    }
}

fn entry_view(state: &ApiState, scope: Scope, entry: &StoredEntry) -> EntryView {
    // Without decimal places known, the numbers are of smallest units.
    let scale = state.registry().scale(&entry.asset).unwrap_or(0);
    // A platform account's balance is made of every merchant's money: it is not this merchant's to see.
    let own = entry.account.as_str().contains(&format!("/merchant/{}/", scope.merchant));
    EntryView {
        account: entry.account.to_string(),
        asset: entry.asset.to_string(),
        amount: entry.amount.to_decimal(scale),
        balance: own.then(|| entry.balance.to_decimal(scale)),
    }
}
