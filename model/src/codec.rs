//! Avro single-object encoding (Avro specification, "Single object encoding"): `C3 01`, the CRC-64-AVRO fingerprint of
//! the writer's schema, the body. Any record can be decoded from the published schemas alone, with any Avro library.
//!
//! Every version in `schemas/avro/` and `schemas/avro/history/` can be read; the current one is written.
//!
//! The library parses schemas and computes fingerprints. Records are written and read by [`write`] and [`read`], which walk
//! along the schema's [`shape`] in the order in which the Rust types have their fields: a payment is written and read about
//! thirty times on its way, and to look up each field by its name was a tenth of its time. Tests compare both with the
//! library.

mod read;
mod shape;
mod write;

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use apache_avro::{
    Schema,
    headers::{HeaderBuilder, RabinFingerprintHeader},
};
use serde_json::Value;
use sha2::{Digest, Sha256};

pub use self::shape::Misfit;
use self::{read::Order, shape::Shape};
use crate::{
    bytes::LineageHash,
    message::{Decode, Encode, Message, Record},
    meta::Source,
};

include!(concat!(env!("OUT_DIR"), "/schemas.rs"));

/// Avro's primitive types.
const PRIMITIVES: [&str; 8] = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];
/// Bytes before the body: the marker and the fingerprint.
const HEADER: usize = 10;
/// Room for most records, so that few have to be moved while they are encoded.
const USUAL_BYTES: usize = 1_024;
/// The union branch `null` of `meta.source`, the first byte of the body of a record without lineage.
const NO_SOURCE: u8 = 0x00;
/// The union branch of a present `meta.source`.
const SOME_SOURCE: u8 = 0x02;

/// A record that cannot be encoded or decoded.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The bytes do not begin as a single object.
    #[error("not an Avro single object: it must begin with C3 01 and a fingerprint")]
    NotSingleObject,
    /// No schema of ours has this fingerprint.
    #[error("no known schema has the fingerprint {}", hex::encode(.0))]
    UnknownSchema([u8; 8]),
    /// The body does not fit the schema it names.
    #[error("cannot decode a {name}")]
    Decode {
        /// The record type.
        name: &'static str,
        /// Why.
        #[source]
        cause: Misfit,
    },
    /// The record does not fit its schema.
    #[error("cannot encode a {name}")]
    Encode {
        /// The record type.
        name: &'static str,
        /// Why.
        #[source]
        cause: Misfit,
    },
    /// There are bytes after the end of the record.
    #[error("{count} bytes after the end of a {name}")]
    Trailing {
        /// The record type.
        name: &'static str,
        /// How many.
        count: usize,
    },
    /// A schema file of this build cannot be used; the schema tests find this before a release does.
    #[error("the embedded schema of {0} cannot be used")]
    Schema(&'static str),
    /// Lineage can be stamped only on a record that has none yet.
    #[error("the record already has a source")]
    AlreadyStamped,
}

struct Writer {
    header: [u8; HEADER],
    shape: Arc<Shape>,
}

struct Reader {
    name: &'static str,
    shape: Arc<Shape>,
    order: Order,
}

#[derive(Default)]
struct Codecs {
    writers: BTreeMap<&'static str, Writer>,
    readers: BTreeMap<[u8; 8], Reader>,
}

static CODECS: LazyLock<Codecs> = LazyLock::new(Codecs::load);

impl Codecs {
    fn load() -> Self {
        let mut codecs = Self::default();
        for (stem, text) in HISTORY {
            codecs.add(stem.split('.').next().unwrap_or(stem), text, Order::Named);
        }
        for (name, text) in CURRENT {
            codecs.add(name, text, Order::Same);
        }
        codecs
    }

    /// A file that cannot be used is left out; using it is then the error `Schema` or `UnknownSchema`, which a test finds.
    fn add(&mut self, name: &'static str, text: &str, order: Order) {
        let Ok(schema) = Schema::parse_str(text) else { return };
        let (Some(header), Some(shape)) = (header_of(&schema), Shape::of(&schema)) else { return };
        let mut fingerprint = [0; 8];
        fingerprint.copy_from_slice(&header[2..]);
        self.readers.insert(fingerprint, Reader { name, shape: Arc::clone(&shape), order });
        if order == Order::Same {
            self.writers.insert(name, Writer { header, shape });
        }
    }
}

fn header_of(schema: &Schema) -> Option<[u8; HEADER]> {
    let plain = Schema::parse(&plain(serde_json::to_value(schema).ok()?)).ok()?;
    RabinFingerprintHeader::from_schema(&plain).build_header().try_into().ok()
}

/// A schema whose logical types are their plain types, as its Parsing Canonical Form has them (Avro specification, rules
/// PRIMITIVES and STRIP). The library (apache-avro 0.22) leaves an object there, with a decimal's precision and scale, and
/// so comes to fingerprints that no other library knows.
fn plain(schema: Value) -> Value {
    match schema {
        Value::Array(parts) => parts.into_iter().map(plain).collect(),
        Value::Object(fields) => match (fields.get("name"), fields.get("type")) {
            (None, Some(Value::String(name))) if PRIMITIVES.contains(&name.as_str()) => name.clone().into(),
            _ => fields
                .into_iter()
                .filter(|(name, _)| name != "default" && name != "doc")
                .map(|(name, value)| (name, plain(value)))
                .collect(),
        },
        other => other,
    }
}

