//! Writes a record in Avro's binary encoding, walking along its schema's shape. Rust's types have their fields in the
//! schema's order (a test holds them to it), so nothing is looked up by name.

use serde::{
    Serialize, Serializer,
    ser::{Impossible, SerializeMap, SerializeSeq, SerializeStruct},
};

use super::shape::{Field, Misfit, Shape, TEXT};

/// Writes one value.
pub(super) struct Writer<'o, 's> {
    pub(super) out: &'o mut Vec<u8>,
    pub(super) shape: &'s Shape,
}

/// The items of a list or a map.
pub(super) struct Items<'o, 's> {
    out: &'o mut Vec<u8>,
    item: &'s Shape,
    left: usize,
}

/// The fields of a record.
pub(super) struct Fields<'o, 's> {
    out: &'o mut Vec<u8>,
    left: std::slice::Iter<'s, Field>,
}

/// Avro's variable-length zig-zag coding of a `long`.
pub(super) fn push_long(out: &mut Vec<u8>, value: i64) {
    push_varint(out, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

/// Seven bits to a byte, the lowest first.
pub(super) fn push_varint(out: &mut Vec<u8>, mut rest: u64) {
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push((rest & 0x7f) as u8);
}

fn push_length(out: &mut Vec<u8>, length: usize) -> Result<(), Misfit> {
    push_long(out, i64::try_from(length).map_err(|_| Misfit::new("a length beyond 63 bits"))?);
    Ok(())
}

impl<'o, 's> Writer<'o, 's> {
    fn misfit<T>(&self, what: &str) -> Result<T, Misfit> {
        Err(Misfit::new(format!("{what} where the schema has {:?}", self.shape)))
    }

    fn number(self, value: i64) -> Result<(), Misfit> {
        match self.shape {
            Shape::Long => push_long(self.out, value),
            Shape::Int if i32::try_from(value).is_ok() => push_long(self.out, value),
            _ => return self.misfit("a number"),
        }
        Ok(())
    }

    fn items(self, count: Option<usize>) -> Result<Items<'o, 's>, Misfit> {
        match (self.shape, count) {
            (Shape::List(item) | Shape::Map(item), Some(count)) => {
                if count > 0 {
                    push_length(self.out, count)?;
                }
                Ok(Items { out: self.out, item, left: count })
            }
            _ => self.misfit("a list"),
        }
    }
}

impl<'o, 's> Serializer for Writer<'o, 's> {
    type Ok = ();
    type Error = Misfit;
    type SerializeSeq = Items<'o, 's>;
    type SerializeMap = Items<'o, 's>;
    type SerializeStruct = Fields<'o, 's>;
    type SerializeTuple = Impossible<(), Misfit>;
    type SerializeTupleStruct = Impossible<(), Misfit>;
    type SerializeTupleVariant = Impossible<(), Misfit>;
    type SerializeStructVariant = Impossible<(), Misfit>;

    fn is_human_readable(&self) -> bool {
        false
    }

    fn serialize_bool(self, value: bool) -> Result<(), Misfit> {
        match self.shape {
            Shape::Boolean => self.out.push(u8::from(value)),
            _ => return self.misfit("a boolean"),
        }
        Ok(())
    }

    fn serialize_i8(self, value: i8) -> Result<(), Misfit> {
        self.number(value.into())
    }

    fn serialize_i16(self, value: i16) -> Result<(), Misfit> {
        self.number(value.into())
    }

    fn serialize_i32(self, value: i32) -> Result<(), Misfit> {
        self.number(value.into())
    }

    fn serialize_i64(self, value: i64) -> Result<(), Misfit> {
        self.number(value)
    }

    fn serialize_u8(self, value: u8) -> Result<(), Misfit> {
        self.number(value.into())
    }

    fn serialize_u16(self, value: u16) -> Result<(), Misfit> {
        self.number(value.into())
    }

    fn serialize_u32(self, value: u32) -> Result<(), Misfit> {
        self.number(value.into())
    }

    fn serialize_u64(self, value: u64) -> Result<(), Misfit> {
        match i64::try_from(value) {
            Ok(value) => self.number(value),
            Err(_) => self.misfit("a number beyond 63 bits"),
        }
    }

    #[expect(clippy::disallowed_types, reason = "what serde offers is refused here")]
    fn serialize_f32(self, _: f32) -> Result<(), Misfit> {
        self.misfit("a fraction")
    }

    #[expect(clippy::disallowed_types, reason = "what serde offers is refused here")]
    fn serialize_f64(self, _: f64) -> Result<(), Misfit> {
        self.misfit("a fraction")
    }

    fn serialize_char(self, _: char) -> Result<(), Misfit> {
        self.misfit("a character")
    }

    fn serialize_str(self, value: &str) -> Result<(), Misfit> {
        match self.shape {
            Shape::Text => push_length(self.out, value.len())?,
            _ => return self.misfit("text"),
        }
        self.out.extend_from_slice(value.as_bytes());
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Misfit> {
        match self.shape {
            Shape::Bytes => push_length(self.out, value.len())?,
            Shape::Fixed(length) if *length == value.len() => {}
            _ => return self.misfit("bytes"),
        }
        self.out.extend_from_slice(value);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Misfit> {
        match self.shape {
            Shape::Maybe(_) => push_long(self.out, 0),
            _ => return self.misfit("nothing"),
        }
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Misfit> {
        let Shape::Maybe(shape) = self.shape else { return self.misfit("something optional") };
        push_long(self.out, 1);
        value.serialize(Writer { out: self.out, shape })
    }

    fn serialize_unit(self) -> Result<(), Misfit> {
        match self.shape {
            Shape::Null => Ok(()),
            _ => self.misfit("nothing"),
        }
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Misfit> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        number: u32,
        variant: &'static str,
    ) -> Result<(), Misfit> {
        let Shape::Symbols(symbols) = self.shape else { return self.misfit("a word") };
        // The symbols stand in the order of the variants.
        match symbols.get(usize::try_from(number).unwrap_or(usize::MAX)) {
            Some(symbol) if symbol == variant => push_long(self.out, number.into()),
            _ => return self.misfit(variant),
        }
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Misfit> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), Misfit> {
        self.misfit(name)
    }

    fn serialize_seq(self, count: Option<usize>) -> Result<Items<'o, 's>, Misfit> {
        self.items(count)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Misfit> {
        self.misfit("a tuple")
    }

    fn serialize_tuple_struct(
        self,
        name: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, Misfit> {
        self.misfit(name)
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Misfit> {
        self.misfit(name)
    }

    fn serialize_map(self, count: Option<usize>) -> Result<Items<'o, 's>, Misfit> {
        self.items(count)
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Fields<'o, 's>, Misfit> {
        match self.shape {
            Shape::Fields(fields) => Ok(Fields { out: self.out, left: fields.iter() }),
            _ => self.misfit(name),
        }
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Misfit> {
        self.misfit(name)
    }
}

impl Items<'_, '_> {
    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Misfit> {
        let left = self.left.checked_sub(1);
        self.left = left.ok_or_else(|| Misfit::new("more items than were announced"))?;
        value.serialize(Writer { out: self.out, shape: self.item })
    }

    fn close(self) -> Result<(), Misfit> {
        if self.left > 0 {
            return Err(Misfit::new("fewer items than were announced"));
        }
        push_long(self.out, 0);
        Ok(())
    }
}

impl SerializeSeq for Items<'_, '_> {
    type Ok = ();
    type Error = Misfit;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Misfit> {
        self.item(value)
    }

    fn end(self) -> Result<(), Misfit> {
        self.close()
    }
}

impl SerializeMap for Items<'_, '_> {
    type Ok = ();
    type Error = Misfit;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Misfit> {
        key.serialize(Writer { out: self.out, shape: &TEXT })
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Misfit> {
        self.item(value)
    }

    fn end(self) -> Result<(), Misfit> {
        self.close()
    }
}

impl SerializeStruct for Fields<'_, '_> {
    type Ok = ();
    type Error = Misfit;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Misfit> {
        let field = self.left.next().filter(|field| field.name == key);
        let field = field.ok_or_else(|| Misfit::new(format!("the schema has another field than `{key}`")))?;
        value.serialize(Writer { out: self.out, shape: &field.shape })
    }

    fn end(mut self) -> Result<(), Misfit> {
        match self.left.next() {
            Some(field) => Err(Misfit::new(format!("the field `{}` is missing", field.name))),
            None => Ok(()),
        }
    }
}
