//! Stripe's side of a card payment: its events, as Stripe sends them, signed and posted to `/ingest/stripe`.
//!
//! The objects are those of <https://docs.stripe.com/api>, as far as anybody reads them, with the balance transaction
//! expanded; the signature is that of <https://docs.stripe.com/webhooks/signature>.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

/// How long a delivery may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Stripe, with the secret that it signs with.
pub(super) struct Stripe {
    client: reqwest::Client,
    url: String,
    secret: String,
}

/// One card payment. Amounts are in cents.
pub(super) struct Card<'a> {
    pub(super) merchant: &'a str,
    pub(super) payment: &'a str,
    pub(super) amount: i128,
}

impl Card<'_> {
    /// What Stripe takes: 2.9% and 30 cents.
    pub(super) const fn fee(&self) -> i128 {
        self.amount * 29 / 1_000 + 30
    }

    /// An id that depends on the payment alone.
    fn id(&self, prefix: &str) -> String {
        format!("{prefix}_{}", self.payment.trim_start_matches("pay_"))
    }

    fn metadata(&self) -> Value {
        json!({ "streambook_merchant": self.merchant, "streambook_payment": self.payment })
    }

    fn intent(&self, status: &str) -> Value {
        let is_paid = status == "succeeded";
        json!({
            "id": self.id("pi"), "object": "payment_intent", "amount": number(self.amount), "currency": "usd",
            "amount_received": number(if is_paid { self.amount } else { 0 }), "status": status,
            "latest_charge": is_paid.then(|| self.id("ch")), "livemode": false, "metadata": self.metadata(),
            "cancellation_reason": (status == "canceled").then_some("abandoned"), "payment_method_types": ["card"],
        })
    }

    fn charge(&self, refunded: i128) -> Value {
        json!({
            "id": self.id("ch"), "object": "charge", "amount": number(self.amount), "currency": "usd",
            "amount_captured": number(self.amount), "amount_refunded": number(refunded), "captured": true, "paid": true,
            "status": "succeeded", "refunded": refunded == self.amount, "payment_intent": self.id("pi"),
            "balance_transaction": balance(&self.id("txn"), self.amount, self.fee()),
            "livemode": false, "metadata": self.metadata(),
        })
    }

    fn refund(&self, amount: i128) -> Value {
        json!({
            "id": self.id("re"), "object": "refund", "amount": number(amount), "currency": "usd", "status": "succeeded",
            "charge": self.id("ch"), "payment_intent": self.id("pi"), "reason": "requested_by_customer", "metadata": {},
            "balance_transaction": balance(&self.id("txn_re"), -amount, 0),
        })
    }
}

fn balance(id: &str, amount: i128, fee: i128) -> Value {
    json!({
        "id": id, "object": "balance_transaction", "amount": number(amount), "currency": "usd",
        "fee": number(fee), "net": number(amount - fee), "status": "pending",
    })
}

/// Stripe's amounts are JSON numbers of at most eight digits.
fn number(units: i128) -> i64 {
    i64::try_from(units).unwrap_or(i64::MAX)
}

impl Stripe {
    /// Posts to the ingest of the API at this URL.
    pub(super) fn new(api: &str, secret: String) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build();
        let client = client.context("cannot prepare the HTTP client")?;
        Ok(Self { client, url: format!("{api}/ingest/stripe"), secret })
    }

    /// The card is charged. As Stripe may, it delivers one of the events twice.
    pub(super) async fn pay(&self, card: &Card<'_>) -> anyhow::Result<()> {
        self.deliver("payment_intent.succeeded", card, card.intent("succeeded")).await?;
        self.deliver("charge.succeeded", card, card.charge(0)).await?;
        self.deliver("charge.succeeded", card, card.charge(0)).await
    }

    /// The payer goes away, and the intent is canceled.
    pub(super) async fn give_up(&self, card: &Card<'_>) -> anyhow::Result<()> {
        self.deliver("payment_intent.canceled", card, card.intent("canceled")).await
    }

    /// Part of the charge is refunded in Stripe's dashboard.
    pub(super) async fn refund(&self, card: &Card<'_>, amount: i128) -> anyhow::Result<()> {
        self.deliver("charge.refunded", card, card.charge(amount)).await?;
        self.deliver("refund.created", card, card.refund(amount)).await
    }

    async fn deliver(&self, kind: &str, card: &Card<'_>, object: Value) -> anyhow::Result<()> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .context("the machine's clock is before 1970")?
            .as_secs();
        let body = json!({
            "id": format!("{}_{}", card.id("evt"), kind.replace('.', "_")), "object": "event", "type": kind,
            "created": now, "livemode": false, "data": { "object": object },
        });
        let body = body.to_string();
        let signature = sign(&self.secret, now, &body)?;
        let request = self.client.post(&self.url).header("Content-Type", "application/json; charset=utf-8");
        let answer = request.header("Stripe-Signature", signature).body(body).send().await;
        let answer = answer.with_context(|| format!("{kind}: the ingest does not answer"))?;
        let status = answer.status();
        if !status.is_success() {
            bail!("{kind}: the ingest answers {status}: {}", answer.text().await.unwrap_or_default());
        }
        Ok(())
    }
}

/// The value of `Stripe-Signature`.
fn sign(secret: &str, seconds: u64, body: &str) -> anyhow::Result<String> {
    let mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).context("the webhook secret cannot be used")?;
    let digest = mac.chain_update(format!("{seconds}.{body}")).finalize().into_bytes();
    Ok(format!("t={seconds},v1={}", hex::encode(digest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with Stripe's own Python library (`WebhookSignature.generate_signature_header`).
    #[test]
    fn the_signature_covers_time_and_body() {
        let signed = sign("whsec_1", 1_700_000_000, "{}").unwrap();
        assert_eq!(signed, SIGNED);
        assert_ne!(sign("whsec_1", 1_700_000_001, "{}").unwrap().split(',').nth(1), SIGNED.split(',').nth(1));
    }

    const SIGNED: &str = "t=1700000000,v1=c8cf6ed9fd9120874a1792902ffdf5b69559118b76d10974da8a20cf21f94bc5";
}
