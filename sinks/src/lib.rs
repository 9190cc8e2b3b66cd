//! What carries results out of the log: [`sql`] for reads, [`clickhouse`] for analysts, [`webhooks`] for the merchants'
//! endpoints.

pub mod clickhouse;
pub mod sql;
pub mod webhooks;
