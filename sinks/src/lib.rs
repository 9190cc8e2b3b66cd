//! What carries results out of the log: [`sql`] for reads, [`webhooks`] for the merchants' endpoints.

pub mod sql;
pub mod webhooks;
