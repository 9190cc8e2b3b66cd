use std::{env, fs, path::PathBuf};

use apache_avro::{Schema, schema_compatibility::SchemaCompatibility};
use proptest::prelude::*;

use super::*;
use crate::{
    id::MerchantId,
    meta::{Cause, Meta},
    records::{
        book::Tick,
        ledger::{AccountId, Entry, LedgerTransaction},
    },
    time::Timestamp,
};

fn dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../schemas/avro")
}

fn pretty(schema: &Schema) -> String {
    serde_json::to_string_pretty(schema).unwrap() + "\n"
}

/// Rust types and schema files say the same. `UPDATE_SCHEMAS=1` writes the files and the next version of the history.
#[test]
fn schema_files_and_rust_types_agree() {
    let update = env::var_os("UPDATE_SCHEMAS").is_some();
    for name in Message::NAMES {
        let derived = pretty(&Message::derived_schema(name).unwrap());
        let file = dir().join(format!("{name}.avsc"));
        if update {
            fs::write(&file, &derived).unwrap();
        }
        let written = fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(
            written, derived,
            "{name}.avsc and the Rust type differ: run with UPDATE_SCHEMAS=1 and review"
        );
    }
    let files = fs::read_dir(dir()).unwrap().filter(|e| e.as_ref().unwrap().path().extension().is_some());
    assert_eq!(files.count(), Message::NAMES.len(), "a schema file without a record type");
}

/// The fingerprint is the specification's, so that any Avro library finds the schema of a record by it. The expected one was
/// computed with the Python package fastavro.
#[test]
fn fingerprints_are_those_of_other_libraries() {
    let text = r#"{"type":"record","name":"A","doc":"a","fields":[
        {"name":"t","type":{"type":"long","logicalType":"timestamp-millis"}},
        {"name":"u","type":["null",{"type":"bytes","logicalType":"decimal","precision":38,"scale":0}],"default":null}]}"#;
    let schema = Schema::parse_str(text).unwrap();
    assert_eq!(hex::encode(header_of(&schema).unwrap()), "c301341ccd149d64b032");
}

/// Each version that was ever published can read and be read by the current one, and the current one is on record.
#[test]
fn schemas_stay_compatible_with_their_history() {
    let update = env::var_os("UPDATE_SCHEMAS").is_some();
    for name in Message::NAMES {
        let current = fs::read_to_string(dir().join(format!("{name}.avsc"))).unwrap();
        let mut on_record = false;
        for version in 1.. {
            let file = dir().join("history").join(format!("{name}.{version}.avsc"));
            let Ok(past) = fs::read_to_string(&file) else {
                if update && !on_record {
                    fs::write(&file, &current).unwrap();
                    on_record = true;
                }
                break;
            };
            on_record |= past == current;
            let (past, now) = (Schema::parse_str(&past).unwrap(), Schema::parse_str(&current).unwrap());
            let compatible = SchemaCompatibility::mutual_read(&past, &now);
            assert!(
                compatible.is_ok(),
                "{name} is not compatible with its version {version}: {compatible:?}"
            );
        }
        assert!(on_record, "the current {name} is not in history/: run with UPDATE_SCHEMAS=1");
    }
}

fn meta(source: Option<Source>) -> Meta {
    Meta {
        source,
        id: "book/3:17:0".into(),
        occurred_at: Timestamp::from_millis(1_700_000_000_123),
        recorded_at: Timestamp::from_millis(-1),
        cause: Some(Cause { partition: 3, offset: 17 }),
        trace: None,
    }
}

fn transaction(units: i128, source: Option<Source>) -> Message {
    let amount = crate::money::Amount::new(units).unwrap();
    let entry = Entry {
        account: AccountId::new("live/platform/fees/3"),
        asset: "usdc:1".parse().unwrap(),
        amount,
        balance: amount.negated(),
        version: u64::from(u32::MAX) + 1,
    };
    Message::from(LedgerTransaction {
        meta: meta(source),
        transaction: crate::id::TransactionId::derive(&[b"t"]),
        merchant: MerchantId::derive(&[b"m"]),
        livemode: true,
        sequence: 1,
        template: "transfer.received".into(),
        template_version: 1,
        payment: None,
        refund: Some(crate::id::RefundId::derive(&[b"r"])),
        event: "1:0xab:0".into(),
        reverses: None,
        occurred_at: Timestamp::from_millis(0),
        entries: vec![entry],
        previous_hash: crate::bytes::ContentHash::ZERO,
        hash: crate::bytes::ContentHash::new([7; 32]),
    })
}

proptest! {
    #[test]
    fn a_record_round_trips(units in -(10_i128.pow(38) - 1)..10_i128.pow(38)) {
        let message = transaction(units, None);
        prop_assert_eq!(decode(&encode(&message).unwrap()).unwrap(), message);
    }

    #[test]
    fn stamping_equals_encoding_with_the_source(task in "[a-z]{1,200}/[0-9]{1,5}", seq in 0..i64::MAX as u64) {
        let source = Source { task, seq, chain: LineageHash::new([9; 16]) };
        let unstamped = encode(&transaction(5, None)).unwrap();
        let stamped = stamp(&unstamped, &source).unwrap();
        prop_assert_eq!(&stamped, &encode(&transaction(5, Some(source.clone()))).unwrap());
        prop_assert_eq!(unstamp(&stamped, &source).unwrap(), unstamped);
        prop_assert!(matches!(stamp(&stamped, &source), Err(CodecError::AlreadyStamped)));
    }

    #[test]
    fn any_bytes_decode_or_fail_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(&bytes);
        let mut body = encode(&transaction(5, None)).unwrap();
        body.truncate(HEADER);
        body.extend_from_slice(&bytes);
        let _ = decode(&body);
    }
}

/// Any Avro library reads our records from the schema alone: here the generic value reader, which knows no Rust type.
#[test]
fn the_published_schema_alone_decodes_a_record() {
    let bytes = encode(&transaction(-300, None)).unwrap();
    let schema =
        Schema::parse_str(&fs::read_to_string(dir().join("LedgerTransaction.avsc")).unwrap()).unwrap();
    let value =
        GenericDatumReader::builder(&schema).build().unwrap().read_value(&mut &bytes[HEADER..]).unwrap();
    let json = format!("{value:?}");
    assert!(json.contains("live/platform/fees/3") && json.contains("Decimal"), "{json}");
}

#[test]
fn bytes_after_the_record_and_unknown_fingerprints_are_refused() {
    let tick = Message::from(Tick { meta: meta(None), now: Timestamp::from_millis(5) });
    let mut bytes = encode(&tick).unwrap();
    bytes.push(0);
    assert!(matches!(decode(&bytes), Err(CodecError::Trailing { name: "Tick", count: 1 })));
    bytes[5] ^= 1;
    assert!(matches!(decode(&bytes), Err(CodecError::UnknownSchema(_))));
    assert!(matches!(decode(b"{}"), Err(CodecError::NotSingleObject)));
}
