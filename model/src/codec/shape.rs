//! What a schema says about bytes, and nothing else: how writing and reading a record walk along it.
//!
//! Any shape of an item takes at least one byte, so a list never has more items than there are bytes.

use std::{fmt, sync::Arc};

use apache_avro::{
    Schema,
    schema::{InnerDecimalSchema, Name, UnionSchema},
};
use serde::{de, ser};

/// How a value is written. References to named types are resolved.
#[derive(Debug)]
pub(super) enum Shape {
    /// Nothing.
    Null,
    /// One byte.
    Boolean,
    /// A variable-length number of 32 bits.
    Int,
    /// A variable-length number of 64 bits.
    Long,
    /// A length and bytes.
    Bytes,
    /// A length and UTF-8.
    Text,
    /// So many bytes.
    Fixed(usize),
    /// The number of one of these.
    Symbols(Vec<String>),
    /// One after the other.
    Fields(Vec<Field>),
    /// Blocks of a count and items, ended by a count of zero.
    List(Arc<Shape>),
    /// The same, each item with a key before it.
    Map(Arc<Shape>),
    /// The union of `null`, in this order, and something.
    Maybe(Arc<Shape>),
}

/// A field of a record.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) shape: Arc<Shape>,
}

/// The shape of a map's keys.
pub(super) static TEXT: Shape = Shape::Text;

impl Shape {
    /// The shape of a schema. `None` where it uses what none of our types does: numbers with a fraction, other unions, a
    /// type within itself.
    pub(super) fn of(schema: &Schema) -> Option<Arc<Self>> {
        Shapes::default().of(schema)
    }
}

/// The named shapes met so far.
#[derive(Default)]
struct Shapes(Vec<(Name, Arc<Shape>)>);

impl Shapes {
    fn of(&mut self, schema: &Schema) -> Option<Arc<Shape>> {
        let shape = match schema {
            Schema::Null => Shape::Null,
            Schema::Boolean => Shape::Boolean,
            Schema::Int => Shape::Int,
            Schema::Long | Schema::TimestampMillis => Shape::Long,
            Schema::Bytes => Shape::Bytes,
            Schema::Decimal(decimal) if matches!(decimal.inner, InnerDecimalSchema::Bytes) => Shape::Bytes,
            Schema::String => Shape::Text,
            Schema::Array(array) => Shape::List(self.of(&array.items).filter(|item| item.takes_bytes())?),
            Schema::Map(map) => Shape::Map(self.of(&map.types)?),
            Schema::Union(union) => Shape::Maybe(self.of(optional(union)?)?),
            Schema::Ref { name } => return self.met(name),
            Schema::Fixed(fixed) => return Some(self.named(&fixed.name, Shape::Fixed(fixed.size))),
            Schema::Enum(symbols) => {
                return Some(self.named(&symbols.name, Shape::Symbols(symbols.symbols.clone())));
            }
            Schema::Record(record) => {
                let field = |field: &apache_avro::schema::RecordField| {
                    Some(Field { name: field.name.clone(), shape: self.of(&field.schema)? })
                };
                let fields = record.fields.iter().map(field).collect::<Option<_>>()?;
                return Some(self.named(&record.name, Shape::Fields(fields)));
            }
            _ => return None,
        };
        Some(Arc::new(shape))
    }

    fn met(&self, name: &Name) -> Option<Arc<Shape>> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, shape)| Arc::clone(shape))
    }

    fn named(&mut self, name: &Name, shape: Shape) -> Arc<Shape> {
        let shape = Arc::new(shape);
        self.0.push((name.clone(), Arc::clone(&shape)));
        shape
    }
}

impl Shape {
    fn takes_bytes(&self) -> bool {
        match self {
            Self::Null | Self::Fixed(0) => false,
            Self::Fields(fields) => fields.iter().any(|field| field.shape.takes_bytes()),
            _ => true,
        }
    }
}

fn optional(union: &UnionSchema) -> Option<&Schema> {
    match union.variants() {
        [Schema::Null, other] => Some(other),
        _ => None,
    }
}

/// A value that does not fit the schema, or bytes that do not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Misfit(String);

impl Misfit {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl ser::Error for Misfit {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self(text.to_string())
    }
}

impl de::Error for Misfit {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self(text.to_string())
    }
}
