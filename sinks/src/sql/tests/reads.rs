//! Reading: what was written, page by page, and nobody else's.

use streambook_model::{
    bytes::Address,
    chain::ChainId,
    message::Message,
    money::Amount,
    position::Offset,
    records::{
        payment::{PaymentEventType, PaymentStatus},
        registry::{AssetAmount, FixedAddress, Tolerance},
    },
    time::Timestamp,
};

use super::{
    Bench, Dialect,
    records::{
        account, amount, at_version, attempt, endpoint_changed, endpoint_of, event, head, letter, merchant,
        merchant_changed, payment, refund, transaction,
    },
    scope,
};
use crate::sql::{
    EventFilter, Listed, Page, PaymentFilter, PaymentKey, PositionKey, Scope, SequenceKey, SqlReads,
    query::Query,
    reads::{events, ledger, payments},
};

fn created(number: u64) -> Message {
    event(&payment(number, merchant(1)), PaymentEventType::Created).into()
}

async fn a_payment_and_its_events_come_back_whole(on: Dialect) {
    let mut bench = Bench::new(on).await;
    let first = payment(1, merchant(1));
    let mut second = at_version(&first, 2, PaymentStatus::Completed);
    second.amount_received = amount(12_500_000);
    second.completed_at = Some(Timestamp::from_millis(99));
    let mut third = at_version(&second, 3, PaymentStatus::Completed);
    third.amount_refunded = amount(5);
    let mut refunded = event(&third, PaymentEventType::Refunded);
    refunded.refund = Some(refund(&third));
    let events =
        [event(&first, PaymentEventType::Created), event(&second, PaymentEventType::Completed), refunded];
    bench.write(events.clone().map(Message::from)).await;

    let reads = bench.sink.reads();
    assert_eq!(reads.payment(scope(), first.id).await.unwrap(), Some(third.clone()));
    assert_eq!(reads.refunds_of(scope(), first.id).await.unwrap(), [refund(&third)]);
    assert_eq!(reads.refund(scope(), refund(&third).id).await.unwrap(), Some(refund(&third)));
    for expected in &events {
        let stored = reads.event(scope(), expected.event).await.unwrap().unwrap();
        assert_eq!(stored.payment, expected.payment, "the payment as it was after the event");
        assert_eq!((stored.event_type, &stored.refund), (expected.event_type, &expected.refund));
        assert_eq!(stored.occurred_at, expected.meta.occurred_at);
    }
    let listed = reads.events(scope(), EventFilter::default(), Page::first(10)).await.unwrap();
    let order: Vec<_> = listed.rows.iter().map(|event| event.event).collect();
    assert_eq!(order, events.iter().rev().map(|event| event.event).collect::<Vec<_>>());
    let only = EventFilter { event_type: Some(PaymentEventType::Completed), payment: Some(first.id) };
    assert_eq!(reads.events(scope(), only, Page::first(10)).await.unwrap().rows.len(), 1);
}

async fn amounts_are_exact_to_38_digits(on: Dialect) {
    let mut bench = Bench::new(on).await;
    let most = 10_i128.pow(38) - 1;
    let mut payment = payment(1, merchant(1));
    payment.amount = amount(most);
    bench
        .write([
            event(&payment, PaymentEventType::Created).into(),
            transaction(&payment, 1, most, most).into(),
        ])
        .await;
    let reads = bench.sink.reads();
    assert_eq!(reads.payment(scope(), payment.id).await.unwrap().unwrap().amount, amount(most));
    let balances: Vec<_> =
        reads.balances(scope()).await.unwrap().into_iter().map(|row| row.balance).collect();
    assert_eq!(balances, [amount(-most), amount(most)]);
    let sums = reads.trial_balance().await.unwrap();
    assert_eq!(sums.len(), 1);
    assert_eq!((sums[0].debits, sums[0].credits, sums[0].accounts), (amount(most), amount(-most), 2));
    assert_eq!(sums[0].debits.plus(sums[0].credits), Ok(Amount::ZERO));
}

async fn every_page(reads: &SqlReads, filter: &PaymentFilter, limit: u16) -> Vec<i64> {
    let (mut found, mut page) = (Vec::new(), Page::first(limit));
    loop {
        let Listed { rows, next } = reads.payments(scope(), filter, page).await.unwrap();
        assert!(rows.len() <= usize::from(limit));
        found.extend(rows.iter().map(|payment| payment.created_at.millis() / 1_000));
        match next {
            Some(key) => page = Page::after(limit, key),
            None => return found,
        }
    }
}

