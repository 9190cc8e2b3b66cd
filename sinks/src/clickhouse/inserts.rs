//! The inserts of a batch, all under way at the same time: while the server takes one table's rows, the next table's are
//! put together.

use serde::Serialize;
use tokio::task::JoinSet;

use super::{error::ClickHouseError, service::Service, sink::Tokens};

/// Inserts under way. Dropped, they are broken off.
pub(crate) struct Inserts<'s> {
    service: &'s Service,
    tokens: &'s Tokens,
    under_way: JoinSet<Result<(), ClickHouseError>>,
}

impl<'s> Inserts<'s> {
    /// None yet; each will be known by its table's token.
    pub(crate) fn new(service: &'s Service, tokens: &'s Tokens) -> Self {
        Self { service, tokens, under_way: JoinSet::new() }
    }

    /// Sends a table's rows on their way. No rows, no request.
    pub(crate) async fn add<R: Serialize>(
        &mut self,
        table: &'static str,
        rows: &[R],
    ) -> Result<(), ClickHouseError> {
        if !rows.is_empty() {
            let prepared = self.service.prepare(table, rows).await?;
            self.under_way.spawn(self.service.clone().insert_prepared(prepared, self.tokens.of(table)));
        }
        Ok(())
    }

    /// Waits until all are done, or one has failed.
    pub(crate) async fn done(mut self) -> Result<(), ClickHouseError> {
        while let Some(ended) = self.under_way.join_next().await {
            ended.map_err(ClickHouseError::Broken)??;
        }
        Ok(())
    }
}
