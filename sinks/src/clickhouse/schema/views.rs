//! The views: each answers a question, which its file states first. They hold nothing; each is right however often a row
//! was written, since it reads with `FINAL`.

/// A view.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    name: &'static str,
    sql: &'static str,
}

/// Every view, those that others read first.
pub(super) const ALL: [View; 19] = [
    View { name: "asset_units", sql: include_str!("../views/asset_units.sql") },
    View { name: "payment_facts", sql: include_str!("../views/payment_facts.sql") },
    View { name: "payment_volume", sql: include_str!("../views/payment_volume.sql") },
    View { name: "completion_times", sql: include_str!("../views/completion_times.sql") },
    View { name: "payment_outcomes", sql: include_str!("../views/payment_outcomes.sql") },
    View { name: "transfer_confirmations", sql: include_str!("../views/transfer_confirmations.sql") },
    View { name: "confirmation_times", sql: include_str!("../views/confirmation_times.sql") },
    View { name: "chain_reorgs", sql: include_str!("../views/chain_reorgs.sql") },
    View { name: "reversals", sql: include_str!("../views/reversals.sql") },
    View { name: "revenue", sql: include_str!("../views/revenue.sql") },
    View { name: "refunds_and_disputes", sql: include_str!("../views/refunds_and_disputes.sql") },
    View { name: "webhook_delivery", sql: include_str!("../views/webhook_delivery.sql") },
    View { name: "balances_daily", sql: include_str!("../views/balances_daily.sql") },
    View { name: "balances", sql: include_str!("../views/balances.sql") },
    View { name: "ledger_imbalances", sql: include_str!("../views/ledger_imbalances.sql") },
    View { name: "api_outcomes", sql: include_str!("../views/api_outcomes.sql") },
    View { name: "dead_letter_counts", sql: include_str!("../views/dead_letter_counts.sql") },
    View { name: "chain_status", sql: include_str!("../views/chain_status.sql") },
    View { name: "sink_progress", sql: include_str!("../views/sink_progress.sql") },
];

impl View {
    /// The statement that makes it.
    pub(super) fn statement(&self) -> String {
        format!("CREATE OR REPLACE VIEW {} AS\n{}", self.name, self.sql)
    }
}
