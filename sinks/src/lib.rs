pub mod sql;
pub mod webhooks;
