//! A row into its columns, by its fields' names: a serializer of exactly what rows are made of.

use std::fmt::Display;

use serde::{
    Serialize, Serializer,
    ser::{Error as _, Impossible, SerializeMap, SerializeStruct},
};

use super::{NativeError, Types, column::Column};

/// Adds a row, one of `rows`.
pub(super) fn append<R: Serialize>(
    (types, rows): (&Types, usize),
    columns: &mut Vec<Column>,
    row: &R,
) -> Result<(), NativeError> {
    row.serialize(Place::Row { types, columns, rows })
}

impl serde::ser::Error for NativeError {
    fn custom<T: Display>(message: T) -> Self {
        Self { column: String::new(), problem: message.to_string() }
    }
}

/// The fields of a row, one after the other. The first row makes the columns.
struct Fields<'a> {
    types: &'a Types,
    columns: &'a mut Vec<Column>,
    rows: usize,
    next: usize,
}

impl SerializeStruct for Fields<'_> {
    type Ok = ();
    type Error = NativeError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), NativeError> {
        if self.columns.len() == self.next {
            let unknown = || NativeError {
                column: name.to_owned(),
                problem: "the table has no such column".to_owned(),
            };
            self.columns.push(Column::new(name, self.types.get(name).ok_or_else(unknown)?, self.rows)?);
        }
        let column = self.columns.get_mut(self.next).filter(|column| column.name() == name);
        let column = column.ok_or_else(|| NativeError::custom("rows with different fields"))?;
        self.next += 1;
        value.serialize(Place::Value(column))
    }

    fn end(self) -> Result<(), NativeError> {
        Ok(())
    }
}

/// Where something goes: a row into all columns, a value into its own.
enum Place<'a> {
    Row { types: &'a Types, columns: &'a mut Vec<Column>, rows: usize },
    Value(&'a mut Column),
}

impl<'a> Place<'a> {
    fn column(self) -> Result<&'a mut Column, NativeError> {
        match self {
            Self::Value(column) => Ok(column),
            Self::Row { .. } => Err(NativeError::custom("a row must be a structure")),
        }
    }
}

/// A map, on its way into its column: pairs are kept until all are there.
struct Pairs<'a> {
    column: &'a mut Column,
    key: String,
    pairs: Vec<(String, String)>,
}

impl SerializeMap for Pairs<'_> {
    type Ok = ();
    type Error = NativeError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), NativeError> {
        self.key = text(key)?;
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NativeError> {
        self.pairs.push((std::mem::take(&mut self.key), text(value)?));
        Ok(())
    }

    fn end(self) -> Result<(), NativeError> {
        self.column.pairs(self.pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())))
    }
}

fn text<T: Serialize + ?Sized>(value: &T) -> Result<String, NativeError> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => Ok(text),
        _ => Err(NativeError::custom("a map of something else than text")),
    }
}

/// Numbers go in as their bytes, little-endian.
macro_rules! fixed {
    ($($method:ident $number:ty),*) => {
        $(fn $method(self, value: $number) -> Result<(), NativeError> { self.column()?.fixed(&value.to_le_bytes()) })*
    };
}

/// What no row has.
macro_rules! refused {
    ($($method:ident($($argument:ident: $kind:ty),*) -> $result:ty;)*) => {
        $(fn $method(self, $($argument: $kind),*) -> Result<$result, NativeError> {
            $(let _ = $argument;)*
            Err(self.column()?.unfit("value of this kind"))
        })*
    };
}

type Never = Impossible<(), NativeError>;

impl<'a> Serializer for Place<'a> {
    type Ok = ();
    type Error = NativeError;
    type SerializeSeq = Never;
    type SerializeTuple = Never;
    type SerializeTupleStruct = Never;
    type SerializeTupleVariant = Never;
    type SerializeMap = Pairs<'a>;
    type SerializeStruct = Fields<'a>;
    type SerializeStructVariant = Never;

    fixed!(
        serialize_u8 u8, serialize_u16 u16, serialize_u32 u32, serialize_u64 u64, serialize_u128 u128,
        serialize_i8 i8, serialize_i16 i16, serialize_i32 i32, serialize_i64 i64, serialize_i128 i128
    );

    fn serialize_bool(self, value: bool) -> Result<(), NativeError> {
        self.column()?.fixed(&[u8::from(value)])
    }

    fn serialize_str(self, value: &str) -> Result<(), NativeError> {
        self.column()?.text(value)
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<(), NativeError> {
        self.column()?.written(value)
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), NativeError> {
        self.column()?.fixed(value)
    }

    fn serialize_none(self) -> Result<(), NativeError> {
        self.column()?.absent()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), NativeError> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), NativeError> {
        value.serialize(self)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Pairs<'a>, NativeError> {
        Ok(Pairs { column: self.column()?, key: String::new(), pairs: Vec::new() })
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Fields<'a>, NativeError> {
        match self {
            Self::Row { types, columns, rows } => Ok(Fields { types, columns, rows, next: 0 }),
            Self::Value(column) => Err(column.unfit("structure")),
        }
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), NativeError> {
        Err(self.column()?.unfit("variant"))
    }

    refused! {
        serialize_f32(value: f32) -> ();
        serialize_f64(value: f64) -> ();
        serialize_char(value: char) -> ();
        serialize_unit() -> ();
        serialize_unit_struct(name: &'static str) -> ();
        serialize_unit_variant(name: &'static str, index: u32, variant: &'static str) -> ();
        serialize_seq(length: Option<usize>) -> Never;
        serialize_tuple(length: usize) -> Never;
        serialize_tuple_struct(name: &'static str, length: usize) -> Never;
        serialize_tuple_variant(name: &'static str, index: u32, variant: &'static str, length: usize) -> Never;
        serialize_struct_variant(name: &'static str, index: u32, variant: &'static str, length: usize) -> Never;
    }
}