struct Encoder(Vec<u8>);

impl Encode for Encoder {
    type Error = CodecError;

    fn encode<R: Record>(&mut self, record: &R) -> Result<(), CodecError> {
        let writer = CODECS.writers.get(R::NAME).ok_or(CodecError::Schema(R::NAME))?;
        self.0.extend_from_slice(&writer.header);
        let written = record.serialize(write::Writer { out: &mut self.0, shape: &writer.shape });
        written.map_err(|cause| CodecError::Encode { name: R::NAME, cause })
    }
}

struct Decoder<'a> {
    reader: &'static Reader,
    body: &'a [u8],
}

impl Decode for Decoder<'_> {
    type Error = CodecError;

    fn decode<R: Record>(mut self) -> Result<R, CodecError> {
        let Reader { shape, order, .. } = self.reader;
        let record = R::deserialize(read::Reader { bytes: &mut self.body, shape, order: *order });
        let record = record.map_err(|cause| CodecError::Decode { name: R::NAME, cause })?;
        match self.body.len() {
            0 => Ok(record),
            count => Err(CodecError::Trailing { name: R::NAME, count }),
        }
    }
}

/// Encodes a record with its type's current schema.
pub fn encode(message: &Message) -> Result<Vec<u8>, CodecError> {
    let mut encoder = Encoder(Vec::with_capacity(USUAL_BYTES));
    message.encode_with(&mut encoder)?;
    Ok(encoder.0)
}

/// Decodes a record written with any version of any of our schemas.
pub fn decode(bytes: &[u8]) -> Result<Message, CodecError> {
    let (header, body) = bytes.split_at_checked(HEADER).ok_or(CodecError::NotSingleObject)?;
    let fingerprint = header.strip_prefix(&[0xC3, 0x01]).ok_or(CodecError::NotSingleObject)?;
    let fingerprint: [u8; 8] = fingerprint.try_into().map_err(|_| CodecError::NotSingleObject)?;
    let reader = CODECS.readers.get(&fingerprint).ok_or(CodecError::UnknownSchema(fingerprint))?;
    let decoded = Message::decode_with(reader.name, Decoder { reader, body });
    decoded.unwrap_or(Err(CodecError::UnknownSchema(fingerprint)))
}

/// The running hash after one more output: over the hash before it, its number, and the record without lineage.
pub fn extend_chain(before: LineageHash, seq: u64, unstamped: &[u8]) -> LineageHash {
    let digest =
        Sha256::new().chain_update(before.as_bytes()).chain_update(seq.to_be_bytes()).chain_update(unstamped);
    let digest: [u8; 32] = digest.finalize().into();
    let mut chain = [0; 16];
    chain.copy_from_slice(&digest[..16]);
    LineageHash::new(chain)
}

/// Puts lineage into an encoded record that has none.
///
/// `meta.source` is the first field of the first field of every record, so its bytes are the first of the body; this
/// spares a second encoding of each output (the running hash is over the record without its lineage).
pub fn stamp(unstamped: &[u8], source: &Source) -> Result<Vec<u8>, CodecError> {
    let (header, body) = unstamped.split_at_checked(HEADER).ok_or(CodecError::NotSingleObject)?;
    let rest = body.strip_prefix(&[NO_SOURCE]).ok_or(CodecError::AlreadyStamped)?;
    let mut stamped = Vec::with_capacity(unstamped.len() + source.task.len() + 32);
    stamped.extend_from_slice(header);
    stamped.push(SOME_SOURCE);
    write::push_varint(&mut stamped, (source.task.len() as u64) << 1);
    stamped.extend_from_slice(source.task.as_bytes());
    write::push_varint(&mut stamped, source.seq << 1);
    stamped.extend_from_slice(source.chain.as_bytes());
    stamped.extend_from_slice(rest);
    Ok(stamped)
}

/// Takes lineage out again, which gives what [`extend_chain`] hashed.
pub fn unstamp(stamped: &[u8], source: &Source) -> Result<Vec<u8>, CodecError> {
    let probe = stamp(&[&stamped[..HEADER.min(stamped.len())], &[NO_SOURCE][..]].concat(), source)?;
    let rest = stamped.strip_prefix(probe.as_slice()).ok_or(CodecError::NotSingleObject)?;
    Ok([&stamped[..HEADER], &[NO_SOURCE], rest].concat())
}

/// The schema files of this build: (record type, text), for those who publish or compare them.
pub fn current_schemas() -> &'static [(&'static str, &'static str)] {
    CURRENT
}

/// Past versions: (`Name.version`, text).
pub fn past_schemas() -> &'static [(&'static str, &'static str)] {
    HISTORY
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the test writes schema files when it is told to")]
mod tests;
