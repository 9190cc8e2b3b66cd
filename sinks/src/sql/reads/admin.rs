//! What operators read: merchants, dead letters, the audit log, counts, positions. Not scoped to a merchant; the caller
//! checks that it may.

use streambook_model::{
    id::{DeadLetterId, MerchantId},
    position::{Offset, Partition, TopicName, TopicPartition},
    records::registry::Merchant,
};

use super::{AuditRow, Counts, Listed, Page, PositionKey, SqlReads, StoredDeadLetter};
use crate::sql::{
    cell::{Cell, Row},
    error::SqlError,
    query::Query,
};

const MERCHANTS: &str = "SELECT id, name, settlement, created_at, addresses, tolerance FROM merchants";
const DEAD_LETTERS: &str = "SELECT position, id, task, topic, partition, \"offset\", code, reason, record_key, record, \
                            occurred_at FROM dead_letters";

impl SqlReads {
    /// A merchant.
    pub async fn merchant(&self, id: MerchantId) -> Result<Option<Merchant>, SqlError> {
        let query = Query::new(MERCHANTS).sql(" WHERE id = ").text(id);
        let rows = self.database.fetch("reading a merchant", query).await?;
        rows.into_iter().next().map(merchant).transpose()
    }

    /// Merchants by id.
    pub async fn merchants(&self, page: Page<MerchantId>) -> Result<Listed<Merchant, MerchantId>, SqlError> {
        let query = Query::new(MERCHANTS)
            .when(" WHERE id < ", page.after.map(Cell::text))
            .sql(" ORDER BY id DESC LIMIT ")
            .arg(page.rows() + 1);
        let rows = self.database.fetch("listing merchants", query).await?;
        let merchants = rows.into_iter().map(merchant).collect::<Result<_, _>>()?;
        Ok(Listed::cut(merchants, page.rows(), |merchant: &Merchant| merchant.id))
    }

    /// A dead letter.
    pub async fn dead_letter(&self, id: DeadLetterId) -> Result<Option<StoredDeadLetter>, SqlError> {
        let query = Query::new(DEAD_LETTERS).sql(" WHERE id = ").text(id);
        let rows = self.database.fetch("reading a dead letter", query).await?;
        rows.into_iter().next().map(dead_letter).transpose()
    }

    /// Dead letters by position, newest of each partition first.
    pub async fn dead_letters(
        &self,
        page: Page<PositionKey>,
    ) -> Result<Listed<StoredDeadLetter, PositionKey>, SqlError> {
        let query = Query::new(DEAD_LETTERS)
            .when(" WHERE position < ", page.after.map(|key| key.0))
            .sql(" ORDER BY position DESC LIMIT ")
            .arg(page.rows() + 1);
        let rows = self.database.fetch("listing dead letters", query).await?;
        let letters = rows.into_iter().map(dead_letter).collect::<Result<_, _>>()?;
        Ok(Listed::cut(letters, page.rows(), |letter: &StoredDeadLetter| letter.key))
    }

    /// Changes in the registry, newest first; of one merchant, if one is given.
    pub async fn audit_log(
        &self,
        merchant: Option<MerchantId>,
        page: Page<PositionKey>,
    ) -> Result<Listed<AuditRow, PositionKey>, SqlError> {
        let query = Query::new(
            "SELECT position, command, subject, subject_id, merchant, record, trace, detail, occurred_at \
             FROM audit_log WHERE true",
        )
        .when(" AND merchant = ", merchant.map(Cell::text))
        .when(" AND position < ", page.after.map(|key| key.0))
        .sql(" ORDER BY position DESC LIMIT ")
        .arg(page.rows() + 1);
        let rows = self.database.fetch("reading the audit log", query).await?;
        let changes = rows.into_iter().map(audit).collect::<Result<_, _>>()?;
        Ok(Listed::cut(changes, page.rows(), |change: &AuditRow| change.key))
    }

    /// How many rows the main tables have, all of one moment. Counts whole tables: for operators and tests.
    pub async fn counts(&self) -> Result<Counts, SqlError> {
        let query = Query::new(
            "SELECT (SELECT count(*) FROM payments), (SELECT count(*) FROM payment_events), \
             (SELECT count(*) FROM refunds), (SELECT count(*) FROM ledger_transactions), \
             (SELECT count(*) FROM ledger_entries), (SELECT count(*) FROM webhook_attempts), \
             (SELECT count(*) FROM dead_letters)",
        );
        let rows = self.database.fetch("counting rows", query).await?;
        rows.into_iter().next().map_or(Ok(Counts::default()), counts)
    }

    /// The sink's positions: the next offset of each partition it has read.
    pub async fn positions(&self) -> Result<Vec<(TopicPartition, Offset)>, SqlError> {
        let query =
            Query::new("SELECT topic, partition, next_offset FROM sink_offsets ORDER BY topic, partition");
        let rows = self.database.fetch("reading the sink's positions", query).await?;
        rows.into_iter().map(|mut row| Ok((topic_partition(&mut row)?, Offset(row.number()?)))).collect()
    }
}

/// A topic and a partition, from two columns.
pub(crate) fn topic_partition(row: &mut Row) -> Result<TopicPartition, SqlError> {
    let topic = TopicName::new(row.text()?).map_err(|error| row.damaged(error.to_string()))?;
    Ok(TopicPartition::new(topic, Partition(row.number()?)))
}

fn merchant(mut row: Row) -> Result<Merchant, SqlError> {
    Ok(Merchant {
        id: row.parsed()?,
        name: row.text()?,
        settlement: row.text()?,
        created_at: row.time()?,
        addresses: row.json()?,
        tolerance: row.json()?,
    })
}

fn dead_letter(mut row: Row) -> Result<StoredDeadLetter, SqlError> {
    Ok(StoredDeadLetter {
        key: PositionKey(row.integer()?),
        letter: row.parsed()?,
        task: row.text()?,
        from: topic_partition(&mut row)?,
        offset: Offset(row.number()?),
        code: row.text()?,
        reason: row.text()?,
        record_key: row.bytes()?,
        record: row.bytes()?,
        occurred_at: row.time()?,
    })
}

fn audit(mut row: Row) -> Result<AuditRow, SqlError> {
    Ok(AuditRow {
        key: PositionKey(row.integer()?),
        command: row.maybe_number()?.map(Offset),
        subject: row.text()?,
        subject_id: row.text()?,
        merchant: row.maybe_parsed()?,
        record: row.text()?,
        trace: row.maybe_text()?,
        detail: row.text()?,
        occurred_at: row.time()?,
    })
}

fn counts(mut row: Row) -> Result<Counts, SqlError> {
    Ok(Counts {
        payments: row.number()?,
        payment_events: row.number()?,
        refunds: row.number()?,
        ledger_transactions: row.number()?,
        ledger_entries: row.number()?,
        webhook_attempts: row.number()?,
        dead_letters: row.number()?,
    })
}
