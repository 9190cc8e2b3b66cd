//! A chain as the tests name it, a processor that is fed from it, and its outputs in words.

use std::collections::BTreeMap;

use streambook_model::{
    asset::{Asset, AssetId},
    bytes::{Address, BlockHash, TokenValue, TxHash},
    chain::{BlockNumber, ChainId, ConfirmationPolicy},
    id::{MerchantId, PaymentId},
    message::Message,
    meta::Meta,
    money::Amount,
    position::TopicPartition,
    records::{
        backfill::{BackfillRest, BackfilledBlock, ChainBackfill, RequestBackfill},
        chain::{
            ChainBlock, ChainFinalized, ChainHead, ChainRebuild, ExactAmount, TokenTransfer, TransferEvent,
            TransferStatus, WatchAddress, WatchTransaction,
        },
        registry::SettingsChanged,
        settings::{ChainSettings, FeeSchedule, Settings},
    },
    time::Timestamp,
};
use streambook_runtime::processor::Processor;

use crate::{reorg::Reorg, testing::Bench};

/// Seconds between two heights.
pub(super) const BLOCK_SECONDS: u64 = 10;
/// The look-back window, in heights.
pub(super) const WINDOW: u64 = 20;

pub(super) struct World {
    pub(super) bench: Bench<'static>,
    names: BTreeMap<String, String>,
    /// The addresses of payments that do not have one of their own name.
    shared: BTreeMap<String, Address>,
}

/// A name as the bytes of an address, hash or contract.
pub(super) fn bytes<const N: usize>(name: &str) -> [u8; N] {
    let mut bytes = [0; N];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    bytes
}

fn name_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()
}

pub(super) fn height(block: &str) -> BlockNumber {
    BlockNumber(block.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().unwrap())
}

pub(super) fn time_at(height: u64) -> Timestamp {
    Timestamp::from_seconds(height * BLOCK_SECONDS).unwrap()
}

pub(super) fn hash(block: &str) -> BlockHash {
    BlockHash::new(bytes(block))
}

fn asset(symbol: &str, chain: ChainId) -> AssetId {
    format!("{symbol}:{chain}").parse().unwrap()
}

pub(super) fn settings(meta: Meta, version: u32) -> SettingsChanged {
    let chains = [1, 2].map(ChainId);
    let policy = ConfirmationPolicy { depth: Some(2) };
    let look_back_seconds = u32::try_from(WINDOW * BLOCK_SECONDS).unwrap();
    let token = |symbol: &str, chain| Asset {
        id: asset(symbol, chain),
        scale: 6,
        contract: Some(Address::new(bytes(symbol))),
    };
    let settings = Settings {
        version,
        assets: chains.iter().flat_map(|chain| [token("usdc", *chain), token("usdt", *chain)]).collect(),
        chains: chains.map(|id| ChainSettings { id, policy, look_back_seconds }).to_vec(),
        fee: FeeSchedule { parts_per_million: 0 },
        xpub: None,
        postings: String::new(),
        tiers: Vec::new(),
        exact_amount_grace_seconds: 86_400,
    };
    SettingsChanged { meta, settings }
}

pub(super) fn block(meta: Meta, chain: ChainId, name: &str, parent: &str, transfers: &str) -> ChainBlock {
    let number = height(name);
    let listed = transfers.split(',').map(str::trim).filter(|text| !text.is_empty());
    ChainBlock {
        meta,
        chain,
        number,
        hash: hash(name),
        parent_hash: hash(parent),
        timestamp: time_at(number.0),
        transfers: (0..).zip(listed).map(|(index, text)| transfer(text, index)).collect(),
    }
}

/// `a10: p1=1, p1=2`.
fn found(text: &str) -> BackfilledBlock {
    let (name, transfers) = text.split_once(':').unwrap();
    let meta = Bench::new(&Reorg, 0).meta();
    let block = block(meta, ChainId(1), name, "parent", transfers);
    BackfilledBlock {
        number: block.number,
        hash: block.hash,
        parent_hash: block.parent_hash,
        timestamp: block.timestamp,
        transfers: block.transfers,
    }
}