async fn lists_are_newest_first_and_end(on: Dialect) {
    let mut bench = Bench::new(on).await;
    bench.write((1..=7).map(created)).await;
    let reads = bench.sink.reads();
    for limit in [1, 2, 3, 7, 8] {
        assert_eq!(
            every_page(&reads, &PaymentFilter::default(), limit).await,
            [7, 6, 5, 4, 3, 2, 1],
            "by {limit}"
        );
    }
}

async fn a_cursor_stays_where_it_is_while_rows_are_added(on: Dialect) {
    let mut bench = Bench::new(on).await;
    bench.write((1..=4).map(created)).await;
    let reads = bench.sink.reads();
    let seconds = |listed: &Listed<_, PaymentKey>| -> Vec<i64> {
        listed
            .rows
            .iter()
            .map(|row: &streambook_model::records::payment::Payment| row.created_at.millis() / 1_000)
            .collect()
    };
    let first = reads.payments(scope(), &PaymentFilter::default(), Page::first(2)).await.unwrap();
    assert_eq!(seconds(&first), [4, 3]);
    // New payments, and a change of one that was seen and of one that was not.
    let changed = |number| {
        event(
            &at_version(&payment(number, merchant(1)), 2, PaymentStatus::Completed),
            PaymentEventType::Completed,
        )
    };
    bench.write([created(5), created(6), changed(3).into(), changed(2).into()]).await;
    let second = reads
        .payments(scope(), &PaymentFilter::default(), Page::after(2, first.next.unwrap()))
        .await
        .unwrap();
    assert_eq!(seconds(&second), [2, 1]);
    assert_eq!(second.next, None);
}

async fn payments_are_filtered(on: Dialect) {
    let mut bench = Bench::new(on).await;
    bench.write((1..=6).map(created)).await;
    let to = |number, status| {
        event(&at_version(&payment(number, merchant(1)), 2, status), PaymentEventType::Completed)
    };
    bench.write([to(2, PaymentStatus::Completed).into(), to(4, PaymentStatus::Disputed).into()]).await;
    let reads = bench.sink.reads();
    let all = PaymentFilter::default();
    let check = |filter: PaymentFilter| {
        let reads = reads.clone();
        async move { every_page(&reads, &filter, 2).await }
    };
    assert_eq!(
        check(PaymentFilter { status: Some(PaymentStatus::Pending), ..all.clone() }).await,
        [6, 5, 3, 1]
    );
    assert_eq!(check(PaymentFilter { status: Some(PaymentStatus::Completed), ..all.clone() }).await, [2]);
    assert_eq!(check(PaymentFilter { status: Some(PaymentStatus::Disputed), ..all.clone() }).await, [4]);
    assert_eq!(check(PaymentFilter { reference_id: Some("ORDER_5".into()), ..all.clone() }).await, [5]);
    let range = PaymentFilter {
        created_from: Some(Timestamp::from_millis(2_000)),
        created_before: Some(Timestamp::from_millis(5_000)),
        ..all
    };
    assert_eq!(check(range.clone()).await, [4, 3, 2]);
    assert_eq!(check(PaymentFilter { status: Some(PaymentStatus::Pending), ..range }).await, [3]);
}

async fn ledger_transactions_come_with_their_entries(on: Dialect) {
    let mut bench = Bench::new(on).await;
    let (one, two) = (payment(1, merchant(1)), payment(2, merchant(1)));
    let written = [transaction(&one, 1, 5, 5), transaction(&two, 2, 7, 12), transaction(&one, 3, -5, 7)];
    bench.write(written.clone().map(Message::from)).await;
    let reads = bench.sink.reads();
    let first = reads.ledger_transactions(scope(), None, Page::first(2)).await.unwrap();
    assert_eq!(first.rows.iter().map(|row| row.sequence).collect::<Vec<_>>(), [3, 2]);
    let rest = reads.ledger_transactions(scope(), None, Page::after(2, first.next.unwrap())).await.unwrap();
    assert_eq!(rest.next, None);
    let (stored, expected) = (&rest.rows[0], &written[0]);
    assert_eq!(
        (stored.transaction, stored.hash, stored.previous_hash),
        (expected.transaction, expected.hash, expected.previous_hash)
    );
    assert_eq!(
        (&stored.event, stored.payment, stored.occurred_at),
        (&expected.event, expected.payment, expected.occurred_at)
    );
    assert_eq!(stored.entries.len(), 2);
    assert_eq!(stored.entries[0].account.as_str(), account(merchant(1), "clearing"));
    assert_eq!((stored.entries[1].amount, stored.entries[1].balance), (amount(-5), amount(-5)));
    let of_one = reads.ledger_transactions(scope(), Some(one.id), Page::first(10)).await.unwrap();
    assert_eq!(of_one.rows.iter().map(|row| row.sequence).collect::<Vec<_>>(), [3, 1]);
}

