//! Every view against a week-end of two shops whose numbers are known, and again after every row was written twice.

use streambook_model::{
    message::Message,
    money::Amount,
    records::{
        chain::TransferStatus::{Confirmed, Finalized, Orphaned, Seen},
        payment::{Payment, PaymentEventType as Event, PaymentStatus as Status},
        stripe::CardFactKind,
        webhook::AttemptOutcome::{Delivered, Exhausted, Failed},
    },
    topics,
};

use super::{
    engine::Engine,
    records::{
        amount, attempt, block, by_card, cancel, event, fact, head, letter, merchant, named, on_chain,
        refunded, reply, settings, stripe_event, transaction, transfer,
    },
    world::World,
};

/// Seconds from the first day's start to the second's.
const DAY: i64 = 86_400;

/// What each view says, by a question to it. The first column of most is the day.
const ANSWERS: [(&str, &str); 19] = [
    ("SELECT asset, scale, unit FROM asset_units ORDER BY asset", "usd\t2\t0.01\nusdc:31337\t6\t0.000001\n"),
    (
        "SELECT day, name, method, asset, payments, payments_ended, payments_succeeded, volume, value FROM payment_volume \
         JOIN merchants USING merchant ORDER BY day, name, method",
        "2030-03-01\tAnna\tcard\tusd\t2\t2\t2\t5500\t55\n\
         2030-03-01\tAnna\tchain\tusdc:31337\t1\t1\t1\t10000000\t10\n\
         2030-03-01\tBert\tchain\tusdc:31337\t5\t4\t1\t23250000\t23.25\n\
         2030-03-02\tAnna\tchain\tusdc:31337\t1\t1\t1\t8000000\t8\n",
    ),
    (
        "SELECT day, merchant = 'mer_01010101010101010101010101010101', method, payments_paid, seconds_average, seconds_p50, \
         seconds_p95, seconds_longest FROM completion_times ORDER BY day, merchant, method",
        "2030-03-01\t1\tcard\t2\t4.5\t5\t5\t5\n\
         2030-03-01\t1\tchain\t1\t40\t40\t40\t40\n\
         2030-03-01\t0\tchain\t1\t30\t30\t30\t30\n\
         2030-03-02\t1\tchain\t1\t20\t20\t20\t20\n",
    ),
    (
        "SELECT payments_ended, underpaid, overpaid, late, expired, canceled, failed, underpaid_share, late_share \
         FROM payment_outcomes WHERE merchant LIKE 'mer_02%'",
        "4\t1\t1\t1\t1\t0\t0\t0.25\t0.25\n",
    ),
    (
        "SELECT day, policy_depth, confirmed, confirmations_least, seconds_p50, seconds_p95, seconds_longest, below_policy \
         FROM confirmation_times ORDER BY day",
        "2030-03-01\t3\t3\t3\t30\t40\t40\t0\n2030-03-02\t3\t2\t3\t30\t30\t30\t0\n",
    ),
    (
        "SELECT count(), countIf(orphaned), countIf(finalized), countIf(policy_held) FROM transfer_confirmations",
        "5\t1\t1\t5\n",
    ),
    (
        "SELECT day, chain, reorgs, deepest, blocks_taken_back, transfers_orphaned, payments_reversed FROM chain_reorgs",
        "2030-03-02\t31337\t1\t2\t2\t1\t1\n",
    ),
    ("SELECT times_reversed, status_now, came_again, asset FROM reversals", "1\tcompleted\t1\tusdc:31337\n"),
    (
        "SELECT day, asset, platform_fees, stripe_fees, platform_fees_value, stripe_fees_value FROM revenue \
         ORDER BY day, asset",
        "2030-03-01\tusd\t13\t103\t0.13\t1.03\n\
         2030-03-01\tusdc:31337\t50000\t0\t0.05\t0\n\
         2030-03-02\tusdc:31337\t40000\t0\t0.04\t0\n",
    ),
    (
        "SELECT day, method, asset, refunds, refunded_value, refunds_failed, disputes_opened, disputed_value, disputes_won, \
         disputes_lost FROM refunds_and_disputes ORDER BY day, method",
        "2030-03-01\tcard\tusd\t1\t5\t0\t1\t30\t0\t0\n\
         2030-03-01\tchain\tusdc:31337\t1\t3.25\t0\t0\t0\t0\t0\n\
         2030-03-02\tcard\tusd\t0\t0\t0\t0\t0\t1\t0\n",
    ),
    (
        "SELECT messages, attempts_made, messages_delivered, messages_exhausted, delivered_at_once, delivered_share, \
         answer_ms_p50, delay_seconds_p50 FROM webhook_delivery ORDER BY merchant",
        "2\t3\t2\t0\t1\t1\t120\t10\n1\t2\t0\t1\t0\t0\t300\tnan\n",
    ),
    (
        "SELECT day, closing_balance, movement, lines, closing_value FROM balances_daily \
         WHERE account_kind = 'merchant/available' AND asset = 'usdc:31337' ORDER BY day",
        "2030-03-01\t-9950000\t-9950000\t1\t-9.95\n2030-03-02\t-17910000\t-7960000\t3\t-17.91\n",
    ),
    (
        "SELECT account_kind, asset, balance, value, lines, lines_missing, difference FROM balances \
         ORDER BY account_kind, asset",
        "merchant/available\tusd\t-1884\t-18.84\t3\t0\t0\n\
         merchant/available\tusdc:31337\t-17910000\t-17.91\t4\t0\t0\n\
         merchant/clearing\tusd\t0\t0\t2\t0\t0\n\
         merchant/clearing\tusdc:31337\t0\t0\t8\t0\t0\n\
         platform/deposits\tusdc:31337\t18000000\t18\t4\t0\t0\n\
         platform/fees\tusd\t-13\t-0.13\t1\t0\t0\n\
         platform/fees\tusdc:31337\t-90000\t-0.09\t4\t0\t0\n\
         platform/stripe\tusd\t1897\t18.97\t3\t0\t0\n",
    ),
    ("SELECT count() FROM ledger_imbalances", "0\n"),
    (
        "SELECT command, outcome, code, requests FROM api_outcomes ORDER BY outcome",
        "cancel_payment\taccepted\t\t1\n\
         cancel_payment\trejected\tpayment_not_cancelable\t1\n\
         cancel_payment\tunanswered\t\t1\n",
    ),
    ("SELECT day, task, code, letters FROM dead_letter_counts", "2030-03-01\tbook/0\tunknown_payment\t2\n"),
    ("SELECT chain, head, finalized, halted_because FROM chain_status", "31337\t11\t1\t\n"),
    ("SELECT count(), min(done) FROM sink_progress", "10\t1\n"),
    ("SELECT (SELECT count() FROM stripe_events FINAL), (SELECT count() FROM chain_blocks FINAL)", "2\t2\n"),
];

