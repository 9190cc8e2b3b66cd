//! What the token contracts of the canonical branch would answer: who holds how much.
//!
//! Tokens are faucets, so an account may send more than it received; its balance then reads as zero.
//! Receipts and spendings are summed apart, so that taking a block back restores the state before it.

use std::collections::{BTreeMap, HashMap};

use alloy_primitives::{Address, Log, U256};

use crate::block::DevBlock;

/// What a declared token says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The answer of `symbol()`.
    pub symbol: String,
    /// The answer of `decimals()`.
    pub decimals: u8,
}

/// Sums over the canonical branch, modulo 2^256.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Totals {
    received: U256,
    sent: U256,
}

/// Declared tokens, and the totals of every account of every token.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    declared: BTreeMap<Address, Token>,
    totals: HashMap<(Address, Address), Totals>,
}

/// Whether a block joins the canonical branch or leaves it.
#[derive(Clone, Copy)]
pub(crate) enum Step {
    Apply,
    Revert,
}

impl Tokens {
    pub(crate) fn declare(&mut self, address: Address, token: Token) {
        self.declared.insert(address, token);
    }

    pub(crate) fn get(&self, address: Address) -> Option<&Token> {
        self.declared.get(&address)
    }

    pub(crate) fn balance(&self, token: Address, account: Address) -> U256 {
        let totals = self.totals.get(&(token, account)).copied().unwrap_or_default();
        totals.received.saturating_sub(totals.sent)
    }

    pub(crate) fn step(&mut self, block: &DevBlock, step: Step) {
        for log in block.transactions().iter().flat_map(|transaction| &transaction.logs) {
            self.step_log(log, step);
        }
    }

    fn step_log(&mut self, log: &Log, step: Step) {
        let [_, from, to] = log.topics() else { return };
        let value = U256::from_be_slice(&log.data.data);
        let account = |word| Address::from_word(word);
        self.change(log.address, account(*from), |totals| totals.sent = stepped(totals.sent, value, step));
        self.change(log.address, account(*to), |totals| {
            totals.received = stepped(totals.received, value, step);
        });
    }

    fn change(&mut self, token: Address, account: Address, change: impl FnOnce(&mut Totals)) {
        let totals = self.totals.entry((token, account)).or_default();
        change(totals);
        if *totals == Totals::default() {
            self.totals.remove(&(token, account));
        }
    }
}

const fn stepped(total: U256, value: U256, step: Step) -> U256 {
    match step {
        Step::Apply => total.wrapping_add(value),
        Step::Revert => total.wrapping_sub(value),
    }
}
