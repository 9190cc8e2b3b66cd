//! A record of the log: any bytes. What decodes is encoded to bytes that decode to the same, its lineage can be put in and
//! taken out, and no processor panics on it.

use bytes::Bytes;
use streambook_log::Record;
use streambook_model::{
    bytes::LineageHash,
    codec,
    message::Message,
    meta::Source,
    position::{Offset, Partition},
};
use streambook_processors::{book::BookProcessor, dedup::Dedup, registry::Registry, reorg::Reorg};
use streambook_runtime::{
    processor::Processor,
    step::{Task, chain_of},
};
use streambook_simulation::store::Store;

/// Checks the property.
pub fn check(data: &[u8]) {
    let message = match codec::decode(data) {
        Ok(message) => message,
        Err(error) => return assert!(!chain_of(&error).is_empty(), "a refusal without a word"),
    };
    let encoded = codec::encode(&message).expect("what was decoded can be encoded");
    assert_eq!(codec::decode(&encoded).expect("and decoded again"), message);
    if message.meta().source.is_none() {
        lineage_goes_in_and_comes_out(&message, &encoded);
        let processors: [&dyn Processor; 4] = [&BookProcessor, &Dedup, &Registry, &Reorg];
        processors.into_iter().for_each(|processor| take(processor, &encoded));
    }
}

fn lineage_goes_in_and_comes_out(message: &Message, encoded: &[u8]) {
    let source = Source { task: "book/3".into(), seq: 7, chain: LineageHash::new([9; 16]) };
    let stamped = codec::stamp(encoded, &source).expect("a record without lineage takes one");
    let read = codec::decode(&stamped).expect("a stamped record decodes");
    assert_eq!(read.meta().source.as_ref(), Some(&source));
    assert_eq!(read.name(), message.name());
    assert_eq!(codec::unstamp(&stamped, &source).expect("lineage comes out"), encoded);
    assert!(codec::stamp(&stamped, &source).is_err(), "lineage goes in once");
}

/// A record that no task sent may be put aside; it must not stop the task.
fn take(processor: &dyn Processor, value: &[u8]) {
    let record = Record {
        offset: Offset(0),
        appended_at_ms: 0,
        key: Bytes::new(),
        value: Bytes::copy_from_slice(value),
    };
    let stepped = Task::new(processor, Partition(0)).step(&record, &mut Store::default());
    if let Err(stopped) = stepped {
        panic!("{} stops: {}", processor.name(), chain_of(&stopped));
    }
}
