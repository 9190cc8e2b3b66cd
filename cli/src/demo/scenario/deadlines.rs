//! What deadlines decide. Lateness is judged by the chain's time, so the demo need not wait: when everything else has
//! ended, it puts the chain's clock ahead.

use super::{
    super::{
        books::{Asset, Case, Expected},
        merchant::Payment,
    },
    World,
};

/// Seconds to the deadline: the least the API takes.
const EXPIRES_IN: u32 = 60;
/// Seconds the chain's clock is put ahead: every such deadline is behind it then.
const AHEAD: u64 = 75;
/// What each payment asks for.
const ASKED: i128 = 30_000_000;
/// What is paid of those that are not paid in full.
const PART: i128 = 21_000_000;

const UNDER: &str = "underpaid";
const ACCEPTED: &str = "underpaid, accepted by the merchant";
const EXPIRED: &str = "never paid";
const LATE: &str = "paid after the deadline";

/// Payments with a near deadline.
pub(super) struct Open {
    under: Payment,
    accepted: Payment,
    expired: Payment,
    late: Payment,
}

/// Makes them, and pays what is paid in time.
pub(super) async fn open(world: &World) -> anyhow::Result<Open> {
    let charge = |what| world.shop.charge_within(Asset::Token, ASKED, what, EXPIRES_IN);
    let (under, accepted) = (charge(UNDER).await?, charge(ACCEPTED).await?);
    for payment in [&under, &accepted] {
        let transaction = world.pay(payment, PART).await?;
        world.chain.included(&transaction).await?;
    }
    Ok(Open { under, accepted, expired: charge(EXPIRED).await?, late: charge(LATE).await? })
}

/// Lets the time pass, and looks at what it decides.
pub(super) async fn close(world: &World, open: &Open) -> anyhow::Result<Vec<Case>> {
    world
        .reader
        .say(&format!("the chain's clock is put {AHEAD} s ahead, past the deadlines of four payments"));
    world.chain.advance(AHEAD).await;
    let under = Expected::open("underpaid", Asset::Token, PART);
    let expired = Expected::open("expired", Asset::Token, 0);
    let mut cases = Vec::new();
    for (what, payment, expected, story) in [
        (UNDER, &open.under, under, format!("only {} paid in time → underpaid", Asset::Token.text(PART))),
        (EXPIRED, &open.expired, expired, "never paid → expired".to_owned()),
    ] {
        let (case, payment) = world.ends(what, payment, expected).await?;
        world.tell(&payment, &expected, ASKED, &story);
        cases.push(case);
    }
    cases.push(accept(world, &open.accepted).await?);
    cases.push(late(world, &open.late).await?);
    Ok(cases)
}

async fn accept(world: &World, payment: &Payment) -> anyhow::Result<Case> {
    world.until(payment, "underpaid").await?;
    world.shop.accept(&payment.id).await?;
    let expected = Expected::paid(Asset::Token, PART);
    let (case, payment) = world.ends(ACCEPTED, payment, expected).await?;
    let part = Asset::Token.text(PART);
    world.tell(
        &payment,
        &expected,
        ASKED,
        &format!("only {part} paid, accepted by the merchant → completed"),
    );
    Ok(case)
}

async fn late(world: &World, payment: &Payment) -> anyhow::Result<Case> {
    world.until(payment, "expired").await?;
    world.pay(payment, ASKED).await?;
    let expected = Expected::open("paid_late", Asset::Token, ASKED);
    let (case, payment) = world.ends(LATE, payment, expected).await?;
    world.tell(&payment, &expected, ASKED, "expired, then paid → paid_late");
    Ok(case)
}