/// Every table of facts.
const TABLES: [&str; 12] = [
    "payment_events",
    "payments",
    "ledger_entries",
    "chain_transfers",
    "chain_heads",
    "chain_blocks",
    "stripe_events",
    "stripe_facts",
    "webhook_attempts",
    "api_requests",
    "api_replies",
    "dead_letters",
];

/// Records of each topic as they come about.
#[derive(Default)]
struct Story {
    events: Vec<Message>,
    ledger: Vec<Message>,
    chain: Vec<Message>,
    book: Vec<Message>,
    webhooks: Vec<Message>,
}

impl Story {
    fn step(&mut self, payment: &mut Payment, what: Event, status: Status, seconds: i64) {
        self.events.push(event(payment, what, status, seconds));
    }

    fn received(&mut self, payment: &mut Payment, units: i128, fee: i128) {
        (payment.amount_received, payment.amount_confirmed) = (amount(units), amount(units));
        payment.fee = amount(fee);
    }

    /// Paid on the chain, refunded nothing: the plain case.
    fn paid_on_chain(&mut self) -> Payment {
        let mut payment = on_chain(1, merchant(1), 10_000_000, 0);
        self.step(&mut payment, Event::Created, Status::Pending, 0);
        self.step(&mut payment, Event::Confirming, Status::Confirming, 10);
        self.received(&mut payment, 10_000_000, 50_000);
        self.step(&mut payment, Event::Completed, Status::Completed, 40);
        self.chain.push(transfer(&payment, 1, Seen, 1, 10));
        self.chain.push(transfer(&payment, 1, Confirmed, 3, 40));
        self.chain.push(transfer(&payment, 1, Finalized, 12, 100));
        let (into, from) = (10_000_000, -10_000_000);
        let received = [("platform/deposits", into, into, 1), ("merchant/clearing", from, from, 1)];
        self.ledger.push(transaction(&payment, "transfer.received", &received, 40));
        let applied = [
            ("merchant/clearing", into, 0, 2),
            ("merchant/available", -9_950_000, -9_950_000, 1),
            ("platform/fees", -50_000, -50_000, 1),
        ];
        self.ledger.push(transaction(&payment, "payment.applied", &applied, 40));
        self.webhooks.push(attempt(&payment, 3, (1, Failed), 120, 42));
        self.webhooks.push(attempt(&payment, 3, (2, Delivered), 80, 50));
        self.book.push(cancel(&payment, 1, 45));
        payment
    }

