//! Traffic that keeps an account of its own: what was asked and acknowledged, what was paid, and so what must have become of
//! everything. It shares no code with the product.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rand::{Rng, SeedableRng, rngs::StdRng};
use reqwest::Method;
use serde_json::{Value, json};
use streambook_devchain::{AutoMiner, Dropped, LiveBlock, ReorgOptions};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::{
    api::{Answer, Api, text},
    chain::{TestChain, Transfer},
    devchain::{self, Development},
    hook::Hook,
    money::{TOKEN, Tally, token, token_text},
    shop::Shop,
    streambook::Streambook,
    waiting::Progress,
};

/// Workers that keep Streambook busy.
const WORKERS: u64 = 4;
/// Between two orders of a worker.
const PAUSE: Duration = Duration::from_millis(40);
/// Between two blocks.
const BLOCK_TIME: Duration = Duration::from_millis(150);
/// One request of the traffic may take so long; then it is sent again with the same key.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is done with a payment, and so how it must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Course {
    Exact,
    InParts,
    TooMuch,
    Canceled,
    Unpaid,
}

impl Course {
    fn draw(random: &mut StdRng) -> Self {
        match random.random_range(0..10) {
            0 => Self::Canceled,
            1 => Self::Unpaid,
            2 => Self::TooMuch,
            3 | 4 => Self::InParts,
            _ => Self::Exact,
        }
    }

    const fn ends(self) -> &'static str {
        match self {
            Self::Exact | Self::InParts => "completed",
            Self::TooMuch => "overpaid",
            Self::Canceled => "canceled",
            Self::Unpaid => "pending",
        }
    }
}

/// A payment that was acknowledged.
#[derive(Debug, Clone)]
struct Order {
    id: String,
    reference: String,
    amount: i128,
    course: Course,
}

/// Units that are paid beyond what was asked.
const EXTRA: i128 = 1_234_567;

/// The traffic: a chain that mines by itself, a shop, and workers that order and pay in it.
pub(crate) struct Traffic {
    /// What goes on.
    pub(crate) world: Arc<World>,
    hook: Hook,
    workers: Vec<JoinHandle<()>>,
    miner: Option<AutoMiner>,
}

/// What the workers share.
pub(crate) struct World {
    chain: Development,
    shop: Shop,
    orders: Mutex<Vec<Order>>,
    is_over: AtomicBool,
}

impl Traffic {
    /// Starts the workers. They stop at [`Traffic::end`].
    pub(crate) async fn start(streambook: &Streambook, chain: Development, random: &mut StdRng) -> Self {
        Self::start_with(WORKERS, streambook, chain, random).await
    }

    /// Starts so many workers.
    pub(crate) async fn start_with(
        workers: u64,
        streambook: &Streambook,
        chain: Development,
        random: &mut StdRng,
    ) -> Self {
        let shop = Shop::open(streambook, "busy shop").await;
        let hook = Hook::start().await;
        let (_, secret) = shop.endpoint(hook.url(), &["*"]).await;
        hook.trust(&secret);
        let miner = Some(chain.node().auto_mine(BLOCK_TIME).unwrap());
        let orders = Mutex::new(Vec::new());
        let world = Arc::new(World { chain, shop, orders, is_over: AtomicBool::new(false) });
        let workers = (0..workers).map(|_| tokio::spawn(work(Arc::clone(&world), random.random()))).collect();
        Self { world, hook, workers, miner }
    }

    /// Lets the workers finish their last orders.
    pub(crate) async fn end(&mut self) {
        self.world.is_over.store(true, Ordering::Relaxed);
        for worker in self.workers.drain(..) {
            worker.await.unwrap();
        }
    }

    /// Makes no more blocks, so that nothing happens any more.
    pub(crate) fn rest(&mut self) {
        self.miner = None;
    }

    /// Events that were delivered so far.
    pub(crate) fn delivered(&self) -> usize {
        self.hook.count()
    }

    /// Waits until everything has ended as it must: each payment, each account, each delivery. Gives the number of events
    /// that were delivered.
    pub(crate) async fn until_all_is_right(&self, streambook: &Streambook) -> usize {
        until_all_have_ended(streambook, &self.world).await;
        until_books_are_right(streambook, &self.world).await;
        until_all_is_delivered(streambook, &self.world, &self.hook).await
    }
}

