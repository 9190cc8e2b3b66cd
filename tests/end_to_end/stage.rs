//! A chain, a Streambook that follows it, and a shop: where the chain scenarios play.

use serde_json::{Value, json};

use crate::{
    api::text,
    chain::{TestChain, Transfer},
    money::Tally,
    settings::Settings,
    shop::{Payment, Shop},
    streambook::Streambook,
};

/// Seconds to a deadline that no scenario reaches.
pub(crate) const LONG: u32 = 86_400;

/// Everything a scenario needs.
pub(crate) struct Stage<C> {
    /// The chain.
    pub(crate) chain: C,
    /// The process.
    pub(crate) streambook: Streambook,
    /// The merchant.
    pub(crate) shop: Shop,
}

impl<C: TestChain> Stage<C> {
    /// Sets it up; none when a part is missing, which has been said.
    pub(crate) async fn open() -> Option<Self> {
        let chain = C::start().await?;
        let streambook = Streambook::start(Settings::on(&chain)).await;
        streambook.until_ready().await;
        let shop = Shop::open(&streambook, "shop").await;
        Some(Self { chain, streambook, shop })
    }

    /// Asks for an amount that nobody is in a hurry to pay.
    pub(crate) async fn ask(&self, amount: &str) -> Payment {
        self.shop.ask(amount, LONG).await
    }

    /// Units of the accepted token for a payment.
    pub(crate) fn to(&self, payment: &Payment, units: i128) -> Transfer {
        Transfer { token: self.chain.tokens().accepted.clone(), to: payment.address.clone(), units }
    }

    /// Sends units of the accepted token to a payment's address; gives the transaction's hash.
    pub(crate) async fn pay(&self, payment: &Payment, units: i128) -> String {
        self.chain.transfer(&self.to(payment, units)).await
    }

    /// Waits until a payment is as asked, and gives it.
    pub(crate) async fn until(&self, payment: &Payment, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let probe = async || {
            let now = self.shop.payment(&payment.id).await;
            if is(&now) { Ok(now) } else { Err(now.to_string()) }
        };
        self.streambook.until(what, probe).await
    }

    /// Waits until a payment has this status.
    pub(crate) async fn until_status(&self, payment: &Payment, status: &str) -> Value {
        self.until(payment, &format!("the payment is {status}"), |now| now["status"] == status).await
    }

    /// Takes a payment's money as it is.
    pub(crate) async fn accept(&self, payment: &Payment) -> Value {
        self.shop.api.done(&format!("/v1/payments/{}/accept", payment.id), &json!({})).await
    }

    /// Waits until the accounts hold what the tally says, to the unit, and checks that the ledger adds up to the same.
    pub(crate) async fn until_books_are(&self, tally: &Tally) {
        let expected = tally.balances();
        let probe = async || {
            let found = self.shop.balances().await;
            if found == expected { Ok(()) } else { Err(format!("{found:?} and not {expected:?}")) }
        };
        self.streambook.until("the balances are right", probe).await;
        assert_eq!(self.shop.ledger_sums().await, expected, "the ledger's own sums");
    }

    /// Waits until exactly these events were said of a payment.
    pub(crate) async fn until_events_are(&self, payment: &Payment, expected: &[&str]) {
        let probe = async || {
            let found = self.shop.events(&payment.id).await;
            if found == expected { Ok(()) } else { Err(format!("{found:?}")) }
        };
        self.streambook.until(&format!("the events are {expected:?}"), probe).await;
    }
}

/// The statuses of a payment's transfers.
pub(crate) fn transfer_statuses(payment: &Value) -> Vec<String> {
    payment["transactions"].as_array().unwrap().iter().map(|transfer| text(transfer, "status")).collect()
}
