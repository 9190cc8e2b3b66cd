//! Webhook endpoints and the attempts to reach them.

use streambook_model::id::EndpointId;

use super::{EndpointKey, Listed, Page, PositionKey, Scope, SqlReads, StoredAttempt, StoredEndpoint};
use crate::sql::{cell::Row, error::SqlError, query::Query};

const ENDPOINTS: &str =
    "SELECT id, url, events, secrets, disabled, created_at FROM webhook_endpoints WHERE deleted_at IS NULL";

impl SqlReads {
    /// An endpoint that is not deleted.
    pub async fn endpoint(&self, scope: Scope, id: EndpointId) -> Result<Option<StoredEndpoint>, SqlError> {
        let query = scope.and(Query::new(ENDPOINTS).sql(" AND id = ").text(id));
        let rows = self.database.fetch("reading a webhook endpoint", query).await?;
        rows.into_iter().next().map(endpoint).transpose()
    }

    /// Endpoints that are not deleted, newest first.
    pub async fn endpoints(
        &self,
        scope: Scope,
        page: Page<EndpointKey>,
    ) -> Result<Listed<StoredEndpoint, EndpointKey>, SqlError> {
        let mut query = scope.and(Query::new(ENDPOINTS));
        if let Some(key) = page.after {
            query =
                query.sql(" AND (created_at, id) < (").arg(key.created_at_ms).sql(", ").text(key.id).sql(")");
        }
        let query = query.sql(" ORDER BY created_at DESC, id DESC LIMIT ").arg(page.rows() + 1);
        let rows = self.database.fetch("listing webhook endpoints", query).await?;
        let endpoints = rows.into_iter().map(endpoint).collect::<Result<_, _>>()?;
        Ok(Listed::cut(endpoints, page.rows(), |endpoint: &StoredEndpoint| endpoint.key))
    }

    /// Attempts to reach one of the merchant's endpoints, deleted or not, newest first. Empty for another's endpoint.
    pub async fn attempts(
        &self,
        scope: Scope,
        endpoint: EndpointId,
        page: Page<PositionKey>,
    ) -> Result<Listed<StoredAttempt, PositionKey>, SqlError> {
        // An attempt does not say whether it was of live or test data; its endpoint does.
        let query = Query::new(
            "SELECT position, id, event, event_type, endpoint, number, outcome, status_code, error, duration_ms, \
             next_attempt_at, occurred_at FROM webhook_attempts WHERE endpoint = ",
        );
        let owned = query
            .text(endpoint)
            .sql(" AND EXISTS (SELECT 1 FROM webhook_endpoints WHERE id = ")
            .text(endpoint);
        let query = scope
            .and(owned)
            .sql(")")
            .when(" AND position < ", page.after.map(|key| key.0))
            .sql(" ORDER BY position DESC LIMIT ")
            .arg(page.rows() + 1);
        let rows = self.database.fetch("listing webhook attempts", query).await?;
        let attempts = rows.into_iter().map(attempt).collect::<Result<_, _>>()?;
        Ok(Listed::cut(attempts, page.rows(), |attempt: &StoredAttempt| attempt.key))
    }
}

fn endpoint(mut row: Row) -> Result<StoredEndpoint, SqlError> {
    let id = row.parsed()?;
    let (url, events, secrets, disabled) = (row.text()?, row.json()?, row.number()?, row.maybe_text()?);
    let created_at = row.time()?;
    let key = EndpointKey { created_at_ms: created_at.millis(), id };
    Ok(StoredEndpoint { key, id, url, events, secrets, disabled, created_at })
}

fn attempt(mut row: Row) -> Result<StoredAttempt, SqlError> {
    Ok(StoredAttempt {
        key: PositionKey(row.integer()?),
        attempt: row.parsed()?,
        event: row.parsed()?,
        event_type: row.text()?,
        endpoint: row.parsed()?,
        number: row.number()?,
        outcome: row.word()?,
        status_code: row.maybe_number()?,
        error: row.maybe_text()?,
        duration_ms: row.number()?,
        next_attempt_at: row.maybe_time()?,
        occurred_at: row.time()?,
    })
}
