//! What the system says at the end, compared with what the demo expects: each payment, the balances, the trial balance,
//! the webhooks, the dead letters. Each difference is a sentence.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use streambook_model::asset::currency_scale;
use streambook_sinks::sql::{SqlReads, TrialBalance};
use tokio::time::Instant;

use super::{
    books::{self, Asset, Balances, Case, Expected, units},
    chain::DECIMALS,
    merchant::{Api, Payment, Shop},
    receiver::Receiver,
    scenario::Round,
};

/// How long the last events may take to where they are looked for.
const SETTLE_WAIT: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(200);

/// What a payment has become.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) status: String,
    pub(super) received: String,
    pub(super) refunded: String,
    pub(super) fee: String,
    /// What is not as expected.
    pub(super) problem: Option<String>,
}

/// What is expected of a payment, and what it has become.
type Member<'a> = (&'a Expected, &'a Found);

/// The trial balance of one asset.
pub(super) struct Sum {
    pub(super) asset: String,
    pub(super) accounts: u64,
    pub(super) debits: String,
    pub(super) credits: String,
    pub(super) difference: String,
}

/// Everything that was looked at.
#[derive(Default)]
pub(super) struct Audit {
    /// In the order of the round's cases.
    pub(super) found: Vec<Found>,
    expected: Balances,
    balances: Balances,
    pub(super) trial: Vec<Sum>,
    pub(super) statuses: BTreeMap<String, u64>,
    pub(super) events: usize,
    pub(super) delivered: usize,
    pub(super) deliveries: u64,
    pub(super) refused: usize,
    /// Every difference.
    pub(super) problems: Vec<String>,
}

/// Where to look.
pub(super) struct Sources<'a> {
    pub(super) shop: &'a Shop,
    pub(super) admin: &'a Api,
    pub(super) receiver: &'a Receiver,
    pub(super) reads: &'a SqlReads,
}

impl Audit {
    /// Looks at everything.
    pub(super) async fn of(round: &Round, sources: &Sources<'_>) -> anyhow::Result<Self> {
        let mut audit = Self { expected: books::balances(&round.cases), ..Self::default() };
        audit.check_payments(round, sources.shop).await?;
        audit.check_balances(sources.shop).await?;
        audit.check_trial(sources.reads).await?;
        audit.check_webhooks(sources).await?;
        audit.check_dead_letters(sources.admin).await?;
        Ok(audit)
    }

    async fn check_payments(&mut self, round: &Round, shop: &Shop) -> anyhow::Result<()> {
        for case in &round.cases {
            let found = found(case, &shop.payment(&case.payment).await?);
            let problem =
                found.problem.as_ref().map(|problem| format!("{} ({}): {problem}", case.payment, case.what));
            self.problems.extend(problem);
            self.found.push(found);
        }
        for status in shop.statuses().await? {
            *self.statuses.entry(status).or_default() += 1;
        }
        Ok(())
    }

