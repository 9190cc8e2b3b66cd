//! A shop whose book is under test, through the runtime's own step.

use std::sync::LazyLock;

use streambook_model::{
    asset::Asset,
    bytes::{Address, BlockHash, ContentHash, TxHash},
    chain::{BlockNumber, ChainId, ConfirmationPolicy, Inclusion},
    id::{EndpointId, EventId, MerchantId, PaymentId, RefundId, RequestId},
    message::Message,
    meta::Meta,
    metadata::Metadata,
    money::Amount,
    records::{
        book::{AcceptPayment, Caller, CancelPayment, CreatePayment, CreateRefund, ReplyTo, Tick},
        chain::{DeadlinePassed, TransferEvent, TransferStatus},
        ledger::LedgerTransaction,
        payment::{Payment, PaymentEvent, PaymentMethod},
        registry::{Endpoint, EndpointChanged, Merchant, MerchantChanged},
        reply::{CommandOutcome, CommandReply},
        settings::{ChainSettings, FeeSchedule, Settings},
        stripe::{CardFact, CardFactKind},
    },
    time::Timestamp,
    topics,
};
use streambook_runtime::state::MemoryState;

use super::super::{
    BookProcessor,
    address::tests::TEST_XPUB,
    ledger::{Account, BUILTIN_POSTINGS, Book},
};
use crate::{invariants::LedgerAudit, testing::Bench};

static BOOK: BookProcessor = BookProcessor;

pub(super) const START: i64 = 1_700_000_000_000;
pub(super) const TOKEN: Address = Address::new([0xaa; 20]);
pub(super) const SHOP: MerchantId = MerchantId::from_bits([7; 16]);
pub(super) const CHAIN: ChainId = ChainId(31337);

/// What one record led to.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) events: Vec<PaymentEvent>,
    pub(super) replies: Vec<CommandReply>,
    pub(super) ledger: Vec<LedgerTransaction>,
    pub(super) webhooks: Vec<streambook_model::records::webhook::WebhookMessage>,
    pub(super) dead: Vec<String>,
    pub(super) watches: Vec<streambook_model::records::chain::WatchAddress>,
    pub(super) claims: Vec<streambook_model::records::chain::WatchTransaction>,
}

impl Said {
    /// The events' names without `payment.`.
    pub(super) fn names(&self) -> Vec<&'static str> {
        self.events.iter().map(|event| event.event_type.name().trim_start_matches("payment.")).collect()
    }

    pub(super) fn reply(&self) -> &CommandReply {
        assert_eq!(self.replies.len(), 1, "a command is answered exactly once");
        &self.replies[0]
    }

    /// The code of the problem, where the command was rejected.
    pub(super) fn problem(&self) -> &str {
        self.reply().problem.as_ref().map_or("none", |problem| &problem.code)
    }
}

/// The book of one merchant, and all that was said.
pub(super) struct Shop {
    pub(super) bench: Bench<'static>,
    pub(super) audit: LedgerAudit,
    /// Every transaction, in order.
    pub(super) ledger: Vec<LedgerTransaction>,
    pub(super) last: Option<Payment>,
    requests: u8,
}

pub(super) fn amount(units: i128) -> Amount {
    Amount::new(units).unwrap()
}

pub(super) fn settings() -> Settings {
    let asset = |id: &str, scale, contract| Asset { id: id.parse().unwrap(), scale, contract };
    Settings {
        version: 1,
        assets: vec![asset("coins", 0, None), asset("usd", 2, None), asset("usdc:31337", 6, Some(TOKEN))],
        chains: vec![ChainSettings {
            id: CHAIN,
            policy: ConfirmationPolicy { depth: Some(3) },
            look_back_seconds: 86_400,
        }],
        fee: FeeSchedule { parts_per_million: 5_000 },
        xpub: Some(TEST_XPUB.into()),
        postings: BUILTIN_POSTINGS.into(),
        tiers: Vec::new(),
        exact_amount_grace_seconds: 86_400,
    }
}

pub(super) fn merchant(id: MerchantId) -> Merchant {
    let (name, settlement) = ("shop".to_owned(), "custodial".to_owned());
    let created_at = Timestamp::from_millis(START);
    Merchant { id, name, settlement, created_at, addresses: Vec::new(), tolerance: None }
}

pub(super) fn endpoint(number: u8, events: &[&str]) -> Endpoint {
    Endpoint {
        id: EndpointId::from_bits([number; 16]),
        merchant: SHOP,
        livemode: false,
        url: "https://shop.example/hook".into(),
        events: events.iter().map(|event| (*event).to_owned()).collect(),
        secrets: Vec::new(),
        disabled: None,
        created_at: Timestamp::from_millis(START),
        deleted_at: None,
    }
}

