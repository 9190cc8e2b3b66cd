//! Payments and refunds.

use streambook_model::{
    id::{PaymentId, RefundId},
    records::payment::{Payment, PaymentStatus, Refund},
};

use super::{Listed, Page, PaymentFilter, PaymentKey, Scope, SqlReads};
use crate::sql::{
    cell::{Cell, Row},
    error::SqlError,
    query::Query,
};

const REFUNDS: &str = "SELECT id, payment, merchant, livemode, asset, scale, amount, destination, reference, reason, \
                       created_at FROM refunds WHERE ";

impl SqlReads {
    /// A payment as it is now.
    pub async fn payment(&self, scope: Scope, id: PaymentId) -> Result<Option<Payment>, SqlError> {
        let query = Query::new("SELECT snapshot FROM payments WHERE id = ").text(id);
        let rows = self.database.fetch("reading a payment", scope.and(query)).await?;
        rows.into_iter().next().map(|mut row| row.json()).transpose()
    }

    /// Payments, newest first.
    pub async fn payments(
        &self,
        scope: Scope,
        filter: &PaymentFilter,
        page: Page<PaymentKey>,
    ) -> Result<Listed<Payment, PaymentKey>, SqlError> {
        let rows = self.database.fetch("listing payments", list(scope, filter, page)?).await?;
        let payments = rows.into_iter().map(|mut row| row.json()).collect::<Result<_, _>>()?;
        Ok(Listed::cut(payments, page.rows(), key_of))
    }

    /// A refund.
    pub async fn refund(&self, scope: Scope, id: RefundId) -> Result<Option<Refund>, SqlError> {
        let query = scope.and(Query::new(REFUNDS).sql("id = ").text(id));
        let rows = self.database.fetch("reading a refund", query).await?;
        rows.into_iter().next().map(refund).transpose()
    }

    /// A payment's refunds, oldest first; at most [`Page::MAX_LIMIT`] of them.
    pub async fn refunds_of(&self, scope: Scope, payment: PaymentId) -> Result<Vec<Refund>, SqlError> {
        let query = scope.and(Query::new(REFUNDS).sql("payment = ").text(payment));
        let query = query.sql(" ORDER BY created_at, id LIMIT ").arg(i64::from(Page::<()>::MAX_LIMIT));
        let rows = self.database.fetch("listing refunds", query).await?;
        rows.into_iter().map(refund).collect()
    }
}

/// The query of a page of payments.
pub(crate) fn list(scope: Scope, filter: &PaymentFilter, page: Page<PaymentKey>) -> Result<Query, SqlError> {
    let mut query = scope.and(Query::new("SELECT snapshot FROM payments WHERE true"));
    query = by_status(query, filter.status)?;
    query = query
        .when(" AND reference_id = ", filter.reference_id.as_ref().map(Cell::text))
        .when(" AND created_at >= ", filter.created_from)
        .when(" AND created_at < ", filter.created_before);
    if let Some(key) = page.after {
        query = query.sql(" AND (created_at, id) < (").arg(key.created_at_ms).sql(", ").text(key.id).sql(")");
    }
    Ok(query.sql(" ORDER BY created_at DESC, id DESC LIMIT ").arg(page.rows() + 1))
}

/// The status as an argument, and for the statuses that few payments are in, words that let their small index be used.
fn by_status(query: Query, status: Option<PaymentStatus>) -> Result<Query, SqlError> {
    let Some(status) = status else { return Ok(query) };
    let query = query.sql(" AND status = ").arg(Cell::word(&status)?);
    Ok(match status {
        PaymentStatus::Completed | PaymentStatus::Expired => query,
        _ => query.sql(" AND status NOT IN ('completed', 'expired')"),
    })
}

fn key_of(payment: &Payment) -> PaymentKey {
    PaymentKey { created_at_ms: payment.created_at.millis(), id: payment.id }
}

pub(super) fn refund(mut row: Row) -> Result<Refund, SqlError> {
    Ok(Refund {
        id: row.parsed()?,
        payment: row.parsed()?,
        merchant: row.parsed()?,
        livemode: row.flag()?,
        asset: row.parsed()?,
        scale: row.number()?,
        amount: row.amount()?,
        destination: row.maybe_text()?,
        reference: row.maybe_text()?,
        reason: row.maybe_text()?,
        created_at: row.time()?,
    })
}