    async fn check_balances(&mut self, shop: &Shop) -> anyhow::Result<()> {
        let end = Instant::now() + SETTLE_WAIT;
        loop {
            self.balances = shop.balances().await?;
            if self.balances == self.expected {
                return Ok(());
            }
            if Instant::now() > end {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        let differ = |(_, _, expected, found): &(String, String, String, String)| expected != found;
        let problem = |(account, asset, expected, found)| {
            format!("balance of {account} in {asset}: expected {expected}, found {found}")
        };
        let rows = self.balance_rows();
        self.problems.extend(rows.into_iter().filter(differ).map(problem));
        Ok(())
    }

    async fn check_trial(&mut self, reads: &SqlReads) -> anyhow::Result<()> {
        for sum in reads.trial_balance().await? {
            let sum = trial(&sum)?;
            if !sum.difference.trim_start_matches("0.").bytes().all(|digit| digit == b'0') {
                self.problems
                    .push(format!("the trial balance of {} is off by {}", sum.asset, sum.difference));
            }
            self.trial.push(sum);
        }
        Ok(())
    }

    async fn check_webhooks(&mut self, sources: &Sources<'_>) -> anyhow::Result<()> {
        let events = sources.shop.events().await?;
        let expected: BTreeSet<_> = events.iter().map(|(id, _)| id.clone()).collect();
        let end = Instant::now() + SETTLE_WAIT;
        let missing =
            |arrived: &BTreeMap<String, u32>| expected.iter().filter(|id| !arrived.contains_key(*id)).count();
        let mut arrived = sources.receiver.arrived();
        while missing(&arrived.events) > 0 && Instant::now() < end {
            tokio::time::sleep(LOOK).await;
            arrived = sources.receiver.arrived();
        }
        self.events = expected.len();
        self.delivered = expected.len() - missing(&arrived.events);
        self.deliveries = arrived.events.values().map(|count| u64::from(*count)).sum();
        self.refused = arrived.refused.len();
        let lost = events.iter().filter(|(id, _)| !arrived.events.contains_key(id));
        self.problems.extend(lost.map(|(id, kind)| format!("{id} ({kind}) was never delivered")));
        self.problems
            .extend(arrived.refused.first().map(|reason| format!("a webhook was refused: {reason}")));
        let unknown = arrived.events.keys().filter(|id| !expected.contains(*id));
        self.problems.extend(unknown.map(|id| format!("{id} was delivered and is no event of the merchant")));
        Ok(())
    }

    async fn check_dead_letters(&mut self, admin: &Api) -> anyhow::Result<()> {
        let letters = admin.get("/v1/dead-letters?limit=100").await?;
        for letter in letters["data"].as_array().into_iter().flatten() {
            self.problems
                .push(format!("dead letter of {}: {}: {}", letter["task"], letter["code"], letter["reason"]));
        }
        Ok(())
    }

    /// Account, asset, expected, found.
    pub(super) fn balance_rows(&self) -> Vec<(String, String, String, String)> {
        let keys: BTreeSet<_> = self.expected.keys().chain(self.balances.keys()).collect();
        let row = |key: &(String, String)| {
            let asset = if key.1 == Asset::Dollar.id() { Asset::Dollar } else { Asset::Token };
            let amount = |balances: &Balances| asset.text(balances.get(key).copied().unwrap_or(0));
            (key.0.clone(), key.1.clone(), amount(&self.expected), amount(&self.balances))
        };
        keys.into_iter().map(row).collect()
    }

    /// One row for each thing that was tried: tried, payments, expected, the books say, received, fee.
    pub(super) fn groups(&self, round: &Round) -> Vec<Vec<String>> {
        let mut groups: Vec<(&'static str, Asset, Vec<Member<'_>>)> = Vec::new();
        for (case, found) in round.cases.iter().zip(&self.found) {
            let member = (&case.expected, found);
            let known = groups
                .iter_mut()
                .find(|(what, asset, _)| (*what, *asset) == (case.what, case.expected.asset));
            match known {
                Some((_, _, members)) => members.push(member),
                None => groups.push((case.what, case.expected.asset, vec![member])),
            }
        }
        groups.into_iter().map(|(what, asset, members)| group(what, asset, &members)).collect()
    }
}

fn group(what: &str, asset: Asset, members: &[Member<'_>]) -> Vec<String> {
    let distinct = |statuses: BTreeSet<&str>| statuses.into_iter().collect::<Vec<_>>().join(", ");
    let expected = distinct(members.iter().map(|(expected, _)| expected.status).collect());
    let found = distinct(members.iter().map(|(_, found)| found.status.as_str()).collect());
    // What cannot be read has been found different before; it counts as nothing here.
    let sum = |text: fn(&Found) -> &str| {
        members.iter().map(|(_, found)| units(text(found), asset.scale()).unwrap_or(0)).sum()
    };
    let mark = if members.iter().any(|(_, found)| found.problem.is_some()) { " DIFFERENT" } else { "" };
    vec![
        what.to_owned(),
        members.len().to_string(),
        expected,
        format!("{found}{mark}"),
        asset.show(sum(|found| &found.received)),
        asset.text(sum(|found| &found.fee)),
    ]
}

/// Compares a payment with what is expected of it.
pub(super) fn found(case: &Case, payment: &Payment) -> Found {
    let (expected, asset) = (&case.expected, case.expected.asset);
    let pairs = [
        ("status", expected.status.to_owned(), &payment.status),
        ("asset", asset.id().to_owned(), &payment.asset),
        ("amount_received", asset.text(expected.received), &payment.amount_received),
        ("amount_refunded", asset.text(expected.refunded + expected.returned), &payment.amount_refunded),
        ("fee", asset.text(expected.fee()), &payment.fee),
    ];
    let wrong = pairs.iter().find(|(_, expected, found)| expected != *found);
    Found {
        status: payment.status.clone(),
        received: payment.amount_received.clone(),
        refunded: payment.amount_refunded.clone(),
        fee: payment.fee.clone(),
        problem: wrong.map(|(name, expected, found)| format!("{name}: expected {expected}, found {found}")),
    }
}

fn trial(sum: &TrialBalance) -> anyhow::Result<Sum> {
    let scale =
        if sum.asset.chain().is_some() { DECIMALS } else { currency_scale(sum.asset.as_str()).unwrap_or(0) };
    Ok(Sum {
        asset: format!("{}{}", sum.asset, if sum.livemode { "" } else { " (test)" }),
        accounts: sum.accounts,
        debits: sum.debits.to_decimal(scale),
        credits: sum.credits.to_decimal(scale),
        difference: sum.debits.plus(sum.credits)?.to_decimal(scale),
    })
}
