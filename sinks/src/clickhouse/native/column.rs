//! One column: its values as they come, and its bytes.

use std::{
    collections::HashMap,
    fmt::{Display, Write},
};

use super::{NativeError, put_text};

/// The version of a dictionary's form, its flags (the keys come with the block), and of what width its indexes are.
const DICTIONARY_VERSION: u64 = 1;
const DICTIONARY_FLAGS: u64 = 0x600;

/// Bytes of a text, usually: an id is 30.
const USUAL_TEXT: usize = 32;

/// A column that is being filled.
#[derive(Debug)]
pub(super) struct Column {
    name: &'static str,
    kind: String,
    values: Values,
    /// Where a value is written before it goes in as text.
    scratch: String,
}

/// The values of a column, in the form of its type.
#[derive(Debug)]
enum Values {
    /// So many bytes each.
    Fixed(usize, Vec<u8>),
    /// Text behind its length.
    Text(Vec<u8>),
    /// Each text once, and which of them each row has. The order of the map is never looked at; the last one is looked at
    /// first, since neighbours are often the same.
    Dictionary { known: HashMap<String, u32>, last: (String, u32), keys: Vec<u8>, rows: Vec<u32> },
    /// Which rows have nothing, and so many bytes each.
    Maybe { width: usize, absent: Vec<u8>, values: Vec<u8> },
    /// Where each row's pairs end, and all keys and values.
    Pairs { ends: Vec<u64>, count: u64, keys: Vec<u8>, values: Vec<u8> },
}

impl Column {
    /// An empty column of this type, with room for so many rows: a column that has to grow is copied each time.
    pub(super) fn new(name: &'static str, kind: &str, rows: usize) -> Result<Self, NativeError> {
        let problem =
            || NativeError { column: name.to_owned(), problem: format!("{kind} is not known here") };
        let values = values(kind, rows).ok_or_else(problem)?;
        Ok(Self { name, kind: kind.to_owned(), values, scratch: String::new() })
    }

    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    /// Adds a value of a fixed width.
    pub(super) fn fixed(&mut self, value: &[u8]) -> Result<(), NativeError> {
        match &mut self.values {
            Values::Fixed(width, bytes) if *width == value.len() => bytes.extend_from_slice(value),
            Values::Maybe { width, absent, values } if *width == value.len() => {
                absent.push(0);
                values.extend_from_slice(value);
            }
            _ => return Err(self.unfit(&format!("a value of {} bytes", value.len()))),
        }
        Ok(())
    }

    /// Adds nothing, where that may be.
    pub(super) fn absent(&mut self) -> Result<(), NativeError> {
        let Values::Maybe { width, absent, values } = &mut self.values else {
            return Err(self.unfit("nothing"));
        };
        absent.push(1);
        values.resize(values.len() + *width, 0);
        Ok(())
    }

    /// Adds text.
    pub(super) fn text(&mut self, text: &str) -> Result<(), NativeError> {
        match &mut self.values {
            Values::Text(bytes) => put_text(bytes, text),
            Values::Dictionary { last, rows, .. } if !rows.is_empty() && last.0 == text => rows.push(last.1),
            Values::Dictionary { known, last, keys, rows } => {
                let next = u32::try_from(known.len()).unwrap_or(u32::MAX);
                let index = known.get(text).copied().unwrap_or_else(|| {
                    put_text(keys, text);
                    known.insert(text.to_owned(), next);
                    next
                });
                last.0.clear();
                last.0.push_str(text);
                last.1 = index;
                rows.push(index);
            }
            _ => return Err(self.unfit("text")),
        }
        Ok(())
    }

    /// Adds a value's text form.
    pub(super) fn written(&mut self, value: &(impl Display + ?Sized)) -> Result<(), NativeError> {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        write!(scratch, "{value}").map_err(|_| self.unfit("value without a text form"))?;
        let added = self.text(&scratch);
        self.scratch = scratch;
        added
    }

