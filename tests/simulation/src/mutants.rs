//! Processors that are broken on purpose: a wrapper changes what the real one is given. A replay runs the same wrapper,
//! so only the oracle and the invariants can see the defect.

use std::rc::Rc;

use streambook_model::{
    bytes::{Address, TokenValue},
    chain::BlockNumber,
    message::Message,
    money::Amount,
    records::{chain::TransferStatus, stripe::CardFactKind},
    time::Timestamp,
    topics::TopicDef,
};
use streambook_processors::{book::BookProcessor, dedup::Dedup, registry::Registry, reorg::Reorg};
use streambook_runtime::{
    processor::{Context, Fault, Processor},
    state::{State, StateError},
};

use crate::{mutation::Mutation, operator::is_shared};

/// The four processors, by number.
pub type Processors = Rc<[Box<dyn Processor>; 4]>;

/// The number of `registry`.
pub const REGISTRY: usize = 0;
/// The number of `reorg`.
pub const REORG: usize = 1;
/// The number of `dedup`.
pub const DEDUP: usize = 2;
/// The number of `book`.
pub const BOOK: usize = 3;

/// The processors as they are, or with one defect.
pub fn processors(mutation: Option<Mutation>) -> Processors {
    Rc::new([
        mutant(Registry, mutation),
        mutant(Reorg, mutation),
        mutant(Dedup, mutation),
        mutant(BookProcessor, mutation),
    ])
}

fn mutant(inner: impl Processor, mutation: Option<Mutation>) -> Box<dyn Processor> {
    Box::new(Mutant { inner, mutation })
}

struct Mutant<P> {
    inner: P,
    mutation: Option<Mutation>,
}

impl<P: Processor> Processor for Mutant<P> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn inbox(&self) -> TopicDef {
        self.inner.inbox()
    }

    fn process(&self, message: Message, context: &mut Context<'_>) -> Result<(), Fault> {
        match self.mutation {
            None => self.inner.process(message, context),
            Some(mutation) => match change(mutation, message) {
                Some(message) => self.inner.process(message, context),
                None => Ok(()),
            },
        }
    }

    fn next_deadline(&self, state: &dyn State) -> Result<Option<Timestamp>, StateError> {
        self.inner.next_deadline(state)
    }

    fn alarms(&self, state: &dyn State) -> Result<Vec<String>, StateError> {
        self.inner.alarms(state)
    }
}

/// What a defect makes of a record; `None` where it drops it.
fn change(mutation: Mutation, message: Message) -> Option<Message> {
    Some(match (mutation, message) {
        (Mutation::ForgetSecondReorg, Message::TransferEvent(event))
            if event.status == TransferStatus::Orphaned && event.inclusion.number > 1 =>
        {
            return None;
        }
        (Mutation::LateOneSecondEarly, Message::TransferEvent(mut event)) => {
            event.block_time = Timestamp::from_millis(event.block_time.millis() + 1_000);
            event.into()
        }
        (Mutation::ZombieRunsOtherCode, Message::TransferEvent(mut event)) => {
            event.confirmations += 1;
            event.into()
        }
        (Mutation::ZombieRunsOtherCode, Message::CreatePayment(mut command)) => {
            command.description = Some("by other code".into());
            command.into()
        }
        (Mutation::WrongFee, Message::SettingsChanged(mut changed)) => {
            changed.settings.fee.parts_per_million += 1;
            changed.into()
        }
        (Mutation::DropCardFee, Message::CardFact(fact)) if fact.kind == CardFactKind::FeeKnown => {
            return None;
        }
        (Mutation::DropWebhook, Message::EndpointChanged(mut changed)) => {
            changed.endpoint.events.retain(|event| event != "*");
            changed.into()
        }
        (Mutation::WrongTolerance, Message::MerchantChanged(mut changed)) => {
            if let Some(tolerance) = &mut changed.merchant.tolerance {
                tolerance.parts_per_million += 1_000;
            }
            changed.into()
        }
        (Mutation::MatchAfterTheReservation, Message::WatchAddress(mut watch)) => {
            if let Some(exact) = &mut watch.exact {
                exact.until = exact.until.plus_seconds(86_400);
            }
            watch.into()
        }
        (Mutation::ClaimAnySender, Message::WatchTransaction(mut watch)) => {
            watch.payer = Address::new(alloy_primitives::Address::with_last_byte(0x11).into_array());
            watch.into()
        }
        // Below every height from which on a watch is told by itself.
        (Mutation::CountFoundAgain, Message::ChainBackfill(mut answer)) => {
            answer.blocks.iter_mut().for_each(|block| block.number = BlockNumber(0));
            answer.into()
        }
        (Mutation::SkipSharedSearch, Message::ChainBackfill(mut answer)) => {
            for block in &mut answer.blocks {
                block.transfers.retain(|transfer| !is_shared(transfer.to));
            }
            answer.into()
        }
        (Mutation::MatchOneUnitMore, Message::WatchAddress(mut watch)) => {
            if let Some(exact) = &mut watch.exact {
                exact.amount = exact.amount.plus(Amount::new(1).ok()?).ok()?;
            }
            watch.into()
        }
        // A block whose transfers to addresses that nobody watches yet are not kept would look like this one, in which
        // a payment's first transfer is never there to be found.
        (Mutation::SkipLookBack, Message::ChainBlock(mut block)) => {
            for transfer in &mut block.transfers {
                if transfer.from.as_bytes()[19] == crate::chain::EARLY {
                    transfer.value = TokenValue::ZERO;
                }
            }
            block.into()
        }
        (_, message) => message,
    })
}
