//! Reads a record from Avro's binary encoding, walking along the shape of the schema it was written with.
//!
//! Texts and bytes are lent from the input. No count and no length is believed beyond the bytes there are.

use std::slice::Iter;

use serde::{
    Deserializer,
    de::{DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor},
    forward_to_deserialize_any,
};

use super::shape::{Field, Misfit, Shape, TEXT};

/// Whether Rust's type has the fields of the schema, in its order: the current version's has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// It has: fields are taken as they come.
    Same,
    /// It may not: fields are told apart by their names.
    Named,
}

/// Reads one value, and moves `bytes` past it.
pub(super) struct Reader<'b, 'de, 's> {
    pub(super) bytes: &'b mut &'de [u8],
    pub(super) shape: &'s Shape,
    pub(super) order: Order,
}

fn ended() -> Misfit {
    Misfit::new("the bytes end within the record")
}

fn take<'de>(bytes: &mut &'de [u8], count: usize) -> Result<&'de [u8], Misfit> {
    let (taken, rest) = bytes.split_at_checked(count).ok_or_else(ended)?;
    *bytes = rest;
    Ok(taken)
}

fn byte(bytes: &mut &[u8]) -> Result<u8, Misfit> {
    let (first, rest) = bytes.split_first().ok_or_else(ended)?;
    *bytes = rest;
    Ok(*first)
}

/// Avro's variable-length zig-zag coding.
fn long(bytes: &mut &[u8]) -> Result<i64, Misfit> {
    let mut value = 0_u64;
    for shift in (0..u64::BITS).step_by(7) {
        let byte = byte(bytes)?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(((value >> 1) ^ (value & 1).wrapping_neg()).cast_signed());
        }
    }
    Err(Misfit::new("a number of more than 64 bits"))
}

fn sized<'de>(bytes: &mut &'de [u8]) -> Result<&'de [u8], Misfit> {
    let length = usize::try_from(long(bytes)?).map_err(|_| Misfit::new("a negative length"))?;
    take(bytes, length)
}

fn text<'de>(bytes: &mut &'de [u8]) -> Result<&'de str, Misfit> {
    std::str::from_utf8(sized(bytes)?).map_err(|error| Misfit::new(format!("a text: {error}")))
}

/// Which alternative of a union or an enumeration follows.
fn number(bytes: &mut &[u8]) -> Result<usize, Misfit> {
    usize::try_from(long(bytes)?).map_err(|_| Misfit::new("a negative number of an alternative"))
}

impl<'de> Reader<'_, 'de, '_> {
    fn symbol<'s>(bytes: &mut &[u8], symbols: &'s [String]) -> Result<&'s str, Misfit> {
        let number = number(bytes)?;
        let symbol = symbols.get(number);
        symbol.map(String::as_str).ok_or_else(|| Misfit::new(format!("there is no symbol {number}")))
    }

    fn record<V: Visitor<'de>>(self, fields: &[Field], visitor: V) -> Result<V::Value, Misfit> {
        let mut left = Fields { bytes: self.bytes, left: fields.iter(), value: None, order: self.order };
        let read = match self.order {
            Order::Same => visitor.visit_seq(&mut left)?,
            Order::Named => visitor.visit_map(&mut left)?,
        };
        match left.left.next() {
            Some(field) => Err(Misfit::new(format!("nothing takes the field `{}`", field.name))),
            None => Ok(read),
        }
    }
}

impl<'de> Deserializer<'de> for Reader<'_, 'de, '_> {
    type Error = Misfit;

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.shape {
            Shape::Null => visitor.visit_unit(),
            Shape::Boolean => match byte(self.bytes)? {
                0 => visitor.visit_bool(false),
                1 => visitor.visit_bool(true),
                other => Err(Misfit::new(format!("{other} is no boolean"))),
            },
            Shape::Int => {
                let value = long(self.bytes)?;
                visitor.visit_i32(i32::try_from(value).map_err(|_| Misfit::new("an int beyond 32 bits"))?)
            }
            Shape::Long => visitor.visit_i64(long(self.bytes)?),
            Shape::Bytes => visitor.visit_borrowed_bytes(sized(self.bytes)?),
            Shape::Text => visitor.visit_borrowed_str(text(self.bytes)?),
            Shape::Fixed(length) => visitor.visit_borrowed_bytes(take(self.bytes, *length)?),
            Shape::Symbols(symbols) => visitor.visit_enum(Symbol(Self::symbol(self.bytes, symbols)?)),
            Shape::Fields(fields) => self.record(fields, visitor),
            Shape::List(item) => visitor.visit_seq(Items::new(self.bytes, item, self.order)),
            Shape::Map(item) => visitor.visit_map(Items::new(self.bytes, item, self.order)),
            Shape::Maybe(shape) => match number(self.bytes)? {
                0 => visitor.visit_none(),
                1 => visitor.visit_some(Reader { shape, ..self }),
                other => Err(Misfit::new(format!("there is no alternative {other}"))),
            },
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.shape {
            Shape::Maybe(_) => self.deserialize_any(visitor),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.shape {
            // Who ignores a variant asks for the content that none of ours has.
            Shape::Symbols(symbols) => visitor.visit_str(Self::symbol(self.bytes, symbols)?),
            _ => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct enum identifier
    }
}

/// A variant without content, by its name.
struct Symbol<'s>(&'s str);

