//! One record as `streambook topics tail --format avro` writes it: partition (2 bytes), offset (8), length (4), all
//! big-endian, then an Avro single object: `C3 01`, the fingerprint of the writer's schema (8 bytes), the body.

use std::io::{ErrorKind, Read};

use anyhow::{Context, bail, ensure};
use apache_avro::{
    Schema,
    headers::{HeaderBuilder, RabinFingerprintHeader},
    reader::datum::GenericDatumReader,
    types::Value,
};

/// The largest record that is believed, so that a broken stream cannot ask for all memory.
const LONGEST: u32 = 64 << 20;

/// A record and its place.
pub(crate) struct Frame {
    pub(crate) partition: u16,
    pub(crate) offset: u64,
    record: Vec<u8>,
}

/// The next record, or none at the end of the stream.
pub(crate) fn next(input: &mut impl Read) -> anyhow::Result<Option<Frame>> {
    let mut partition = [0; 2];
    match input.read_exact(&mut partition) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let (mut offset, mut length) = ([0; 8], [0; 4]);
    input.read_exact(&mut offset).context("the stream ends within a record")?;
    input.read_exact(&mut length).context("the stream ends within a record")?;
    let length = u32::from_be_bytes(length);
    ensure!(length <= LONGEST, "a record of {length} bytes: this is not a stream of records");
    let mut record = vec![0; usize::try_from(length)?];
    input.read_exact(&mut record).context("the stream ends within a record")?;
    Ok(Some(Frame { partition: u16::from_be_bytes(partition), offset: u64::from_be_bytes(offset), record }))
}

impl Frame {
    /// Decodes the record with the schema it was written with. A program that outlives a version of the schema keeps the
    /// older ones of `schemas/avro/history/` as well and picks the writer's by its fingerprint.
    pub(crate) fn decode(&self, schema: &Schema) -> anyhow::Result<Value> {
        let header = header(schema)?;
        let Some(mut body) = self.record.strip_prefix(header.as_slice()) else {
            bail!("{}: the record was written with another schema than this one", self.place());
        };
        let reader = GenericDatumReader::builder(schema).build().with_context(|| self.place())?;
        let value = reader.read_value(&mut body).with_context(|| self.place())?;
        ensure!(body.is_empty(), "{}: {} bytes after the record", self.place(), body.len());
        Ok(value)
    }

    /// Where it was read, for people.
    pub(crate) fn place(&self) -> String {
        format!("partition {} offset {}", self.partition, self.offset)
    }
}

/// `C3 01` and the fingerprint of the schema's Parsing Canonical Form, in which a logical type is its plain type. The
/// library (apache-avro 0.22) leaves an object there, which other libraries do not need to be told.
fn header(schema: &Schema) -> anyhow::Result<Vec<u8>> {
    let plain = Schema::parse(&plain(serde_json::to_value(schema)?))?;
    Ok(RabinFingerprintHeader::from_schema(&plain).build_header())
}

fn plain(schema: serde_json::Value) -> serde_json::Value {
    use serde_json::Value::{Array, Object, String};
    match schema {
        Array(parts) => parts.into_iter().map(plain).collect(),
        Object(parts) => match (parts.get("name"), parts.get("type")) {
            (None, Some(String(name))) if ["int", "long", "bytes", "string"].contains(&name.as_str()) => {
                name.clone().into()
            }
            _ => parts
                .into_iter()
                .filter(|(name, _)| name != "default" && name != "doc")
                .map(|(name, value)| (name, plain(value)))
                .collect(),
        },
        other => other,
    }
}
