use std::{env, fs, path::PathBuf};

use apache_avro::{
    Schema, reader::datum::GenericDatumReader, schema_compatibility::SchemaCompatibility,
    writer::datum::GenericDatumWriter,
};
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

/// The library, with the current schema of each type.
struct Library;

fn current(name: &str) -> Schema {
    Schema::parse_str(CURRENT.iter().find(|(stem, _)| *stem == name).unwrap().1).unwrap()
}

impl Encode for (Library, Vec<u8>) {
    type Error = apache_avro::Error;

    fn encode<R: Record>(&mut self, record: &R) -> Result<(), apache_avro::Error> {
        let schema = current(R::NAME);
        let writer = GenericDatumWriter::builder(&schema).human_readable(false).build()?;
        writer.write_ser(&mut self.1, record).map(|_| ())
    }
}

impl Decode for (Library, &[u8]) {
    type Error = apache_avro::Error;

    fn decode<R: Record>(mut self) -> Result<R, apache_avro::Error> {
        let schema = current(R::NAME);
        GenericDatumReader::builder(&schema).human_readable(false).build()?.read_deser(&mut self.1)
    }
}

/// A record of every type: the corpus that the fuzz targets begin with.
fn samples() -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus/avro");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let name =
        |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().split('-').next().unwrap().to_owned();
    files.map(|path| (name(&path), fs::read(&path).unwrap())).filter(|(name, _)| name != "README").collect()
}

/// The two write the same bytes, and each reads what the other wrote.
#[test]
fn records_are_written_and_read_as_the_library_does() {
    let samples = samples();
    assert!(samples.len() >= 29, "{} samples", samples.len());
    for (name, bytes) in samples {
        let message = decode(&bytes).unwrap();
        assert_eq!(message.name(), name);
        let mut library = (Library, Vec::new());
        message.encode_with(&mut library).unwrap();
        assert_eq!(hex::encode(&bytes[HEADER..]), hex::encode(&library.1), "{name}");
        assert_eq!(encode(&message).unwrap(), bytes, "{name}");
        let read = Message::decode_with(&name, (Library, &bytes[HEADER..])).unwrap().unwrap();
        assert_eq!(read, message, "{name}");
    }
}

/// What is damaged is refused, or read as the library reads it.
#[test]
fn nothing_is_read_that_the_library_refuses() {
    for (name, bytes) in samples() {
        for at in HEADER..bytes.len().min(HEADER + 150) {
            for flip in [0x01, 0x80] {
                let mut damaged = bytes.clone();
                damaged[at] ^= flip;
                let Ok(message) = decode(&damaged) else { continue };
                let read = Message::decode_with(&name, (Library, &damaged[HEADER..])).unwrap();
                assert_eq!(read.unwrap(), message, "{name} byte {at}");
            }
        }
    }
}

/// A past version's fields are told apart by name, whatever their order and whatever else there is.
#[test]
fn fields_are_found_by_their_names() {
    for (name, bytes) in samples() {
        let shape = Shape::of(&current(&name)).unwrap();
        let reader: &'static Reader = Box::leak(Box::new(Reader { name: "", shape, order: Order::Named }));
        let read = Message::decode_with(&name, Decoder { reader, body: &bytes[HEADER..] }).unwrap();
        assert_eq!(read.unwrap(), decode(&bytes).unwrap(), "{name}");
    }
}

#[test]
fn every_schema_of_this_build_can_be_used() {
    for (name, text) in CURRENT.iter().chain(HISTORY) {
        let header = header_of(&Schema::parse_str(text).unwrap()).unwrap();
        assert!(CODECS.readers.contains_key(&header[2..]), "{name}");
    }
    for name in Message::NAMES {
        assert!(CODECS.writers.contains_key(name), "{name}");
    }
}

#[derive(Debug, PartialEq, Eq, serde::Deserialize)]
struct Now {
    kept: String,
    new: Option<u32>,
}

/// A field that is no longer there is passed over, whatever it holds, and one that was not there yet is absent.
#[test]
fn a_version_with_other_fields_is_read() {
    let text = r#"{"type":"record","name":"Then","fields":[
        {"name":"list","type":{"type":"array","items":{"type":"map","values":"long"}}},
        {"name":"word","type":{"type":"enum","name":"Word","symbols":["a","b"]}},
        {"name":"maybe","type":["null",{"type":"record","name":"In","fields":[{"name":"f","type":"bytes"}]}]},
        {"name":"kept","type":"string"}]}"#;
    let shape = Shape::of(&Schema::parse_str(text).unwrap()).unwrap();
    // A list of a block of one map, its bytes counted, of one pair; `b`; one byte; "k".
    let mut body: &[u8] = &[1, 10, 2, 2, b'x', 5, 0, 0, 2, 2, 2, 7, 2, b'k'];
    let reader = read::Reader { bytes: &mut body, shape: &shape, order: Order::Named };
    let read = <Now as serde::Deserialize>::deserialize(reader).unwrap();
    assert_eq!(read, Now { kept: "k".into(), new: None });
    assert!(body.is_empty());
}

#[test]
fn counts_beyond_the_bytes_are_refused_before_anything_is_made_of_them() {
    let shape = Shape::of(&Schema::parse_str(r#"{"type":"array","items":"long"}"#).unwrap()).unwrap();
    let mut body = Vec::new();
    write::push_long(&mut body, i64::MIN);
    body.extend_from_slice(&[0; 20]);
    let reader = read::Reader { bytes: &mut body.as_slice(), shape: &shape, order: Order::Same };
    assert!(<Vec<i64> as serde::Deserialize>::deserialize(reader).is_err());
    assert!(Shape::of(&Schema::parse_str(r#"{"type":"array","items":"null"}"#).unwrap()).is_none());
}
