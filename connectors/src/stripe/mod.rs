//! Stripe's webhooks: from a request as it came over the wire to a record for `stripe.inbox`.
//!
//! Everything here is a pure function of the request, the secrets and the time that is passed in. It guarantees that
//! what is appended was signed by Stripe over exactly these bytes, at most five minutes ago, and that the record's key
//! is the payment the event belongs to, so all of a payment's events meet in one partition. It does not decide what an
//! event means for anybody's money: that is `dedup`'s, and it does not drop repeats: that is `dedup`'s too.

pub mod event;
pub mod ingest;
pub mod signature;
