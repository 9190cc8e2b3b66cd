//! Dead letters of transfers that one node alone vouches for.

use std::sync::Arc;

use alloy_primitives::{Address, B256, U256};
use streambook_log::{
    Log, ReadLimit, Retention, TopicSpec, Visibility,
    embedded::{EmbeddedLog, EmbeddedOptions},
    partitioner::partition_of,
};
use streambook_model::{
    chain::ChainId,
    codec,
    message::Message,
    position::{Offset, Partition, TopicPartition},
    records::dead_letter::DeadLetter,
    topics::{CHAIN_INBOX, DEAD_LETTERS, TopicDef},
};
use streambook_runtime::clock;
use tokio::sync::mpsc;

use crate::chain::feed::Feed;
use crate::chain::types::{BlockRef, Erc20Transfer, Observation, TransactionsProof, VerifiedBlock};

/// Its inbox is not partition 0.
const CHAIN: u64 = 137;

fn block(number: u64, unproven: &[u64]) -> Observation {
    let transfer = |log_index: &u64| Erc20Transfer {
        token: Address::with_last_byte(1),
        from: Address::with_last_byte(2),
        to: Address::with_last_byte(3),
        value: U256::from(5),
        tx_hash: B256::with_last_byte(4),
        tx_index: 0,
        log_index: *log_index,
        tx_to: None,
    };
    Observation::Block(Box::new(VerifiedBlock {
        chain_id: CHAIN,
        number,
        hash: hash(number),
        parent_hash: hash(number - 1),
        timestamp: 1_700_000_000 + number,
        transfers: Vec::new(),
        unproven: unproven.iter().map(transfer).collect(),
        transactions: TransactionsProof::Proven,
    }))
}

fn hash(number: u64) -> B256 {
    B256::from(U256::from(number))
}

fn head(number: u64) -> Observation {
    Observation::Head(BlockRef { number, hash: hash(number) })
}

/// Every record of a topic's partition with its offset.
async fn records(log: &EmbeddedLog, topic: TopicDef, partition: Partition) -> Vec<(Offset, Message)> {
    let from = TopicPartition::new(topic.topic(), partition);
    let records = log.read(&from, Offset(0), ReadLimit::default(), Visibility::Written).await.unwrap();
    records.iter().map(|record| (record.offset, codec::decode(&record.value).unwrap())).collect()
}

async fn letters(log: &EmbeddedLog) -> Vec<DeadLetter> {
    let mut letters = Vec::new();
    for partition in 0..DEAD_LETTERS.partitions {
        for (_, message) in records(log, DEAD_LETTERS, Partition(partition)).await {
            match message {
                Message::DeadLetter(letter) => letters.push(letter),
                other => panic!("{other:?}"),
            }
        }
    }
    letters
}

#[tokio::test]
async fn the_letter_of_an_unproven_transfer_says_where_its_block_is_in_the_inbox() {
    let directory = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(EmbeddedOptions::new(directory.path())).unwrap();
    for def in [CHAIN_INBOX, DEAD_LETTERS] {
        let spec = TopicSpec { name: def.topic(), partitions: def.partitions, retention: Retention::Forever };
        log.ensure_topic(&spec).await.unwrap();
    }
    let shared: Arc<dyn Log> = log.clone();
    let (out, observations) = mpsc::channel(16);
    for seen in [block(1, &[]), block(2, &[7, 8]), head(2), block(3, &[]), block(4, &[9]), head(4)] {
        out.send(seen).await.unwrap();
    }
    drop(out);
    Feed::new(shared, ChainId(CHAIN), clock::system()).run(observations).await.unwrap();

    let partition = partition_of(CHAIN.to_string().as_bytes(), CHAIN_INBOX.partitions);
    assert_ne!(partition, Partition(0), "the test needs a chain whose inbox is another");
    let inbox = records(&log, CHAIN_INBOX, partition).await;
    let place_of = |number: u64| {
        let found = inbox.iter().find(|(_, message)| match message {
            Message::ChainBlock(block) => block.number.0 == number,
            _ => false,
        });
        found.unwrap().0.0
    };
    let places: Vec<_> = letters(&log)
        .await
        .into_iter()
        .map(|letter| (letter.topic, letter.partition, letter.offset))
        .collect();
    let expected = [place_of(2), place_of(2), place_of(4)];
    assert_eq!(places, expected.map(|offset| (CHAIN_INBOX.name.to_owned(), partition.0, offset)));
    assert_eq!(inbox.len(), 6, "every observation has its record");
}
