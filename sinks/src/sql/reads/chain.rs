//! Chain heads, for confirmations that count up between a payment's events.

use streambook_model::chain::{BlockNumber, ChainId};

use super::{ChainHeadRow, SqlReads};
use crate::sql::{
    cell::{Row, signed},
    error::SqlError,
    query::Query,
};

const HEADS: &str = "SELECT chain, number, hash, time, finalized, halted FROM chain_heads";

impl SqlReads {
    /// One chain's head, if it has reported one.
    pub async fn chain_head(&self, chain: ChainId) -> Result<Option<ChainHeadRow>, SqlError> {
        let query = Query::new(HEADS).sql(" WHERE chain = ").arg(signed(chain.0)?);
        let rows = self.database.fetch("reading a chain's head", query).await?;
        rows.into_iter().next().map(head).transpose()
    }

    /// Every chain's head, by chain.
    pub async fn chain_heads(&self) -> Result<Vec<ChainHeadRow>, SqlError> {
        let rows = self
            .database
            .fetch("reading the chains' heads", Query::new(HEADS).sql(" ORDER BY chain"))
            .await?;
        rows.into_iter().map(head).collect()
    }
}

fn head(mut row: Row) -> Result<ChainHeadRow, SqlError> {
    Ok(ChainHeadRow {
        chain: ChainId(row.number()?),
        number: BlockNumber(row.number()?),
        hash: row.parsed()?,
        time: row.time()?,
        finalized: row.maybe_number()?.map(BlockNumber),
        halted: row.maybe_text()?,
    })
}