    /// Paid by card; a fifth goes back.
    fn paid_by_card(&mut self) {
        let mut payment = by_card(2, merchant(1), 2_500, 60);
        self.step(&mut payment, Event::Created, Status::Pending, 60);
        self.received(&mut payment, 2_500, 13);
        self.step(&mut payment, Event::Completed, Status::Completed, 65);
        self.webhooks.push(attempt(&payment, 2, (1, Delivered), 30, 66));
        self.events.push(refunded(&mut payment, 500, 3_660));
        self.book.push(fact(&payment, CardFactKind::Succeeded, 2_500, 65));
        let received = [("platform/stripe", 2_500, 2_500, 1), ("merchant/clearing", -2_500, -2_500, 1)];
        self.ledger.push(transaction(&payment, "card.received", &received, 65));
        let applied = [
            ("merchant/clearing", 2_500, 0, 2),
            ("merchant/available", -2_487, -2_487, 1),
            ("platform/fees", -13, -13, 1),
        ];
        self.ledger.push(transaction(&payment, "payment.applied", &applied, 65));
        let fee = [("merchant/available", 103, -2_384, 2), ("platform/stripe", -103, 2_397, 2)];
        self.ledger.push(transaction(&payment, "card.fee", &fee, 70));
        let back = [("merchant/available", 500, -1_884, 3), ("platform/stripe", -500, 1_897, 3)];
        self.ledger.push(transaction(&payment, "card.refunded", &back, 3_660));
    }

    /// Paid by card, disputed, and won the next day.
    fn disputed(&mut self) {
        let mut payment = by_card(7, merchant(1), 3_000, 400);
        self.step(&mut payment, Event::Created, Status::Pending, 400);
        self.received(&mut payment, 3_000, 0);
        self.step(&mut payment, Event::Completed, Status::Completed, 404);
        self.step(&mut payment, Event::Disputed, Status::Disputed, 5_000);
        self.step(&mut payment, Event::Completed, Status::Completed, DAY + 100);
        self.book.push(fact(&payment, CardFactKind::DisputeOpened, 3_000, 5_000));
        self.book.push(fact(&payment, CardFactKind::DisputeWon, 3_000, DAY + 100));
    }

