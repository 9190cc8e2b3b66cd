//! What happens in the demo, in three acts: ordinary payments with most of what can go otherwise beside them; then
//! reorganisations, while nothing else is on its way; then time passes, which ends what was left open.

mod cards;
mod deadlines;
mod ordinary;
mod outcomes;
mod reorgs;

use std::{sync::Arc, time::Duration};

use anyhow::bail;
use tokio::time::Instant;

pub(super) use self::ordinary::trickle;
use super::{
    audit,
    books::{Asset, Case, Expected},
    chain::Chain,
    merchant::{Payment, Shop},
    report::{Reader, seconds},
    stripe::{Card, Stripe},
};

/// How long a payment may take to where it should go.
const WAIT: Duration = Duration::from_secs(45);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Everybody who takes part.
pub(super) struct World {
    pub(super) chain: Arc<Chain>,
    pub(super) shop: Shop,
    pub(super) stripe: Stripe,
    pub(super) reader: Reader,
}

/// What was tried, and what did not come about.
#[derive(Default)]
pub(super) struct Round {
    pub(super) cases: Vec<Case>,
    pub(super) problems: Vec<String>,
}

impl Round {
    fn take(&mut self, what: &str, outcome: anyhow::Result<Vec<Case>>) {
        match outcome {
            Ok(cases) => self.cases.extend(cases),
            Err(error) => self.problems.push(format!("{what}: {error:#}")),
        }
    }
}

/// Plays everything.
pub(super) async fn play(world: &World, payments: u32) -> Round {
    let mut round = Round::default();
    world.reader.chapter("Traffic");
    let (ordinary, outcomes, cards, open) = tokio::join!(
        ordinary::all(world, payments),
        outcomes::all(world),
        cards::all(world),
        deadlines::open(world),
    );
    ordinary
        .into_iter()
        .for_each(|outcome| round.take("an ordinary payment", outcome.map(|case| vec![case])));
    round.take("outcomes on the chain", outcomes);
    round.take("card payments", cards);
    world.reader.chapter("Reorganisations");
    round.take("a reorganisation before completion", reorgs::before_completion(world).await);
    round.take("a reorganisation after completion", reorgs::after_completion(world).await);
    world.reader.chapter("Deadlines");
    let closed = match open {
        Ok(open) => deadlines::close(world, &open).await,
        Err(error) => Err(error),
    };
    round.take("deadlines", closed);
    round
}

impl World {
    /// Asks for money on the chain.
    async fn charge(&self, amount: i128, what: &'static str) -> anyhow::Result<Payment> {
        self.shop.charge(Asset::Token, amount, what).await
    }

    /// Pays on the chain; gives the transaction's hash.
    async fn pay(&self, payment: &Payment, amount: i128) -> anyhow::Result<String> {
        self.chain.send(&self.chain.payment(payment.address()?, u128::try_from(amount)?)).await
    }

    /// A card for this payment.
    fn card<'a>(&'a self, payment: &'a Payment, amount: i128) -> Card<'a> {
        Card { merchant: &self.shop.id, payment: &payment.id, amount }
    }

    /// Tells what became of a payment.
    fn tell(&self, payment: &Payment, expected: &Expected, amount: i128, story: &str) {
        self.reader.tell(&payment.id, expected.asset, amount, story);
    }

    /// Waits until a payment is in this status.
    async fn until(&self, payment: &Payment, status: &str) -> anyhow::Result<Payment> {
        self.until_it(payment, status, |payment| payment.status == status).await
    }

    /// Waits until a payment is as it should end; gives the case.
    async fn ends(
        &self,
        what: &'static str,
        payment: &Payment,
        expected: Expected,
    ) -> anyhow::Result<(Case, Payment)> {
        let case = Case { what, payment: payment.id.clone(), expected };
        let is_there = |payment: &Payment| audit::found(&case, payment).problem.is_none();
        let wanted = format!("{} with {} received", expected.status, expected.asset.show(expected.received));
        let payment = self.until_it(payment, &wanted, is_there).await?;
        Ok((case, payment))
    }

    async fn until_it(
        &self,
        payment: &Payment,
        wanted: &str,
        reached: impl Fn(&Payment) -> bool,
    ) -> anyhow::Result<Payment> {
        let end = Instant::now() + WAIT;
        loop {
            let now = self.shop.payment(&payment.id).await?;
            if reached(&now) {
                return Ok(now);
            }
            if Instant::now() > end {
                let (id, status, received) = (&now.id, &now.status, &now.amount_received);
                bail!(
                    "{id} should be {wanted}; after {} s it is {status}, received {received}",
                    WAIT.as_secs()
                );
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// What a completed payment's line says in brackets.
fn took(payment: &Payment, began: Instant) -> String {
    let blocks = if payment.confirmations == 0 {
        String::new()
    } else {
        format!("{} confirmations, ", payment.confirmations)
    };
    format!("({blocks}{})", seconds(began.elapsed()))
}
