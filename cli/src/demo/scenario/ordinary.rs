//! Ordinary payments: paid exactly, in several transfers, or by card. Their amounts depend on their number alone.

use std::time::Duration;

use futures::{StreamExt, stream};
use tokio::time::Instant;

use super::{
    super::books::{Asset, Case, Expected},
    World, took,
};

/// Payments under way at once.
const AT_ONCE: usize = 8;
/// The pause between payments of the traffic that goes on.
const PAUSE: Duration = Duration::from_millis(700);

/// Makes so many payments, a few at a time.
pub(super) async fn all(world: &World, payments: u32) -> Vec<anyhow::Result<Case>> {
    stream::iter((0..payments).map(|number| one(world, number))).buffered(AT_ONCE).collect().await
}

/// Makes payments, one after the other, for ever. One that goes wrong is told of, and the next is made.
pub(in crate::demo) async fn trickle(world: &World) {
    for number in (0..=u32::MAX).cycle() {
        if let Err(error) = one(world, number).await {
            world.reader.say(&format!("a payment went wrong: {error:#}"));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn one(world: &World, number: u32) -> anyhow::Result<Case> {
    let cents = i128::from(100 + number.wrapping_mul(7_919) % 9_900);
    match number % 6 {
        3 => in_parts(world, cents * 10_000 + i128::from(number % 10_000), 2 + number / 6 % 2).await,
        5 => by_card(world, cents).await,
        _ => exactly(world, cents * 10_000 + i128::from(number * 37 % 10_000)).await,
    }
}

async fn exactly(world: &World, amount: i128) -> anyhow::Result<Case> {
    const WHAT: &str = "paid exactly";
    let began = Instant::now();
    let payment = world.charge(amount, WHAT).await?;
    let transaction = world.pay(&payment, amount).await?;
    world.chain.included(&transaction).await?;
    let expected = Expected::paid(Asset::Token, amount);
    let (case, payment) = world.ends(WHAT, &payment, expected).await?;
    world.tell(&payment, &expected, amount, &format!("paid → completed {}", took(&payment, began)));
    Ok(case)
}

async fn in_parts(world: &World, amount: i128, parts: u32) -> anyhow::Result<Case> {
    const WHAT: &str = "paid in several transfers";
    let began = Instant::now();
    let payment = world.charge(amount, WHAT).await?;
    let part = amount / i128::from(parts);
    for _ in 1..parts {
        let transaction = world.pay(&payment, part).await?;
        world.chain.included(&transaction).await?;
    }
    world.pay(&payment, amount - part * i128::from(parts - 1)).await?;
    let expected = Expected::paid(Asset::Token, amount);
    let (case, payment) = world.ends(WHAT, &payment, expected).await?;
    let story = format!("paid in {parts} transfers → completed {}", took(&payment, began));
    world.tell(&payment, &expected, amount, &story);
    Ok(case)
}

async fn by_card(world: &World, cents: i128) -> anyhow::Result<Case> {
    const WHAT: &str = "paid by card";
    let began = Instant::now();
    let payment = world.shop.charge(Asset::Dollar, cents, WHAT).await?;
    let card = world.card(&payment, cents);
    world.stripe.pay(&card).await?;
    let expected = Expected { costs: card.fee(), ..Expected::paid(Asset::Dollar, cents) };
    let (case, payment) = world.ends(WHAT, &payment, expected).await?;
    world.tell(&payment, &expected, cents, &format!("paid by card → completed {}", took(&payment, began)));
    Ok(case)
}
