//! What else can become of a payment on the chain while its deadline is far away.

use super::{
    super::books::{Asset, Case, Expected},
    World,
};

/// Where refunds go: an address that nobody has a key for.
const REFUNDS_TO: &str = "0x00000000000000000000000000000000000Face0";

/// Everything, at the same time.
pub(super) async fn all(world: &World) -> anyhow::Result<Vec<Case>> {
    let (over, together, canceled, noise, refunded) =
        tokio::join!(over(world), together(world), canceled(world), noise(world), refunded(world));
    let mut cases = together?;
    cases.extend([over?, canceled?, noise?, refunded?]);
    Ok(cases)
}

/// More is paid than was asked for; the merchant returns the excess.
async fn over(world: &World) -> anyhow::Result<Case> {
    const WHAT: &str = "overpaid, the excess returned";
    let (amount, excess) = (20_000_000, 3_250_000);
    let payment = world.charge(amount, WHAT).await?;
    world.pay(&payment, amount + excess).await?;
    world.until(&payment, "overpaid").await?;
    world.shop.refund(&payment.id, Asset::Token.text(excess), REFUNDS_TO).await?;
    let expected = Expected {
        status: "overpaid",
        received: amount + excess,
        returned: excess,
        ..Expected::paid(Asset::Token, amount)
    };
    let (case, payment) = world.ends(WHAT, &payment, expected).await?;
    let excess = Asset::Token.text(excess);
    world.tell(&payment, &expected, amount, &format!("paid {excess} too much → overpaid, {excess} returned"));
    Ok(case)
}

/// One transaction pays three payments.
async fn together(world: &World) -> anyhow::Result<Vec<Case>> {
    const WHAT: &str = "three paid in one transaction";
    let amounts = [5_000_000, 6_500_000, 8_250_001];
    let (mut payments, mut transfers) = (Vec::new(), Vec::new());
    for amount in amounts {
        let payment = world.charge(amount, WHAT).await?;
        transfers.push(world.chain.payment(payment.address()?, u128::try_from(amount)?));
        payments.push(payment);
    }
    world.chain.send_together(&transfers).await?;
    let mut cases = Vec::new();
    for (payment, amount) in payments.iter().zip(amounts) {
        let expected = Expected::paid(Asset::Token, amount);
        let (case, payment) = world.ends(WHAT, payment, expected).await?;
        world.tell(&payment, &expected, amount, "paid with two others in one transaction → completed");
        cases.push(case);
    }
    Ok(cases)
}

/// The merchant withdraws it before anything is paid.
async fn canceled(world: &World) -> anyhow::Result<Case> {
    const WHAT: &str = "canceled by the merchant";
    let amount = 9_990_000;
    let payment = world.charge(amount, WHAT).await?;
    world.shop.cancel(&payment.id).await?;
    let expected = Expected::open("canceled", Asset::Token, 0);
    let (case, payment) = world.ends(WHAT, &payment, expected).await?;
    world.tell(&payment, &expected, amount, "withdrawn by the merchant → canceled");
    Ok(case)
}

/// A transfer of nothing and one of an unlisted token change nothing; then it is paid.
async fn noise(world: &World) -> anyhow::Result<Case> {
    const WHAT: &str = "zero and unlisted transfers ignored";
    let amount = 11_000_000;
    let payment = world.charge(amount, WHAT).await?;
    world.pay(&payment, 0).await?;
    let unlisted = world.chain.unlisted(payment.address()?, u128::try_from(amount)?);
    let transaction = world.chain.send(&unlisted).await?;
    world.chain.included(&transaction).await?;
    world.pay(&payment, amount).await?;
    let expected = Expected::paid(Asset::Token, amount);
    let (case, payment) = world.ends(WHAT, &payment, expected).await?;
    anyhow::ensure!(
        payment.transactions.len() == 1,
        "{}: a transfer that should be ignored is listed",
        payment.id
    );
    world.tell(
        &payment,
        &expected,
        amount,
        "a zero-value and an unlisted transfer ignored, then paid → completed",
    );
    Ok(case)
}

/// Part of what was paid goes back.
async fn refunded(world: &World) -> anyhow::Result<Case> {
    const WHAT: &str = "refunded in part by the merchant";
    let (amount, refund) = (40_000_000, 15_000_000);
    let payment = world.charge(amount, WHAT).await?;
    world.pay(&payment, amount).await?;
    world.until(&payment, "completed").await?;
    world.shop.refund(&payment.id, Asset::Token.text(refund), REFUNDS_TO).await?;
    let expected = Expected { refunded: refund, ..Expected::paid(Asset::Token, amount) };
    let (case, payment) = world.ends(WHAT, &payment, expected).await?;
    world.tell(
        &payment,
        &expected,
        amount,
        &format!("paid → completed, {} refunded", Asset::Token.text(refund)),
    );
    Ok(case)
}