/// How many rows each of the merchant's reads gives.
async fn seen_by(reads: &SqlReads, scope: Scope) -> Vec<usize> {
    let (paid, hook) = (payment(1, merchant(1)), endpoint_of(merchant(1)));
    let created = event(&paid, PaymentEventType::Created).event;
    let events = EventFilter { event_type: None, payment: Some(paid.id) };
    vec![
        usize::from(reads.payment(scope, paid.id).await.unwrap().is_some()),
        reads.payments(scope, &PaymentFilter::default(), Page::first(10)).await.unwrap().rows.len(),
        usize::from(reads.refund(scope, refund(&paid).id).await.unwrap().is_some()),
        reads.refunds_of(scope, paid.id).await.unwrap().len(),
        usize::from(reads.event(scope, created).await.unwrap().is_some()),
        reads.events(scope, EventFilter::default(), Page::first(10)).await.unwrap().rows.len(),
        reads.events(scope, events, Page::first(10)).await.unwrap().rows.len(),
        reads.balances(scope).await.unwrap().len(),
        reads.ledger_transactions(scope, None, Page::first(10)).await.unwrap().rows.len(),
        reads.ledger_transactions(scope, Some(paid.id), Page::first(10)).await.unwrap().rows.len(),
        usize::from(reads.endpoint(scope, hook.id).await.unwrap().is_some()),
        reads.endpoints(scope, Page::first(10)).await.unwrap().rows.len(),
        reads.attempts(scope, hook.id, Page::first(10)).await.unwrap().rows.len(),
    ]
}

async fn one_merchant_never_sees_anothers_data_nor_test_data_live(on: Dialect) {
    let mut bench = Bench::new(on).await;
    let (paid, hook) = (payment(1, merchant(1)), endpoint_of(merchant(1)));
    let mut refunded = event(&paid, PaymentEventType::Created);
    refunded.refund = Some(refund(&paid));
    bench
        .write([
            refunded.into(),
            transaction(&paid, 1, 5, 5).into(),
            endpoint_changed(hook.clone()).into(),
            attempt(&hook, 1).into(),
        ])
        .await;
    let reads = bench.sink.reads();
    assert_eq!(seen_by(&reads, scope()).await, [1, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1]);
    assert_eq!(seen_by(&reads, Scope { livemode: true, ..scope() }).await, [0; 13]);
    assert_eq!(seen_by(&reads, Scope { merchant: merchant(2), ..scope() }).await, [0; 13]);
}

async fn a_deleted_endpoint_is_gone_but_its_attempts_can_be_read(on: Dialect) {
    let mut bench = Bench::new(on).await;
    let hook = endpoint_of(merchant(1));
    bench
        .write([endpoint_changed(hook.clone()).into(), attempt(&hook, 1).into(), attempt(&hook, 2).into()])
        .await;
    let reads = bench.sink.reads();
    let stored = reads.endpoint(scope(), hook.id).await.unwrap().unwrap();
    assert_eq!((stored.url, stored.events, stored.secrets), (hook.url.clone(), hook.events.clone(), 1));
    let deleted = streambook_model::records::registry::Endpoint {
        deleted_at: Some(Timestamp::from_millis(5)),
        ..hook.clone()
    };
    bench.write([endpoint_changed(deleted).into()]).await;
    assert_eq!(reads.endpoint(scope(), hook.id).await.unwrap(), None);
    assert!(reads.endpoints(scope(), Page::first(10)).await.unwrap().rows.is_empty());
    let first = reads.attempts(scope(), hook.id, Page::first(1)).await.unwrap();
    assert_eq!((first.rows[0].number, first.rows[0].status_code), (2, Some(503)));
    let rest = reads.attempts(scope(), hook.id, Page::after(1, first.next.unwrap())).await.unwrap();
    assert_eq!((rest.rows[0].number, rest.next), (1, None));
}

