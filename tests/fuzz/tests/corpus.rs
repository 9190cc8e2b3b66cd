//! The committed corpus is what the samples are: whoever changes a record, the development chain or a Stripe body sees it
//! here. `UPDATE_CORPUS=1` writes it.

#![allow(clippy::unwrap_used, reason = "it is a test")]

use std::fs;

use streambook_fuzz::{TARGETS, corpus, samples};
use streambook_model::{codec, message::Message};

fn write(target: &str, inputs: &samples::Inputs) {
    if std::env::var_os("UPDATE_CORPUS").is_none() {
        return;
    }
    fs::create_dir_all(corpus::folder(target)).unwrap();
    for (name, input) in inputs {
        fs::write(corpus::folder(target).join(name), input).unwrap();
    }
}

#[test]
fn every_type_of_record_and_stripe_event_is_in_the_corpus() {
    let (records, events) = samples::records_and_stripe_events();
    write("avro", &records);
    write("stripe_event", &events);
    let decoded: Vec<_> =
        corpus::of("avro").iter().filter_map(|(_, data)| codec::decode(data).ok()).collect();
    let missing: Vec<_> =
        Message::NAMES.iter().filter(|name| decoded.iter().all(|found| found.name() != **name)).collect();
    assert!(missing.is_empty(), "no sample of {missing:?}");
    let files = corpus::of("stripe_event");
    for name in events.keys() {
        assert!(files.iter().any(|(file, _)| file == name), "no sample {name}");
    }
}

#[test]
fn a_nodes_answers_are_in_the_corpus_as_it_gives_them() {
    let answers = samples::node_answers();
    write("json_rpc", &answers);
    let files = corpus::of("json_rpc");
    for (name, input) in &answers {
        assert!(files.iter().any(|known| known == &(name.clone(), input.clone())), "{name} is another");
    }
}

#[test]
fn every_target_has_a_corpus() {
    for target in TARGETS {
        assert!(!corpus::of(target.name).is_empty(), "{} has no corpus", target.name);
    }
}