    /// Paid the next day, taken back by a reorganisation, and paid again by another block.
    fn reversed(&mut self) {
        let mut payment = on_chain(6, merchant(1), 8_000_000, DAY);
        self.step(&mut payment, Event::Created, Status::Pending, DAY);
        self.step(&mut payment, Event::Confirming, Status::Confirming, DAY + 10);
        self.received(&mut payment, 8_000_000, 40_000);
        self.step(&mut payment, Event::Completed, Status::Completed, DAY + 20);
        self.step(&mut payment, Event::Reversed, Status::Reversed, DAY + 40);
        self.step(&mut payment, Event::Completed, Status::Completed, DAY + 80);
        for (inclusion, status, seconds) in
            [(4, Seen, 10), (4, Confirmed, 20), (4, Orphaned, 40), (5, Seen, 50), (5, Confirmed, 80)]
        {
            self.chain.push(transfer(&payment, inclusion, status, 3, DAY + seconds));
        }
        self.chain.push(head(10, 0, DAY + 30));
        self.chain.push(head(11, 2, DAY + 40));
        for (version, seconds) in [(0, 20), (2, 80)] {
            self.booked(&payment, version, DAY + seconds);
        }
    }

    /// The books of the payment above, the first time with what takes it back.
    fn booked(&mut self, payment: &Payment, before: u64, seconds: i64) {
        let units = 8_000_000;
        let lines = |sign: i128, before: u64| {
            let (deposits, available, fees) =
                if sign > 0 { (18_000_000, -17_910_000, -90_000) } else { (10_000_000, -9_950_000, -50_000) };
            let (first, second) = if sign > 0 { (-units, 0) } else { (0, -units) };
            let received = [
                ("platform/deposits", sign * units, deposits, 2 + before),
                ("merchant/clearing", -sign * units, first, 3 + 2 * before + u64::from(sign < 0)),
            ];
            let applied = [
                ("merchant/clearing", sign * units, second, 4 + 2 * before - u64::from(sign < 0)),
                ("merchant/available", -sign * 7_960_000, available, 2 + before),
                ("platform/fees", -sign * 40_000, fees, 2 + before),
            ];
            (received, applied)
        };
        let (received, applied) = lines(1, before);
        self.ledger.push(transaction(payment, "transfer.received", &received, seconds));
        self.ledger.push(transaction(payment, "payment.applied", &applied, seconds));
        if before == 0 {
            let (received, applied) = lines(-1, 1);
            self.ledger.push(transaction(payment, "payment.applied", &applied, seconds + 20));
            self.ledger.push(transaction(payment, "transfer.received", &received, seconds + 20));
        }
    }

    /// What else can happen, at the second shop.
    fn otherwise(&mut self) {
        let mut under = on_chain(3, merchant(2), 10_000_000, 100);
        self.step(&mut under, Event::Created, Status::Pending, 100);
        self.step(&mut under, Event::Confirming, Status::Confirming, 110);
        self.received(&mut under, 4_000_000, 0);
        self.step(&mut under, Event::Underpaid, Status::Underpaid, 1_900);
        self.chain.push(transfer(&under, 2, Seen, 1, 110));
        self.chain.push(transfer(&under, 2, Confirmed, 4, 150));

        let mut over = on_chain(4, merchant(2), 20_000_000, 200);
        self.step(&mut over, Event::Created, Status::Pending, 200);
        self.step(&mut over, Event::Confirming, Status::Confirming, 205);
        self.received(&mut over, 23_250_000, 100_000);
        self.step(&mut over, Event::Overpaid, Status::Overpaid, 230);
        self.webhooks.push(attempt(&over, 3, (1, Failed), 300, 231));
        self.webhooks.push(attempt(&over, 3, (2, Exhausted), 300, 240));
        self.events.push(refunded(&mut over, 3_250_000, 4_000));
        self.chain.push(transfer(&over, 3, Seen, 1, 205));
        self.chain.push(transfer(&over, 3, Confirmed, 3, 230));

        let mut never = on_chain(5, merchant(2), 5_000_000, 300);
        self.step(&mut never, Event::Created, Status::Pending, 300);
        self.step(&mut never, Event::Expired, Status::Expired, 2_100);

        let mut open = on_chain(8, merchant(2), 1_000_000, 500);
        self.step(&mut open, Event::Created, Status::Pending, 500);
        self.book.push(cancel(&open, 2, 501));
        self.book.push(cancel(&never, 3, 2_200));

        let mut late = on_chain(9, merchant(2), 6_000_000, 600);
        self.step(&mut late, Event::Created, Status::Pending, 600);
        self.step(&mut late, Event::Expired, Status::Expired, 2_400);
        self.received(&mut late, 6_000_000, 0);
        self.step(&mut late, Event::PaidLate, Status::PaidLate, 2_500);
        late.amount_refunded = Amount::ZERO;
    }
}