impl Shop {
    /// With settings, the merchant and an endpoint for everything.
    pub(super) fn open() -> Self {
        static OPEN: LazyLock<MemoryState> = LazyLock::new(|| Shop::set_up().bench.state);
        let mut shop = Self::empty();
        shop.bench.state = OPEN.clone();
        shop
    }

    fn set_up() -> Self {
        let mut shop = Self::empty();
        let meta = shop.bench.meta();
        shop.bench.feed(streambook_model::records::registry::SettingsChanged { meta, settings: settings() });
        shop.add_merchant(SHOP);
        shop.put_endpoint(endpoint(1, &["*"]));
        shop
    }

    pub(super) fn empty() -> Self {
        Self {
            bench: Bench::new(&BOOK, 0),
            audit: LedgerAudit::default(),
            ledger: Vec::new(),
            last: None,
            requests: 0,
        }
    }

    pub(super) fn add_merchant(&mut self, id: MerchantId) {
        self.add_merchant_settled(id, "custodial");
    }

    pub(super) fn add_merchant_settled(&mut self, id: MerchantId, settlement: &str) {
        let settlement = settlement.to_owned();
        self.put_merchant(Merchant { settlement, ..merchant(id) });
    }

    pub(super) fn put_merchant(&mut self, merchant: Merchant) {
        let meta = self.bench.meta();
        self.bench.feed(MerchantChanged { meta, merchant });
    }

    pub(super) fn put_endpoint(&mut self, endpoint: Endpoint) -> Said {
        let meta = self.bench.meta();
        self.feed(EndpointChanged { meta, endpoint })
    }

    /// Feeds one record and checks what must hold of everything that is said.
    pub(super) fn feed(&mut self, message: impl Into<Message>) -> Said {
        let mut said = Said::default();
        for (to, message) in self.bench.feed(message) {
            match message {
                Message::PaymentEvent(event) => {
                    assert_eq!(to.topic, topics::PAYMENTS_EVENTS.topic());
                    self.last = Some(event.payment.clone());
                    said.events.push(event);
                }
                Message::CommandReply(reply) => {
                    assert_eq!((to.topic, to.partition.0), (topics::API_REPLIES.topic(), 5));
                    said.replies.push(reply);
                }
                Message::LedgerTransaction(transaction) => {
                    self.audit.observe(&transaction).unwrap();
                    self.ledger.push(transaction.clone());
                    said.ledger.push(transaction);
                }
                Message::WebhookMessage(message) => said.webhooks.push(message),
                Message::WatchAddress(watch) => said.watches.push(watch),
                Message::WatchTransaction(watch) => said.claims.push(watch),
                Message::DeadLetter(letter) => said.dead.push(letter.code),
                other => panic!("a book does not say {}", other.name()),
            }
        }
        self.audit.finish().unwrap();
        said
    }

    /// Feeds a fact twice: the second time it changes nothing at all.
    pub(super) fn fact(&mut self, message: impl Into<Message>) -> Said {
        let message = message.into();
        let said = self.feed(message.clone());
        if said.dead.is_empty() {
            let before = self.bench.state.clone();
            let again = self.bench.try_feed(message).unwrap();
            assert_eq!(again.outputs, [], "a repeat says nothing");
            assert!(self.bench.state == before, "a repeat changes nothing");
        }
        said
    }

    /// Feeds a command twice: the second time it is answered and changes nothing.
    pub(super) fn command(&mut self, message: impl Into<Message>) -> Said {
        let message = message.into();
        let before = self.business_state();
        let said = self.feed(message.clone());
        let outcome = said.reply().outcome;
        if outcome == CommandOutcome::Rejected {
            assert!(self.business_state() == before, "a rejected command changes nothing");
            assert!(said.events.is_empty() && said.ledger.is_empty() && said.watches.is_empty());
        }
        let before = self.business_state();
        let again = self.feed(message);
        assert_ne!(again.reply().outcome, CommandOutcome::Accepted, "a repeat is not carried out");
        assert!(self.business_state() == before, "a repeat changes nothing");
        said
    }

    /// The state without the runtime's own table, which numbers what was said.
    pub(super) fn business_state(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let pairs = self.bench.state.iter().filter(|(key, _)| key.first() != Some(&0));
        pairs.map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
    }

    pub(super) fn caller(&mut self) -> Caller {
        self.requests = self.requests.wrapping_add(1);
        let request = RequestId::derive(&[&[self.requests]]);
        Caller {
            merchant: SHOP,
            livemode: false,
            reply: ReplyTo { partition: 5, request },
            idempotency: None,
        }
    }