    /// Adds a row of pairs of text.
    pub(super) fn pairs<'p>(
        &mut self,
        pairs: impl Iterator<Item = (&'p str, &'p str)>,
    ) -> Result<(), NativeError> {
        let Values::Pairs { ends, count, keys, values } = &mut self.values else {
            return Err(self.unfit("pairs"));
        };
        for (key, value) in pairs {
            put_text(keys, key);
            put_text(values, value);
            *count += 1;
        }
        ends.push(*count);
        Ok(())
    }

    /// The error for a value of another type.
    pub(super) fn unfit(&self, what: &str) -> NativeError {
        NativeError { column: self.name.to_owned(), problem: format!("{} takes no {what}", self.kind) }
    }

    /// How many bytes it takes at most.
    pub(super) fn most_bytes(&self) -> usize {
        let values = match &self.values {
            Values::Fixed(_, values) | Values::Text(values) => values.len(),
            Values::Dictionary { keys, rows, .. } => 32 + keys.len() + 4 * rows.len(),
            Values::Maybe { absent, values, .. } => absent.len() + values.len(),
            Values::Pairs { ends, keys, values, .. } => 8 * ends.len() + keys.len() + values.len(),
        };
        20 + self.name.len() + self.kind.len() + values
    }

    /// Its bytes.
    pub(super) fn encode(self, bytes: &mut Vec<u8>, rows: usize) {
        put_text(bytes, self.name);
        put_text(bytes, &self.kind);
        match self.values {
            Values::Fixed(_, values) | Values::Text(values) => bytes.extend(values),
            Values::Dictionary { known, keys, rows: indexes, .. } => {
                put_dictionary(bytes, known.len(), &keys, &indexes, rows);
            }
            Values::Maybe { absent, values, .. } => {
                bytes.extend(absent);
                bytes.extend(values);
            }
            Values::Pairs { ends, keys, values, .. } => {
                ends.iter().for_each(|end| bytes.extend(end.to_le_bytes()));
                bytes.extend(keys);
                bytes.extend(values);
            }
        }
    }
}

fn values(kind: &str, rows: usize) -> Option<Values> {
    let fixed = |width: usize| Vec::with_capacity(rows.saturating_mul(width));
    Some(match kind {
        "String" => Values::Text(fixed(USUAL_TEXT)),
        "LowCardinality(String)" => {
            let (known, last) = (HashMap::new(), (String::new(), 0));
            Values::Dictionary { known, last, keys: Vec::new(), rows: Vec::with_capacity(rows) }
        }
        "Map(String, String)" => {
            let ends = Vec::with_capacity(rows);
            Values::Pairs { ends, count: 0, keys: Vec::new(), values: Vec::new() }
        }
        kind => match kind.strip_prefix("Nullable(").and_then(|rest| rest.strip_suffix(')')) {
            Some(inner) => {
                let width = width(inner)?;
                Values::Maybe { width, absent: fixed(1), values: fixed(width) }
            }
            None => width(kind).map(|width| Values::Fixed(width, fixed(width)))?,
        },
    })
}

/// The bytes of a value of this type.
fn width(kind: &str) -> Option<usize> {
    match kind {
        "Bool" | "UInt8" | "Int8" => Some(1),
        "UInt16" | "Int16" => Some(2),
        "UInt32" | "Int32" => Some(4),
        "UInt64" | "Int64" => Some(8),
        "UInt128" | "Int128" => Some(16),
        kind if kind.starts_with("DateTime64(") => Some(8),
        kind => kind.strip_prefix("FixedString(")?.strip_suffix(')')?.parse().ok(),
    }
}

/// A column of a dictionary: its keys, then an index for each row, as narrow as the number of keys allows.
fn put_dictionary(bytes: &mut Vec<u8>, known: usize, keys: &[u8], indexes: &[u32], rows: usize) {
    let width: u64 = match known {
        0..=0x100 => 0,
        0x101..=0x1_0000 => 1,
        _ => 2,
    };
    bytes.extend(DICTIONARY_VERSION.to_le_bytes());
    bytes.extend((DICTIONARY_FLAGS | width).to_le_bytes());
    bytes.extend((known as u64).to_le_bytes());
    bytes.extend_from_slice(keys);
    bytes.extend((rows as u64).to_le_bytes());
    for index in indexes {
        let index = index.to_le_bytes();
        let take = 1_usize << width;
        bytes.extend(index.get(..take).unwrap_or(&index));
    }
}