/// `p1=100`, with `/usdt` where it is not the usual token and `~eve` where it is not the usual sender. The same text is the same
/// transaction in every block.
fn transfer(text: &str, log_index: u32) -> TokenTransfer {
    let (what, from) = text.split_once('~').unwrap_or((text, "payer"));
    let (what, token) = what.split_once('/').unwrap_or((what, "usdc"));
    let (to, value) = what.split_once('=').unwrap();
    let mut units = [0; 32];
    match value {
        "huge" => units[0] = 1,
        value => units[24..].copy_from_slice(&value.parse::<u64>().unwrap().to_be_bytes()),
    }
    TokenTransfer {
        token: Address::new(bytes(token)),
        from: Address::new(bytes(from)),
        to: Address::new(bytes(to)),
        value: TokenValue::new(units),
        tx_hash: TxHash::new(bytes(text)),
        log_index,
    }
}

/// An amount, and from the time of which height to that of which it is a payment's own.
fn exact_of([amount, from, until]: [u64; 3]) -> ExactAmount {
    let amount = Amount::new(amount.into()).unwrap();
    ExactAmount { amount, from: time_at(from), until: time_at(until) }
}

impl World {
    pub(super) fn new() -> Self {
        let (names, shared) = (BTreeMap::new(), BTreeMap::new());
        let mut world = Self { bench: Bench::new(&Reorg, 0), names, shared };
        let settings = settings(world.bench.meta(), 1);
        assert_eq!(world.feed(settings), Vec::<String>::new());
        world
    }

    /// Feeds one record; gives what it led to in words.
    pub(super) fn feed(&mut self, message: impl Into<Message>) -> Vec<String> {
        match self.bench.try_feed(message) {
            Ok(step) => {
                let decode = |value: &[u8]| streambook_model::codec::decode(value).unwrap();
                let outputs = step.outputs.iter().map(|o| (o.to.clone(), decode(&o.record.value))).collect();
                self.words(outputs)
            }
            Err(stopped) => vec![format!(
                "stopped {}",
                if stopped.to_string().contains("do not link") { "held" } else { "" }
            )],
        }
    }

    /// Every event goes to the book and to the public topic; in words it is one.
    pub(super) fn words(&self, outputs: Vec<(TopicPartition, Message)>) -> Vec<String> {
        let mut said = Vec::new();
        let mut public = Vec::new();
        for (to, message) in outputs {
            match (to.topic.as_str(), message) {
                ("book.inbox", Message::TransferEvent(event)) => said.push(self.event(&event)),
                ("book.inbox", Message::ClaimRefused(refused)) => {
                    said.push(format!("refused {}", self.name(&refused.payment)));
                }
                ("book.inbox", Message::DeadlinePassed(passed)) => {
                    said.push(format!("deadline {}", self.name(&passed.payment)));
                }
                ("chain.transfers", Message::TransferEvent(event)) => public.push(self.event(&event)),
                ("chain.transfers", Message::ChainStatus(status)) if status.halted.is_some() => {
                    said.push("halted".into());
                }
                ("chain.transfers", Message::ChainStatus(status)) if status.reorg_depth > 0 => {
                    said.push(format!("depth {}", status.reorg_depth));
                }
                ("chain.transfers", Message::ChainStatus(_)) => {}
                ("chain.requests", Message::BackfillRequested(asked)) => {
                    let (payment, top) = (self.name(&asked.payment), name_of(asked.top_hash.as_bytes()));
                    assert_eq!(asked.top_number, height(&top));
                    let of = asked.tx_hash.map(|hash| format!(" of {}", name_of(hash.as_bytes())));
                    said.push(format!(
                        "asked {} {payment} up to {top}{}",
                        asked.request,
                        of.unwrap_or_default()
                    ));
                }
                ("chain.requests", Message::BackfillClosed(closed)) => {
                    said.push(format!("closed {} with {}", closed.request, closed.reported));
                }
                ("dead.letters", Message::DeadLetter(letter)) => said.push(format!("letter {}", letter.code)),
                other => panic!("an output nobody expects: {other:?}"),
            }
        }
        let is_event = |text: &&String| {
            ["seen", "confirmed", "orphaned", "finalized"].iter().any(|w| text.starts_with(w))
        };
        assert_eq!(said.iter().filter(is_event).collect::<Vec<_>>(), public.iter().collect::<Vec<_>>());
        said
    }