    pub(super) fn creation(&mut self, number: u8, method: PaymentMethod, units: i128) -> CreatePayment {
        CreatePayment {
            meta: self.bench.meta(),
            caller: self.caller(),
            payment: PaymentId::from_bits([number; 16]),
            amount: amount(units),
            asset: if method == PaymentMethod::Chain { "usdc:31337" } else { "usd" }.parse().unwrap(),
            method,
            reference_id: Some("ORDER_1".into()),
            description: None,
            metadata: Metadata::default(),
            expires_in_seconds: 1_800,
            matching: None,
            payer: None,
        }
    }

    pub(super) fn create(&mut self, number: u8, method: PaymentMethod, units: i128) -> Said {
        let creation = self.creation(number, method, units);
        self.command(creation)
    }

    pub(super) fn cancel(&mut self, number: u8) -> Said {
        let (meta, caller) = (self.bench.meta(), self.caller());
        self.command(CancelPayment { meta, caller, payment: PaymentId::from_bits([number; 16]) })
    }

    pub(super) fn accept(&mut self, number: u8) -> Said {
        let (meta, caller) = (self.bench.meta(), self.caller());
        self.command(AcceptPayment { meta, caller, payment: PaymentId::from_bits([number; 16]) })
    }

    pub(super) fn refunding(&mut self, number: u8, refund: u8, units: Option<i128>) -> CreateRefund {
        CreateRefund {
            meta: self.bench.meta(),
            caller: self.caller(),
            refund: RefundId::from_bits([refund; 16]),
            payment: PaymentId::from_bits([number; 16]),
            amount: units.map(amount),
            destination: Some("0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed".into()),
            reference: Some(format!("re_{refund}")),
            reason: None,
        }
    }

    /// A report of a transfer: `tag` names the inclusion.
    pub(super) fn report(
        &self,
        number: u8,
        status: TransferStatus,
        tag: u8,
        units: i128,
        late: Late,
    ) -> TransferEvent {
        let at = match late {
            Late::No => START + 60_000,
            Late::Yes => START + 1_900_000,
        };
        TransferEvent {
            meta: Meta { occurred_at: Timestamp::from_millis(at), ..self.bench.meta() },
            status,
            chain: CHAIN,
            merchant: SHOP,
            payment: PaymentId::from_bits([number; 16]),
            inclusion: Inclusion {
                block_hash: BlockHash::new([tag; 32]),
                block_number: BlockNumber(u64::from(tag)),
                tx_hash: TxHash::new([tag; 32]),
                log_index: 0,
                number: 1,
            },
            asset: "usdc:31337".parse().unwrap(),
            token: TOKEN,
            from: Address::new([1; 20]),
            to: Address::new([2; 20]),
            amount: amount(units),
            block_time: Timestamp::from_millis(at),
            confirmations: 1,
        }
    }

    pub(super) fn deadline(&mut self, number: u8) -> Said {
        let meta = self.bench.meta();
        let block_time = Timestamp::from_millis(START + 1_801_000);
        let payment = PaymentId::from_bits([number; 16]);
        self.fact(DeadlinePassed { meta, chain: CHAIN, merchant: SHOP, payment, block_time })
    }

    pub(super) fn card_fact(&self, number: u8, kind: CardFactKind, object: &str, units: i128) -> CardFact {
        CardFact {
            meta: self.bench.meta(),
            kind,
            merchant: SHOP,
            payment: PaymentId::from_bits([number; 16]),
            livemode: false,
            object: object.into(),
            asset: "usd".parse().unwrap(),
            amount: amount(units),
            reason: None,
        }
    }

    pub(super) fn tick(&mut self, now: i64) -> Said {
        let meta = self.bench.meta();
        self.fact(Tick { meta, now: Timestamp::from_millis(now) })
    }

    /// What a merchant's account holds, credits positive.
    pub(super) fn holds(&self, account: Account) -> i128 {
        let id =
            account.id(Book { merchant: SHOP, livemode: false }, streambook_model::position::Partition(0));
        let of = self.audit.balances().filter(|(account, _, _)| **account == id);
        -of.map(|(_, _, balance)| balance.units()).sum::<i128>()
    }

    pub(super) fn state(&self) -> &MemoryState {
        &self.bench.state
    }
}

/// Whether a transfer's block is after the deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Late {
    No,
    Yes,
}

pub(super) fn event_id(payment: u8, version: u32) -> EventId {
    EventId::derive_beside(&[payment; 16], &[&version.to_be_bytes()])
}

pub(super) fn hash(byte: u8) -> ContentHash {
    ContentHash::new([byte; 32])
}
