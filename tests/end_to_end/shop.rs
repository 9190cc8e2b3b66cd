//! A merchant with a key: what a shop does with Streambook, and what it looks at.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    api::{Api, text},
    money::{Balances, TOKEN, TOKEN_SCALE, scale, units},
    streambook::Streambook,
};

/// A merchant in one mode.
#[derive(Clone)]
pub(crate) struct Shop {
    /// The API with the merchant's key.
    pub(crate) api: Api,
    /// `mer_…`
    pub(crate) id: String,
}

/// A payment to be made on a chain.
#[derive(Debug, Clone)]
pub(crate) struct Payment {
    /// `pay_…`
    pub(crate) id: String,
    /// Where to pay.
    pub(crate) address: String,
}

/// A key of a merchant.
pub(crate) async fn key(admin: &Api, merchant: &str, scopes: &[&str], mode: &str) -> String {
    let body = json!({ "merchant": merchant, "scopes": scopes, "mode": mode });
    text(&admin.done("/v1/api-keys", &body).await, "key")
}

impl Shop {
    /// Opens a shop: a new merchant and a test key that may do everything.
    pub(crate) async fn open(streambook: &Streambook, name: &str) -> Self {
        let admin = streambook.admin();
        let id = text(&admin.done("/v1/merchants", &json!({ "name": name })).await, "id");
        let key = key(&admin, &id, &["read", "write", "refund"], "test").await;
        Self { api: streambook.api().with_key(&key), id }
    }

    /// Asks for tokens.
    pub(crate) async fn ask(&self, amount: &str, expires_in: u32) -> Payment {
        let body = json!({ "amount": amount, "asset": TOKEN, "method": "chain", "expires_in": expires_in });
        let payment = self.api.done("/v1/payments", &body).await;
        assert_eq!(payment["status"], "pending");
        assert_eq!(units(&text(&payment, "amount"), TOKEN_SCALE), units(amount, TOKEN_SCALE));
        Payment { id: text(&payment, "id"), address: text(&payment, "deposit_address") }
    }

    /// Asks for dollars by card, and gives the payment's id.
    pub(crate) async fn ask_card(&self, amount: &str) -> String {
        let body = json!({ "amount": amount, "asset": "usd", "method": "card" });
        text(&self.api.done("/v1/payments", &body).await, "id")
    }

    /// A payment as it is.
    pub(crate) async fn payment(&self, id: &str) -> Value {
        self.api.get(&format!("/v1/payments/{id}")).await
    }

    /// An endpoint; gives its id and its secret.
    pub(crate) async fn endpoint(&self, url: &str, events: &[&str]) -> (String, String) {
        let made = self.api.done("/v1/webhook-endpoints", &json!({ "url": url, "events": events })).await;
        (text(&made, "id"), text(&made, "secret"))
    }

    /// The accounts, as far as they are not zero.
    pub(crate) async fn balances(&self) -> Balances {
        let list = self.api.get("/v1/balances").await;
        let rows = list["data"].as_array().unwrap().iter().map(|row| {
            let asset = text(row, "asset");
            let amount = units(&text(row, "amount"), scale(&asset));
            ((text(row, "account"), asset), amount)
        });
        rows.filter(|(_, amount)| *amount != 0).collect()
    }

    /// A payment's ledger transactions, oldest first.
    pub(crate) async fn postings(&self, id: &str) -> Vec<Value> {
        let mut rows = self.api.all(&format!("/v1/ledger/transactions?payment={id}")).await;
        rows.reverse();
        rows
    }

    /// The templates of a payment's ledger transactions, oldest first; reversals are marked.
    pub(crate) async fn templates(&self, id: &str) -> Vec<String> {
        let name = |row: &Value| match row["reverses"].is_null() {
            true => text(row, "template"),
            false => "reversal".to_owned(),
        };
        self.postings(id).await.iter().map(name).collect()
    }

    /// What was said of a payment, oldest first.
    pub(crate) async fn events(&self, id: &str) -> Vec<String> {
        let rows = self.api.all(&format!("/v1/events?payment={id}")).await;
        rows.iter().rev().map(|row| text(row, "type")).collect()
    }

    /// Every event's id, with its type.
    pub(crate) async fn all_events(&self) -> BTreeMap<String, String> {
        let rows = self.api.all("/v1/events").await;
        rows.iter().map(|row| (text(row, "id"), text(row, "type"))).collect()
    }

    /// Adds up the merchant's own lines of the whole ledger, each transaction of which must balance.
    pub(crate) async fn ledger_sums(&self) -> Balances {
        let own = format!("/merchant/{}/", self.id);
        let mut sums = Balances::new();
        for transaction in self.api.all("/v1/ledger/transactions").await {
            let mut total = BTreeMap::<String, i128>::new();
            for entry in transaction["entries"].as_array().unwrap() {
                let (account, asset) = (text(entry, "account"), text(entry, "asset"));
                let amount = units(&text(entry, "amount"), scale(&asset));
                *total.entry(asset.clone()).or_default() += amount;
                if let Some((_, name)) = account.split_once(&own) {
                    // Merchants' accounts of custodial settlement are credits, which the ledger writes as negative.
                    *sums.entry((name.to_owned(), asset)).or_default() -= amount;
                }
            }
            assert!(total.values().all(|sum| *sum == 0), "does not balance: {transaction}");
        }
        sums.retain(|_, amount| *amount != 0);
        sums
    }
}
