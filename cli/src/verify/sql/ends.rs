//! What only has a last state in SQL: payments, refunds, balances, and the sink's lineage. The replays leave what each row
//! must be in an index on disk, in the order of the table's key; index and table are then walked side by side.

use std::collections::VecDeque;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use streambook_log::{ReadLimit, Visibility};
use streambook_model::{
    codec,
    message::Message,
    position::{Offset, Partition, TopicPartition},
    topics,
};

use super::{
    OFFSETS, Sql, at_position,
    cell::{Cell, Row},
    expected,
    table::{BALANCES, ENTRIES, EVENTS, PAYMENTS, REFUNDS, SOURCES, TRANSACTIONS, Table},
    tail::Tail,
};
use streambook_processors::invariants::Invariant;

use crate::verify::{
    progress::{Progress, Stage},
    replay::Shared,
    report::{Difference, Halt, VerifyFailure},
    scratch::{Index, Scratch},
};

/// Rows of one page.
const PAGE: usize = 1_000;

/// The index of one table.
pub(super) struct Ends {
    table: &'static Table,
    index: Index,
}

/// What a row must be.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Must {
    /// Exactly this.
    Be(Row),
    /// Something with this SHA-256, made of the record at this position.
    Hash { position: i64, digest: [u8; 32] },
}

impl Ends {
    /// The index of this table.
    pub(super) fn open(scratch: &Scratch, table: &'static Table) -> Result<Self, VerifyFailure> {
        Ok(Self { table, index: scratch.index(table.name)? })
    }

    /// Keeps a row whole.
    pub(super) fn put_whole(&mut self, row: &Row) -> Result<(), VerifyFailure> {
        self.put(row, &Must::Be(row.clone()))
    }

    /// Keeps a row's digest, and the record it is made of.
    pub(super) fn put_digest(&mut self, position: i64, row: &Row) -> Result<(), VerifyFailure> {
        let digest = digest(row)?;
        self.put(row, &Must::Hash { position, digest })
    }

    fn put(&mut self, row: &Row, must: &Must) -> Result<(), VerifyFailure> {
        let value = postcard::to_stdvec(must).map_err(VerifyFailure::Index)?;
        self.index.put(key_bytes(self.table.key_of(row)), value)
    }

    /// Stores what is pending.
    pub(super) fn flush(&mut self) -> Result<(), VerifyFailure> {
        self.index.flush()
    }

    /// The first of what must be there after a key.
    pub(super) fn after(&self, key: &[u8]) -> Result<VecDeque<(Bytes, Must)>, VerifyFailure> {
        let decode = |(key, value): (Bytes, Bytes)| Ok((key, postcard::from_bytes(&value)?));
        let page = self.index.after(key, PAGE)?;
        page.into_iter().map(decode).collect::<Result<_, _>>().map_err(VerifyFailure::Index)
    }
}

/// A key's bytes, which sort as the key does: texts end with a zero, which none of them holds.
fn key_bytes(key: &[Cell]) -> Bytes {
    let mut bytes = Vec::new();
    for cell in key {
        bytes.extend_from_slice(cell.to_string().trim_matches('`').as_bytes());
        bytes.push(0);
    }
    bytes.into()
}

fn digest(row: &Row) -> Result<[u8; 32], VerifyFailure> {
    let bytes = postcard::to_stdvec(row).map_err(VerifyFailure::Index)?;
    Ok(Sha256::digest(bytes).into())
}

/// Compares payments, refunds and balances, the sink's lineage, and that no table has a row outside of every partition.
/// Gives the number of rows compared.
pub(crate) async fn compare_ends(
    sql: &Sql,
    shared: &Shared,
    progress: &mut dyn Progress,
) -> Result<u64, Halt> {
    let tail = Tail::new(shared, sql.next.clone(), std::mem::take(&mut *sql.sources.lock()))?;
    let mut walk = Walk { sql, shared, tail, progress, rows: 0, total: 0 };
    for table in [&PAYMENTS, &REFUNDS, &BALANCES] {
        walk.total += walk.count(table).await?;
    }
    for table in [&PAYMENTS, &REFUNDS, &BALANCES] {
        walk.table(table).await?;
    }
    for table in [&TRANSACTIONS, &ENTRIES, &EVENTS] {
        walk.nothing_outside(table).await?;
    }
    walk.sources().await?;
    Ok(walk.rows)
}