impl<'de> EnumAccess<'de> for Symbol<'_> {
    type Error = Misfit;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Misfit> {
        let deserializer: serde::de::value::StrDeserializer<'_, Misfit> = self.0.into_deserializer();
        Ok((seed.deserialize(deserializer)?, self))
    }
}

impl<'de> VariantAccess<'de> for Symbol<'_> {
    type Error = Misfit;

    fn unit_variant(self) -> Result<(), Misfit> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, Misfit> {
        Err(Misfit::new(format!("`{}` has no content", self.0)))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Misfit> {
        Err(Misfit::new(format!("`{}` has no content", self.0)))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, Misfit> {
        Err(Misfit::new(format!("`{}` has no content", self.0)))
    }
}

/// The fields of a record that were not read yet.
struct Fields<'b, 'de, 's> {
    bytes: &'b mut &'de [u8],
    left: Iter<'s, Field>,
    /// The field whose name was read and whose value was not.
    value: Option<&'s Field>,
    order: Order,
}

impl<'de> SeqAccess<'de> for &mut Fields<'_, 'de, '_> {
    type Error = Misfit;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Misfit> {
        let Some(field) = self.left.next() else { return Ok(None) };
        seed.deserialize(Reader { bytes: self.bytes, shape: &field.shape, order: self.order }).map(Some)
    }
}

impl<'de> MapAccess<'de> for &mut Fields<'_, 'de, '_> {
    type Error = Misfit;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Misfit> {
        let Some(field) = self.left.next() else { return Ok(None) };
        self.value = Some(field);
        let deserializer: serde::de::value::StrDeserializer<'_, Misfit> =
            field.name.as_str().into_deserializer();
        seed.deserialize(deserializer).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Misfit> {
        let field = self.value.take().ok_or_else(|| Misfit::new("a value without its name"))?;
        seed.deserialize(Reader { bytes: self.bytes, shape: &field.shape, order: self.order })
    }
}

/// The items of a list or a map that were not read yet.
struct Items<'b, 'de, 's> {
    bytes: &'b mut &'de [u8],
    item: &'s Shape,
    order: Order,
    /// What is left of the block.
    left: usize,
    /// Whether the last block has been read.
    ended: bool,
}

impl<'b, 'de, 's> Items<'b, 'de, 's> {
    const fn new(bytes: &'b mut &'de [u8], item: &'s Shape, order: Order) -> Self {
        Self { bytes, item, order, left: 0, ended: false }
    }

    /// Whether there is another item; reads the beginning of a block where the one before is used up.
    fn advance(&mut self) -> Result<bool, Misfit> {
        if self.left == 0 && !self.ended {
            let count = long(self.bytes)?;
            // A block with a negative count says how many bytes it has, for those who skip it.
            if count < 0 {
                long(self.bytes)?;
            }
            self.left = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
            if self.left > self.bytes.len() {
                return Err(ended());
            }
            self.ended = self.left == 0;
        }
        if self.ended {
            return Ok(false);
        }
        self.left = self.left.saturating_sub(1);
        Ok(true)
    }

    fn read<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Misfit> {
        seed.deserialize(Reader { bytes: self.bytes, shape: self.item, order: self.order })
    }
}

impl<'de> SeqAccess<'de> for Items<'_, 'de, '_> {
    type Error = Misfit;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Misfit> {
        if self.advance()? { self.read(seed).map(Some) } else { Ok(None) }
    }

    fn size_hint(&self) -> Option<usize> {
        (self.left > 0).then_some(self.left)
    }
}

impl<'de> MapAccess<'de> for Items<'_, 'de, '_> {
    type Error = Misfit;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Misfit> {
        if !self.advance()? {
            return Ok(None);
        }
        seed.deserialize(Reader { bytes: self.bytes, shape: &TEXT, order: self.order }).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Misfit> {
        self.read(seed)
    }
}