async fn operators_read_merchants_letters_heads_and_the_audit_log(on: Dialect) {
    let mut bench = Bench::new(on).await;
    let mut renamed = merchant_changed(merchant(1), "renamed");
    let address = FixedAddress { chain: ChainId(1), address: Address::new([5; 20]) };
    let least = AssetAmount { asset: "usdc:1".parse().unwrap(), amount: amount(10_000) };
    renamed.merchant.addresses = vec![address];
    renamed.merchant.tolerance = Some(Tolerance { parts_per_million: 1_000, amounts: vec![least] });
    bench
        .write([
            merchant_changed(merchant(1), "shop").into(),
            renamed.clone().into(),
            endpoint_changed(endpoint_of(merchant(2))).into(),
            letter(8).into(),
            head(12).into(),
        ])
        .await;
    let reads = bench.sink.reads();
    assert_eq!(reads.merchant(merchant(1)).await.unwrap(), Some(renamed.merchant));
    assert_eq!(reads.merchants(Page::first(10)).await.unwrap().rows.len(), 1);
    let stored = reads.dead_letters(Page::first(10)).await.unwrap().rows.remove(0);
    assert_eq!((stored.offset, stored.code.as_str()), (Offset(8), "unknown_payment"));
    assert_eq!((stored.record_key.as_slice(), stored.record.as_slice()), (&[0, 255][..], &[1, 2, 3][..]));
    assert_eq!(reads.dead_letter(stored.letter).await.unwrap(), Some(stored));
    let chain = ChainId(31_337);
    assert_eq!(reads.chain_head(chain).await.unwrap().map(|head| head.number.0), Some(12));
    let audit = reads.audit_log(None, Page::first(10)).await.unwrap().rows;
    let subjects: Vec<_> = audit.iter().map(|row| row.subject.as_str()).collect();
    assert_eq!(subjects, ["endpoint", "merchant", "merchant"]);
    assert_eq!((audit[0].command, audit[0].merchant), (Some(Offset(2)), Some(merchant(2))));
    assert!(audit[1].detail.contains("renamed"), "{}", audit[1].detail);
    assert_eq!(reads.audit_log(Some(merchant(1)), Page::first(10)).await.unwrap().rows.len(), 2);
}

/// How SQLite would run a query.
async fn plan(bench: &Bench, query: Query) -> String {
    let rows = bench.sink.database.fetch("explaining", query.explained()).await.unwrap();
    let line = |mut row: crate::sql::cell::Row| {
        for _ in 0..3 {
            row.integer().unwrap();
        }
        row.text().unwrap()
    };
    rows.into_iter().map(line).collect::<Vec<_>>().join("; ")
}

#[tokio::test]
async fn lists_walk_the_index_that_was_made_for_them() {
    let bench = Bench::new(Dialect::Sqlite).await;
    let check = async |query: Query, index: &str| {
        let plan = plan(&bench, query).await;
        assert!(plan.contains(index) && !plan.contains("SCAN payment"), "{plan}");
    };
    let (one, page) = (payment(1, merchant(1)).id, Page::after(10, PositionKey(5)));
    let of_one = EventFilter { event_type: None, payment: Some(one) };
    check(events::list(scope(), EventFilter::default(), page), "payment_events_by_merchant").await;
    check(events::list(scope(), of_one, page), "payment_events_by_payment").await;
    let some = event(&payment(1, merchant(1)), PaymentEventType::Created).event;
    check(events::one(scope(), some), "payment_events_by_payment (payment>? AND payment<?)").await;
    let page = Page::after(10, SequenceKey(5));
    check(ledger::list(scope(), None, page).unwrap(), "(merchant=? AND livemode=? AND sequence<?)").await;
    check(ledger::list(scope(), Some(one), page).unwrap(), "ledger_transactions_by_payment").await;
    let page = Page::after(10, PaymentKey { created_at_ms: 5, id: one });
    let all = PaymentFilter::default();
    check(payments::list(scope(), &all, page).unwrap(), "payments_by_creation").await;
    let open = PaymentFilter { status: Some(PaymentStatus::Disputed), ..all.clone() };
    check(payments::list(scope(), &open, page).unwrap(), "payments_by_status").await;
    let named = PaymentFilter { reference_id: Some("ORDER_1".into()), ..all };
    check(payments::list(scope(), &named, page).unwrap(), "payments_by_reference").await;
}

super::on_both!(
    a_payment_and_its_events_come_back_whole,
    amounts_are_exact_to_38_digits,
    lists_are_newest_first_and_end,
    a_cursor_stays_where_it_is_while_rows_are_added,
    payments_are_filtered,
    ledger_transactions_come_with_their_entries,
    one_merchant_never_sees_anothers_data_nor_test_data_live,
    a_deleted_endpoint_is_gone_but_its_attempts_can_be_read,
    operators_read_merchants_letters_heads_and_the_audit_log,
);