impl World {
    /// Sends a request until the process answers it, whatever dies meanwhile: each time the same request.
    async fn insist(&self, path: &str, key: &str, body: &Value) -> Answer {
        loop {
            let api: &Api = &self.shop.api;
            let request = api.request(Method::POST, path).header("Idempotency-Key", key).timeout(PATIENCE);
            match api.try_send(request.json(body)).await {
                Ok(answer) if matches!(answer.status, 200 | 201) => return answer,
                Ok(answer) => {
                    assert!(matches!(answer.status, 202 | 503), "{path}: {} {}", answer.status, answer.body);
                }
                Err(_) => {}
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn order(&self, random: &mut StdRng) {
        let (course, amount) = (Course::draw(random), random.random_range(100..60_000_000));
        let reference = Uuid::from_u128(random.random()).to_string();
        let body = json!({
            "amount": token_text(amount), "asset": TOKEN, "method": "chain", "expires_in": 86_400,
            "reference_id": reference,
        });
        let payment = self.insist("/v1/payments", &reference, &body).await.body;
        let (id, address) = (text(&payment, "id"), text(&payment, "deposit_address"));
        self.orders.lock().push(Order { id: id.clone(), reference: reference.clone(), amount, course });
        let part = amount / 3;
        match course {
            Course::Exact => self.pay(&address, &[amount]),
            Course::InParts => self.pay(&address, &[part, amount - part]),
            Course::TooMuch => self.pay(&address, &[amount + EXTRA]),
            Course::Canceled => {
                self.insist(&format!("/v1/payments/{id}/cancel"), &format!("cancel {reference}"), &json!({}))
                    .await;
            }
            Course::Unpaid => {}
        }
    }

    fn pay(&self, address: &str, parts: &[i128]) {
        for units in parts {
            let token = self.chain.tokens().accepted.clone();
            devchain::pay(self.chain.node(), &Transfer { token, to: address.to_owned(), units: *units });
        }
    }

    /// The shop.
    pub(crate) const fn shop(&self) -> &Shop {
        &self.shop
    }

    /// Payments that were acknowledged so far.
    pub(crate) fn payments(&self) -> usize {
        self.orders.lock().len()
    }

    /// Replaces the newest blocks; what was in them is mined again.
    pub(crate) fn reorganise(&self, depth: u64) {
        let options = ReorgOptions { dropped: Dropped::Requeue, ..ReorgOptions::default() };
        let empty = (0..depth).map(|_| LiveBlock::default()).collect();
        self.chain.node().reorg(depth, empty, options).unwrap();
    }

    /// What the accounts must hold, from the orders alone.
    fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for order in self.orders.lock().iter() {
            match order.course {
                Course::Exact | Course::InParts => tally.applied(TOKEN, order.amount),
                Course::TooMuch => {
                    tally.applied(TOKEN, order.amount);
                    tally.waits(TOKEN, EXTRA);
                }
                Course::Canceled | Course::Unpaid => {}
            }
        }
        tally
    }
}

async fn work(world: Arc<World>, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    while !world.is_over.load(Ordering::Relaxed) {
        world.order(&mut random).await;
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits until every payment is as it must be, and no others are there.
async fn until_all_have_ended(streambook: &Streambook, world: &World) {
    let orders: BTreeMap<_, _> =
        world.orders.lock().iter().map(|order| (order.id.clone(), order.clone())).collect();
    let probe = async || {
        let found = world.shop.api.all("/v1/payments").await;
        let not_yet = found.iter().filter(|payment| {
            let order = orders.get(&text(payment, "id"));
            let order = order.unwrap_or_else(|| panic!("nobody was told of {payment}"));
            assert_eq!(payment["reference_id"], order.reference.as_str());
            assert_eq!(token(&text(payment, "amount")), order.amount);
            payment["status"] != order.course.ends()
        });
        let not_yet: Vec<_> = not_yet.map(|payment| format!("{payment}")).collect();
        let done = found.len() - not_yet.len();
        let seen = match not_yet.first() {
            None if found.len() == orders.len() => return Ok(()),
            None => format!("{} payments of {}", found.len(), orders.len()),
            Some(first) => format!("{} of {}, for example {first}", not_yet.len(), orders.len()),
        };
        Err(Progress { done, seen })
    };
    streambook.while_advancing("every payment has ended as it must", probe).await;
}

async fn until_books_are_right(streambook: &Streambook, world: &World) {
    let expected = world.tally().balances();
    let probe = async || {
        let found = world.shop.balances().await;
        if found == expected { Ok(()) } else { Err(format!("{found:?} and not {expected:?}")) }
    };
    streambook.until("each payment is credited once", probe).await;
    assert_eq!(world.shop.ledger_sums().await, expected, "the ledger's own sums");
}

async fn until_all_is_delivered(streambook: &Streambook, world: &World, hook: &Hook) -> usize {
    let events = world.shop.all_events().await;
    assert!(events.len() >= world.orders.lock().len(), "at least one event for each payment");
    let probe = async || {
        let done = hook.count();
        if done >= events.len() {
            return Ok(());
        }
        Err(Progress { done, seen: format!("{done} of {} events", events.len()) })
    };
    streambook.while_advancing("every event is delivered", probe).await;
    let accepted = hook.accepted();
    let missing: Vec<_> = events.iter().filter(|(event, _)| !accepted.contains_key(*event)).collect();
    assert_eq!(missing, [], "in the books, and not delivered");
    let unknown: Vec<_> = accepted.into_keys().filter(|event| !events.contains_key(event)).collect();
    assert_eq!(unknown, [""; 0], "delivered, and not in the books");
    events.len()
}
