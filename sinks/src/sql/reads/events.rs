//! Events of payments. An event's row holds what it changed; the rest of the payment never changes after its creation and
//! comes from the payment's own row, so the payment as it was after any event can be stated exactly.

use std::collections::BTreeMap;

use streambook_model::{
    id::{EventId, PaymentId, RefundId},
    records::payment::{Payment, PaymentEventType, Refund},
};

use super::{EventFilter, Listed, Page, PositionKey, Scope, SqlReads, StoredEvent};
use crate::sql::{
    cell::{Cell, Row},
    error::SqlError,
    query::Query,
    rows::payment::Moment,
};

const EVENTS: &str = "SELECT e.position, e.id, e.event_type, e.occurred_at, e.refund, e.moment, p.snapshot \
                      FROM payment_events e JOIN payments p ON p.id = e.payment WHERE ";

/// The payments an event can be of: an event's id begins as its payment's does (`Id::derive_beside`), which makes an index
/// of events by id unnecessary.
fn payments_beside(event: EventId) -> [PaymentId; 2] {
    let (mut first, mut last) = (*event.bits(), *event.bits());
    first[8..].fill(0);
    last[8..].fill(u8::MAX);
    [first, last].map(PaymentId::from_bits)
}

impl SqlReads {
    /// An event.
    pub async fn event(&self, scope: Scope, id: EventId) -> Result<Option<StoredEvent>, SqlError> {
        Ok(self.fetch_events("reading an event", one(scope, id)).await?.pop())
    }

    /// Events, newest first.
    pub async fn events(
        &self,
        scope: Scope,
        filter: EventFilter,
        page: Page<PositionKey>,
    ) -> Result<Listed<StoredEvent, PositionKey>, SqlError> {
        let events = self.fetch_events("listing events", list(scope, filter, page)).await?;
        Ok(Listed::cut(events, page.rows(), |event| event.key))
    }

    async fn fetch_events(
        &self,
        operation: &'static str,
        query: Query,
    ) -> Result<Vec<StoredEvent>, SqlError> {
        let rows = self.database.fetch(operation, query).await?;
        let found: Vec<_> = rows.into_iter().map(event).collect::<Result<_, _>>()?;
        let refunds = self.refunds_named(found.iter().filter_map(|(_, refund)| *refund)).await?;
        let whole = |(event, refund): (StoredEvent, Option<RefundId>)| StoredEvent {
            refund: refund.and_then(|id| refunds.get(&id).cloned()),
            ..event
        };
        Ok(found.into_iter().map(whole).collect())
    }

    /// The refunds with these ids: those of one page of events that the caller may see.
    async fn refunds_named(
        &self,
        ids: impl Iterator<Item = RefundId>,
    ) -> Result<BTreeMap<RefundId, Refund>, SqlError> {
        let mut query = Query::new(
            "SELECT id, payment, merchant, livemode, asset, scale, amount, destination, reference, reason, created_at \
             FROM refunds WHERE id IN (NULL",
        );
        let mut any = false;
        for id in ids {
            query = query.sql(", ").text(id);
            any = true;
        }
        if !any {
            return Ok(BTreeMap::new());
        }
        let rows = self.database.fetch("reading the refunds of events", query.sql(")")).await?;
        rows.into_iter().map(|row| super::payments::refund(row).map(|refund| (refund.id, refund))).collect()
    }
}

/// The query of one event.
pub(crate) fn one(scope: Scope, id: EventId) -> Query {
    let [first, last] = payments_beside(id);
    let query = Query::new(EVENTS).sql("e.payment >= ").text(first).sql(" AND e.payment <= ").text(last);
    scoped(scope, query.sql(" AND e.id = ").text(id), " AND (e.merchant || '') = ")
}

/// The query of a page of events.
pub(crate) fn list(scope: Scope, filter: EventFilter, page: Page<PositionKey>) -> Query {
    // A payment has few events and a merchant has many. The operator keeps SQLite, which takes the index with more equal
    // columns, from walking all of the merchant's events for those of one payment.
    let owned = if filter.payment.is_some() { " AND (e.merchant || '') = " } else { " AND e.merchant = " };
    scoped(scope, Query::new(EVENTS).sql("true"), owned)
        .when(" AND e.event_type = ", filter.event_type.map(|kind| Cell::text(kind.name())))
        .when(" AND e.payment = ", filter.payment.map(Cell::text))
        .when(" AND e.position < ", page.after.map(|key| key.0))
        .sql(" ORDER BY e.position DESC LIMIT ")
        .arg(page.rows() + 1)
}

fn scoped(scope: Scope, query: Query, owned: &'static str) -> Query {
    query.sql(owned).text(scope.merchant).sql(" AND e.livemode = ").arg(scope.livemode)
}

fn event(mut row: Row) -> Result<(StoredEvent, Option<RefundId>), SqlError> {
    let (position, event, name) = (row.integer()?, row.parsed()?, row.text()?);
    let event_type = PaymentEventType::ALL.into_iter().find(|kind| kind.name() == name);
    let event_type = event_type.ok_or_else(|| row.damaged(format!("`{name}` is not an event type")))?;
    let (occurred_at, refund, moment) = (row.time()?, row.maybe_parsed()?, row.json::<Moment>()?);
    let payment = moment.onto(row.json::<Payment>()?);
    Ok((
        StoredEvent { key: PositionKey(position), event, event_type, payment, refund: None, occurred_at },
        refund,
    ))
}
