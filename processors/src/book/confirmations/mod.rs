//! The payment's state machine, as pure functions: what was agreed ([`Intent`]), what was observed ([`PaymentState`]), and
//! what follows from the two ([`evaluate`]).
//!
//! A status is never stored as a truth of its own: after every fact it is derived again from all facts. So the order in
//! which facts arrive, their repetition, and a reorganisation that takes them back need no rules of their own; the books
//! are then settled by the difference between what is applied and what [`evaluate`] says should be. An inclusion of a
//! transfer credits once, by [`observe`].

mod evaluate;
mod snapshot;
mod state;
mod transfer;

pub(crate) use self::{
    evaluate::evaluate,
    state::{
        Application, CardMoney, ChainIntent, Claim, Intent, PaymentState, Split, TRANSFERS_KEPT, Tally, Terms,
    },
    transfer::{Step, Transfer, observe},
};
