//! What else can become of a card payment.

use super::{
    super::books::{Asset, Case, Expected},
    World,
};

/// Everything, at the same time.
pub(super) async fn all(world: &World) -> anyhow::Result<Vec<Case>> {
    let (refunded, failed) = tokio::join!(refunded(world), failed(world));
    Ok(vec![refunded?, failed?])
}

/// Part of the charge is refunded in Stripe's dashboard.
async fn refunded(world: &World) -> anyhow::Result<Case> {
    const WHAT: &str = "card payment refunded in part";
    let (amount, refund) = (8_000, 2_500);
    let payment = world.shop.charge(Asset::Dollar, amount, WHAT).await?;
    let card = world.card(&payment, amount);
    world.stripe.pay(&card).await?;
    world.until(&payment, "completed").await?;
    world.stripe.refund(&card, refund).await?;
    let expected = Expected { refunded: refund, costs: card.fee(), ..Expected::paid(Asset::Dollar, amount) };
    let (case, payment) = world.ends(WHAT, &payment, expected).await?;
    let story = format!("paid by card → completed, {} refunded at Stripe", Asset::Dollar.text(refund));
    world.tell(&payment, &expected, amount, &story);
    Ok(case)
}

/// The payer gives up.
async fn failed(world: &World) -> anyhow::Result<Case> {
    const WHAT: &str = "card payment given up";
    let amount = 4_200;
    let payment = world.shop.charge(Asset::Dollar, amount, WHAT).await?;
    world.stripe.give_up(&world.card(&payment, amount)).await?;
    let expected = Expected::open("failed", Asset::Dollar, 0);
    let (case, payment) = world.ends(WHAT, &payment, expected).await?;
    world.tell(&payment, &expected, amount, "the payer gave up → failed");
    Ok(case)
}
