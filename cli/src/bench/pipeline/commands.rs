//! The merchants: creates payments as the API does, one append for each command, and reads their answers as it does, from
//! a partition of `api.replies` and only once they are synced.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use parking_lot::Mutex;
use streambook_log::{Log, ReadLimit, Visibility};
use streambook_model::{
    asset::AssetId,
    bytes::Address,
    codec,
    id::{MerchantId, PaymentId, RequestId},
    message::Message,
    metadata::Metadata,
    money::Amount,
    position::{Offset, Partition, TopicPartition},
    records::{
        book::{Caller, CreatePayment, ReplyTo},
        payment::PaymentMethod,
        reply::CommandReply,
    },
    topics,
};
use streambook_runtime::publisher::Publisher;
use tokio::sync::{Semaphore, mpsc, watch};
use uuid::Uuid;

use super::plant::{Plant, meta};

/// The partition answers come to, as of the first instance of the API.
const REPLIES: Partition = Partition(0);
/// 12.50 of a token with six decimals.
const AMOUNT: i128 = 12_500_000;
/// Seven days, the longest: open payments stay open.
const EXPIRES_IN_SECONDS: u32 = 604_800;

/// A payment that was made, and where to pay.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deposit {
    pub(super) address: Address,
    pub(super) amount: Amount,
}

/// What becomes of a payment once it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is never paid.
    StaysOpen,
    /// It is paid with the next block.
    IsPaid,
}

/// A command that waits for its answer.
struct Asked {
    at: Instant,
    fate: Fate,
}

/// Who creates payments.
pub(super) struct Shop {
    publisher: Publisher,
    merchants: Vec<MerchantId>,
    asset: AssetId,
    asked: Mutex<HashMap<RequestId, Asked>>,
    answered: Mutex<Vec<Duration>>,
    answers: watch::Sender<u64>,
    /// A permit for each payment that may be under way.
    pub(super) room: Semaphore,
}

impl Shop {
    /// With room for so many payments under way.
    pub(super) fn new(plant: &Plant, in_flight: u32) -> Arc<Self> {
        Arc::new(Self {
            publisher: plant.publisher(),
            merchants: plant.merchants.clone(),
            asset: plant.asset.clone(),
            asked: Mutex::default(),
            answered: Mutex::default(),
            answers: watch::Sender::new(0),
            room: Semaphore::new(usize::try_from(in_flight).unwrap_or(Semaphore::MAX_PERMITS)),
        })
    }

    /// Creates the payment of this number, when there is room for it. Where an append takes a while, others begin meanwhile: an
    /// append that fails has no answer, and that ends the measurement.
    pub(super) async fn create(
        self: Arc<Self>,
        number: u64,
        fate: Fate,
        takes_a_while: bool,
    ) -> anyhow::Result<()> {
        self.room.acquire().await.context("the benchmark has ended")?.forget();
        let merchants = self.merchants.len().max(1) as u64;
        let merchant = self.merchants.get(usize::try_from(number % merchants)?);
        let merchant = *merchant.context("--merchants must be at least 1")?;
        let request = RequestId::from_bits(Uuid::now_v7().into_bytes());
        let command = self.command(number, merchant, request)?;
        self.asked.lock().insert(request, Asked { at: Instant::now(), fate });
        let publish = async move {
            self.publisher.publish(topics::BOOK_INBOX, merchant.to_string().as_bytes(), command).await
        };
        if takes_a_while {
            tokio::spawn(publish);
            return Ok(());
        }
        publish.await?;
        Ok(())
    }

    fn command(
        &self,
        number: u64,
        merchant: MerchantId,
        request: RequestId,
    ) -> anyhow::Result<CreatePayment> {
        let reply = ReplyTo { partition: REPLIES.0, request };
        Ok(CreatePayment {
            meta: meta(&request.to_string()),
            caller: Caller { merchant, livemode: true, reply, idempotency: None },
            payment: PaymentId::from_bits(Uuid::now_v7().into_bytes()),
            amount: Amount::new(AMOUNT)?,
            asset: self.asset.clone(),
            method: PaymentMethod::Chain,
            reference_id: Some(format!("ORDER_{number}")),
            description: None,
            metadata: Metadata::default(),
            expires_in_seconds: EXPIRES_IN_SECONDS,
            matching: None,
            payer: None,
        })
    }

    /// How many answers have come, as it changes.
    pub(super) fn answers(&self) -> watch::Receiver<u64> {
        self.answers.subscribe()
    }

    /// How long the answers since the last call took.
    pub(super) fn take_answered(&self) -> Vec<Duration> {
        std::mem::take(&mut *self.answered.lock())
    }

    /// Reads answers and hands what is to be paid to the chain. Ends only with an error.
    pub(super) async fn read_replies(
        self: Arc<Self>,
        log: Arc<dyn Log>,
        deposits: mpsc::Sender<Deposit>,
    ) -> anyhow::Result<()> {
        let (from, mut next) = (TopicPartition::new(topics::API_REPLIES.topic(), REPLIES), Offset(0));
        loop {
            log.wait(&from, next, Visibility::Synced).await?;
            for record in log.read(&from, next, ReadLimit::default(), Visibility::Synced).await? {
                next = record.offset.plus(1);
                if let Message::CommandReply(reply) = codec::decode(&record.value)? {
                    self.answer(reply, &deposits).await?;
                }
            }
        }
    }

    async fn answer(&self, reply: CommandReply, deposits: &mpsc::Sender<Deposit>) -> anyhow::Result<()> {
        if let Some(problem) = reply.problem {
            bail!("a payment was refused: {}", problem.detail);
        }
        let Some(asked) = self.asked.lock().remove(&reply.request) else { return Ok(()) };
        self.answered.lock().push(asked.at.elapsed());
        self.answers.send_modify(|count| *count += 1);
        let payment = reply.payment.context("an answer without its payment")?;
        let address = payment.deposit_address.context("a payment without a deposit address")?;
        match asked.fate {
            Fate::StaysOpen => self.room.add_permits(1),
            Fate::IsPaid => deposits.send(Deposit { address, amount: payment.amount }).await?,
        }
        Ok(())
    }
}