/// The log of the week-end.
async fn world() -> World {
    let mut story = Story::default();
    story.paid_on_chain();
    story.paid_by_card();
    story.disputed();
    story.reversed();
    story.otherwise();
    let mut world = World::new().await;
    let registry =
        [settings(), named(merchant(1), "An"), named(merchant(1), "Anna"), named(merchant(2), "Bert")];
    world.append(topics::REGISTRY_EVENTS, 0, registry).await;
    world.append(topics::PAYMENTS_EVENTS, 0, story.events).await;
    world.append(topics::LEDGER_TRANSACTIONS, 0, story.ledger).await;
    // The books are told of transfers, names and settings in their own inbox, which are not to be counted again.
    let copies = story.chain.iter().filter(|message| matches!(message, Message::TransferEvent(_))).cloned();
    story.book.extend(copies.chain([named(merchant(1), "Copy"), settings()]));
    world.append(topics::CHAIN_TRANSFERS, 0, story.chain).await;
    world.append(topics::BOOK_INBOX, 0, story.book).await;
    world.append(topics::WEBHOOKS_ATTEMPTS, 0, story.webhooks).await;
    let replies = [reply(1, Some("payment_not_cancelable"), 45), reply(3, None, 2_200)];
    world.append(topics::API_REPLIES, 0, replies).await;
    world.append(topics::DEAD_LETTERS, 0, [letter(1, 700), letter(2, 701)]).await;
    world.append(topics::STRIPE_INBOX, 0, [stripe_event(1, 65), stripe_event(2, 404)]).await;
    world.append(topics::CHAIN_INBOX, 0, [block(10, 30), block(11, 40)]).await;
    world
}

async fn is_answered(engine: &Engine, database: &str) {
    for (question, answer) in ANSWERS {
        assert_eq!(engine.ask(database, question).await, answer, "{question}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_view_answers_its_question_and_stays_right_when_every_row_comes_twice() {
    let Some(engine) = Engine::shared() else { return };
    let world = world().await;
    engine.ask("default", "DROP DATABASE IF EXISTS views").await;
    world.fill(engine, "views").await;
    is_answered(engine, "views").await;
    for table in TABLES {
        // Merges would hide what is to be shown: that a question does not depend on them.
        engine.ask("views", &format!("SYSTEM STOP MERGES {table}")).await;
        engine.ask("views", &format!("INSERT INTO {table} SELECT * FROM {table}")).await;
    }
    let twice = engine.ask("views", "SELECT count() = 2 * uniqExact(log_offset) FROM payment_events").await;
    assert_eq!(twice, "1\n", "the rows did not come twice");
    is_answered(engine, "views").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_and_no_body_reaches_clickhouse() {
    let Some(engine) = Engine::shared() else { return };
    engine.ask("default", "DROP DATABASE IF EXISTS secrets").await;
    world().await.fill(engine, "secrets").await;
    let columns = engine.ask("secrets", "SELECT name FROM system.columns WHERE database = 'secrets'").await;
    for word in ["payload", "body", "secret", "key_hash", "record\n"] {
        assert!(!columns.contains(word), "{word}: {columns}");
    }
}