    fn event(&self, event: &TransferEvent) -> String {
        let status = match event.status {
            TransferStatus::Seen => "seen",
            TransferStatus::Confirmed => "confirmed",
            TransferStatus::Orphaned => "orphaned",
            TransferStatus::Finalized => "finalized",
        };
        let inclusion = &event.inclusion;
        let block = name_of(inclusion.block_hash.as_bytes());
        let payment = self.name(&event.payment);
        let own = || Address::new(bytes(&payment));
        assert_eq!(event.to, self.shared.get(&payment).copied().unwrap_or_else(own));
        assert_eq!((event.block_time, inclusion.block_number), (time_at(height(&block).0), height(&block)));
        format!("{status} {payment}={} in {block}#{}", event.amount, inclusion.number)
    }

    fn name(&self, payment: &PaymentId) -> String {
        self.names.get(&payment.to_string()).cloned().unwrap_or_else(|| payment.to_string())
    }

    pub(super) fn watch(
        &mut self,
        chain: ChainId,
        name: &str,
        token: &str,
        depth: Option<u32>,
        deadline: u64,
    ) -> WatchAddress {
        let address = name.trim_end_matches('\'');
        let payment = PaymentId::derive(&[name.as_bytes()]);
        self.names.insert(payment.to_string(), name.to_owned());
        WatchAddress {
            meta: self.bench.meta(),
            chain,
            merchant: MerchantId::derive(&[b"shop"]),
            payment,
            address: Address::new(bytes(address)),
            asset: asset(token, chain),
            token: Address::new(bytes(token)),
            deadline: time_at(deadline),
            policy: ConfirmationPolicy { depth },
            exact: None,
        }
    }

    /// A watch of an exact amount at an address that others share, from the time of one height to that of another.
    pub(super) fn exact(
        &mut self,
        mut watch: WatchAddress,
        name: &str,
        at: &str,
        terms: [u64; 3],
    ) -> WatchAddress {
        watch.address = Address::new(bytes(at));
        self.shared.insert(name.to_owned(), watch.address);
        watch.exact = Some(exact_of(terms));
        watch
    }