struct Walk<'a> {
    sql: &'a Sql,
    shared: &'a Shared,
    tail: Tail<'a>,
    progress: &'a mut dyn Progress,
    rows: u64,
    total: u64,
}

impl Walk<'_> {
    async fn count(&self, table: &Table) -> Result<u64, VerifyFailure> {
        let sql = format!("SELECT count(*) FROM {}", table.name);
        match self.sql.rows("counting rows", sql, &[]).await?.first().map(Vec::as_slice) {
            Some([Cell::Integer(count)]) => Ok(u64::try_from(*count).unwrap_or_default()),
            _ => Ok(0),
        }
    }

    /// Walks index and table side by side, page by page. Each page of the table is read at one position of the sink, and the
    /// index follows to there before the two are compared.
    async fn table(&mut self, table: &'static Table) -> Result<(), Halt> {
        let mut after: Option<Row> = None;
        loop {
            let found = self.page(table, after.as_ref()).await?;
            let is_last = found.len() < PAGE;
            self.compare_page(table, after.as_ref(), &found, is_last)?;
            self.progress.update(Stage::Sql, self.rows, self.total);
            match found.into_iter().next_back() {
                Some(last) if !is_last => after = Some(last),
                _ => return Ok(()),
            }
        }
    }

    fn compare_page(
        &mut self,
        table: &'static Table,
        after: Option<&Row>,
        found: &[Row],
        is_last: bool,
    ) -> Result<(), Halt> {
        let mut from = after.map(|row| key_bytes(table.key_of(row))).unwrap_or_default();
        let mut must = VecDeque::new();
        for row in found {
            let key = key_bytes(table.key_of(row));
            match self.next_must(table, &mut must, &mut from)? {
                Some((expected, must)) if expected == key => self.row(table, &must, row)?,
                Some((expected, must)) if expected < key => return Err(self.missing(table, &must)?.into()),
                _ => return Err(table.extra(row).0.of(Invariant::SqlIsTheLog).into()),
            }
        }
        match self.next_must(table, &mut must, &mut from)? {
            Some((_, must)) if is_last => Err(self.missing(table, &must)?.into()),
            _ => Ok(()),
        }
    }

    /// The next of what must be there.
    fn next_must(
        &self,
        table: &'static Table,
        page: &mut VecDeque<(Bytes, Must)>,
        from: &mut Bytes,
    ) -> Result<Option<(Bytes, Must)>, VerifyFailure> {
        if page.is_empty() {
            *page = self.tail.ends(table).after(from)?;
        }
        let next = page.pop_front();
        if let Some((key, _)) = &next {
            from.clone_from(key);
        }
        Ok(next)
    }

    async fn page(&mut self, table: &'static Table, after: Option<&Row>) -> Result<Vec<Row>, Halt> {
        let keys = table.key_columns();
        let key = after.map(|row| table.key_of(row)).unwrap_or_default();
        let marks: Vec<_> = (1..=key.len()).map(|number| format!("${number}")).collect();
        let start =
            if key.is_empty() { String::new() } else { format!(" WHERE ({keys}) > ({})", marks.join(", ")) };
        let sql = format!("{}{start} ORDER BY {keys} LIMIT {PAGE}", table.select());
        let (next, found) = self.sql.at_once(table.name, Some((sql, key))).await?;
        self.tail.follow(&next).await?;
        Ok(found)
    }

    fn row(&mut self, table: &'static Table, must: &Must, row: &Row) -> Result<(), Halt> {
        self.rows += 1;
        let differs = |expected: &Row| table.changed(expected, row).0.of(Invariant::SqlIsTheLog);
        match must {
            Must::Be(expected) if expected == row => Ok(()),
            Must::Be(expected) => Err(differs(expected).into()),
            Must::Hash { digest: expected, .. } if *expected == digest(row)? => Ok(()),
            Must::Hash { position, .. } => {
                let difference = self.rebuild(*position)?.map(|expected| differs(&expected));
                Err(at_position(
                    difference.unwrap_or_else(|| unnamed(table, row)),
                    topics::PAYMENTS_EVENTS,
                    *position,
                )
                .into())
            }
        }
    }

    fn missing(&self, table: &'static Table, must: &Must) -> Result<Difference, Halt> {
        let (row, position) = match must {
            Must::Be(row) => (Some(row.clone()), None),
            Must::Hash { position, .. } => (self.rebuild(*position)?, Some(*position)),
        };
        let difference = table.missing(&row.unwrap_or_default()).0.of(Invariant::SqlIsTheLog);
        Ok(match position {
            Some(position) => at_position(difference, topics::PAYMENTS_EVENTS, position),
            None => difference,
        })
    }

    /// The payment's row as the event at this position leaves it, if the log still has that.
    fn rebuild(&self, position: i64) -> Result<Option<Row>, Halt> {
        let partition = Partition(u16::try_from(position.div_euclid(OFFSETS)).unwrap_or(u16::MAX));
        let at = TopicPartition::new(topics::PAYMENTS_EVENTS.topic(), partition);
        let offset = Offset(u64::try_from(position.rem_euclid(OFFSETS)).unwrap_or_default());
        if self.shared.first.get(&at).is_none_or(|first| offset < *first) {
            return Ok(None);
        }
        let one = ReadLimit { records: 1, ..ReadLimit::default() };
        let records = self.shared.log.read_blocking(&at, offset, one, Visibility::Written)?;
        Ok(match records.first().map(|record| codec::decode(&record.value)) {
            Some(Ok(Message::PaymentEvent(event))) => Some(expected::payment(&event.payment)),
            _ => None,
        })
    }

    /// No row lies before the first partition or after the last.
    async fn nothing_outside(&self, table: &'static Table) -> Result<(), Halt> {
        let end = i64::from(topics::SHARDS).saturating_mul(OFFSETS);
        let sql = format!("{} WHERE position < 0 OR position >= $1 LIMIT 1", table.select());
        let found = self.sql.rows(table.name, sql, &[Cell::Integer(end)]).await?;
        found.first().map_or(Ok(()), |row| Err(table.extra(row).0.of(Invariant::SqlIsTheLog).into()))
    }

    /// What the sink remembers of each task is what it has taken.
    async fn sources(&mut self) -> Result<(), Halt> {
        let keys = SOURCES.key_columns();
        let sql = format!("{} WHERE topic IN ($1, $2) ORDER BY {keys}", SOURCES.select());
        let of = [Cell::text(topics::LEDGER_TRANSACTIONS.name), Cell::text(topics::PAYMENTS_EVENTS.name)];
        let (next, found) = self.sql.at_once(SOURCES.name, Some((sql, &of))).await?;
        self.tail.follow(&next).await?;
        let must = self.tail.sources();
        self.rows += must.len() as u64;
        match SOURCES.first_difference(&must, &found) {
            Some((difference, _)) => Err(difference.of(Invariant::SqlIsTheLog).into()),
            None => Ok(()),
        }
    }
}

/// A payment's row is another than its last event leads to, and that event is no longer in the log, or was not when it was copied.
fn unnamed(table: &Table, row: &Row) -> Difference {
    let key: Vec<_> = table.key_of(row).iter().map(ToString::to_string).collect();
    let what = format!("a row of {} in SQL is changed: {}", table.name, key.join(", "));
    Difference::new(what, "the payment after its last event, which is not at hand", "another content")
        .of(Invariant::SqlIsTheLog)
}
