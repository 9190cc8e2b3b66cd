//! Reorganisations. They run while nothing else is on its way, since what an orphaned block held is gone.

use super::{
    super::{
        books::{Asset, Case, Expected},
        merchant::Payment,
    },
    World,
};

/// Blocks on top of what was confirmed already, so that the reorganisation is deeper than any confirmation asks for.
const BURIED: u32 = 2;

/// The transfer's block is replaced before it is confirmed: back to pending, and paid again.
pub(super) async fn before_completion(world: &World) -> anyhow::Result<Vec<Case>> {
    const WHAT: &str = "orphaned before completion, paid again";
    let amount = 14_000_000;
    let payment = world.charge(amount, WHAT).await?;
    let mut quiet = world.chain.quiet().await;
    let transaction = world.pay(&payment, amount).await?;
    quiet.mine().await?;
    let block = world.chain.included(&transaction).await?;
    world.until(&payment, "confirming").await?;
    let depth = quiet.reorg(block, &[]).await?;
    drop(quiet);
    world.until(&payment, "pending").await?;
    let expected = Expected::paid(Asset::Token, amount);
    let story = format!("paid → confirming, its block replaced (depth {depth}) → pending");
    world.tell(&payment, &expected, amount, &story);
    world.pay(&payment, amount).await?;
    let (case, payment) = world.ends(WHAT, &payment, expected).await?;
    world.tell(&payment, &expected, amount, "paid again → completed");
    Ok(vec![case])
}

/// Two payments of one block are completed, and then the block is replaced, with all that stood on it. The new branch
/// carries one of the transfers again; the other payment is reversed until it is paid again.
pub(super) async fn after_completion(world: &World) -> anyhow::Result<Vec<Case>> {
    const LOST: &str = "reversed after completion, paid again";
    const KEPT: &str = "completed, and carried again by the new branch";
    let (amount, other) = (17_000_000, 18_500_000);
    let (lost, kept) = (world.charge(amount, LOST).await?, world.charge(other, KEPT).await?);
    let (transaction, _) = (world.pay(&lost, amount).await?, world.pay(&kept, other).await?);
    let block = world.chain.included(&transaction).await?;
    world.until(&lost, "completed").await?;
    world.until(&kept, "completed").await?;
    let expected = Expected::paid(Asset::Token, amount);
    let mut quiet = world.chain.quiet().await;
    for _ in 0..BURIED {
        quiet.mine().await?;
    }
    let carried = world.chain.payment(kept.address()?, u128::try_from(other)?);
    let depth = quiet.reorg(block, &[carried]).await?;
    drop(quiet);
    world.until(&lost, "reversed").await?;
    let story = format!("completed, its block replaced (depth {depth}) → reversed");
    world.tell(&lost, &expected, amount, &story);
    let kept = returned(world, &kept, KEPT, other).await?;
    world.pay(&lost, amount).await?;
    let (case, payment) = world.ends(LOST, &lost, expected).await?;
    world.tell(&payment, &expected, amount, "paid again → completed");
    Ok(vec![case, kept])
}

/// Waits until the transfer's second inclusion has completed the payment again.
async fn returned(
    world: &World,
    payment: &Payment,
    what: &'static str,
    amount: i128,
) -> anyhow::Result<Case> {
    let is_back = |payment: &Payment| payment.status == "completed" && count(payment, "orphaned") == 1;
    world.until_it(payment, "completed by another block", is_back).await?;
    let expected = Expected::paid(Asset::Token, amount);
    let (case, payment) = world.ends(what, payment, expected).await?;
    anyhow::ensure!(count(&payment, "confirmed") == 1, "{}: credited twice", payment.id);
    world.tell(
        &payment,
        &expected,
        amount,
        "the same block replaced, its transfer in the new branch → completed",
    );
    Ok(case)
}

fn count(payment: &Payment, status: &str) -> usize {
    payment.transactions.iter().filter(|transfer| transfer.status == status).count()
}