    /// Runs one line of a script.
    pub(super) fn run(&mut self, line: &str) -> Vec<String> {
        let (line, chain) = line.strip_prefix("other ").map_or((line, ChainId(1)), |line| (line, ChainId(2)));
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let meta = self.bench.meta();
        match verb {
            "block" => {
                let (head, transfers) = rest.split_once(':').unwrap_or((rest, ""));
                let (name, parent) = head.split_once(" on ").unwrap();
                self.feed(block(meta, chain, name.trim(), parent.trim(), transfers))
            }
            "head" => self.feed(ChainHead { meta, chain, number: height(rest), hash: hash(rest) }),
            "final" => self.feed(ChainFinalized { meta, chain, number: height(rest), hash: hash(rest) }),
            "rebuild" => self.feed(ChainRebuild { meta, chain, number: height(rest), hash: hash(rest) }),
            "settings" => self.feed(settings(meta, rest.parse().unwrap())),
            "clock" => {
                self.bench.at(time_at(rest.parse().unwrap()).millis());
                Vec::new()
            }
            "ask" => {
                let words: Vec<&str> = rest.split(' ').collect();
                let option = |key: &str| words.iter().find_map(|word| word.strip_prefix(key));
                let number = |key: &str| option(key).unwrap().parse().unwrap();
                let exact =
                    option("exact=").map(|_| exact_of([number("exact="), number("from="), number("till=")]));
                self.feed(RequestBackfill {
                    meta,
                    chain,
                    payment: PaymentId::derive(&[words[0].as_bytes()]),
                    address: Address::new(bytes(option("at=").unwrap_or(words[0]))),
                    token: Address::new(bytes("usdc")),
                    since: None,
                    from_number: None,
                    tx_hash: option("tx=").map(|tx| TxHash::new(bytes(tx))),
                    payer: option("payer=").map(|payer| Address::new(bytes(payer))),
                    exact,
                })
            }
            "answer" => {
                let (request, blocks) = rest.split_once(' ').unwrap();
                let (blocks, problem) =
                    blocks.split_once(" but ").map_or((blocks, None), |(b, p)| (b, Some(p)));
                let (blocks, rest) =
                    blocks.split_once(" and on at ").map_or((blocks, None), |(b, r)| (b, Some(r)));
                let blocks = blocks.split("; ").filter(|block| !block.is_empty() && *block != "nothing");
                self.feed(ChainBackfill {
                    meta,
                    chain,
                    request: request.parse().unwrap(),
                    from_number: Some(BlockNumber(1)),
                    blocks: blocks.map(found).collect(),
                    problem: problem.map(str::to_owned),
                    not_found: problem == Some("it is not found"),
                    rest: rest.map(|rest| BackfillRest { number: height(rest), hash: hash(rest) }),
                })
            }
            "watch" => {
                let words: Vec<&str> = rest.split(' ').collect();
                let option = |key: &str| words.iter().find_map(|word| word.strip_prefix(key));
                let depth = option("depth=").unwrap_or("2").parse().ok();
                let deadline = option("until=").map_or(1_000_000, |height| height.parse().unwrap());
                let token = option("token=").unwrap_or("usdc");
                let mut watch = self.watch(chain, words[0], token, depth, deadline);
                if let Some(at) = option("at=") {
                    let number = |key: &str| option(key).unwrap().parse().unwrap();
                    let terms = [number("exact="), number("from="), number("till=")];
                    watch = self.exact(watch, words[0], at, terms);
                }
                self.feed(watch)
            }
            "claim" => {
                let words: Vec<&str> = rest.split(' ').collect();
                let option = |key: &str| words.iter().find_map(|word| word.strip_prefix(key)).unwrap();
                let height = |key: &str| time_at(option(key).parse().unwrap());
                let watch = self.watch(chain, words[0], "usdc", Some(1), 1_000_000);
                self.shared.insert(words[0].to_owned(), Address::new(bytes(option("at="))));
                let payer = words.iter().find_map(|word| word.strip_prefix("payer=")).unwrap_or("payer");
                self.feed(WatchTransaction {
                    meta,
                    chain,
                    merchant: watch.merchant,
                    payment: watch.payment,
                    address: Address::new(bytes(option("at="))),
                    asset: watch.asset,
                    token: watch.token,
                    tx_hash: TxHash::new(bytes(option("tx="))),
                    payer: Address::new(bytes(payer)),
                    deadline: watch.deadline,
                    from: height("from="),
                    until: height("till="),
                    policy: watch.policy,
                })
            }
            other => panic!("no such line: {other}"),
        }
    }

    /// Grows a branch one block and head at a time; `a5..a9` on `a4`.
    pub(super) fn grow(&mut self, branch: &str, from: u64, to: u64) -> Vec<String> {
        let mut said = Vec::new();
        for height in from..=to {
            said.extend(self.run(&format!("block {branch}{height} on {branch}{}", height - 1)));
            said.extend(self.run(&format!("head {branch}{height}")));
        }
        said
    }

    pub(super) fn alarms(&self) -> Vec<String> {
        Reorg.alarms(&self.bench.state).unwrap()
    }

    /// Runs a script and holds each line to what it must lead to.
    pub(super) fn check(&mut self, script: &str) {
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (record, expect) = line.split_once('|').unwrap_or((line, ""));
            assert_eq!(self.run(record.trim()).join(", "), expect.trim(), "after: {line}");
        }
    }
}
