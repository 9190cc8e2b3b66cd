//! Small helpers for the Avro schemas that Rust types state of themselves.

use std::collections::HashSet;

use apache_avro::{
    Schema,
    schema::{EnumSchema, Name, NamespaceRef},
};

/// The schema of a named type: its definition where it is met first, a reference afterwards (a name may be
/// defined once only in a schema).
pub(crate) fn named(
    name: &str,
    known: &mut HashSet<Name>,
    namespace: NamespaceRef,
    definition: impl FnOnce(Name) -> Schema,
) -> Schema {
    match Name::new_with_enclosing_namespace(name, namespace) {
        Ok(name) if known.contains(&name) => Schema::Ref { name },
        Ok(name) => {
            known.insert(name.clone());
            definition(name)
        }
        // A name of ours that Avro refuses would make every schema that uses it visibly wrong: `null` fits no value.
        Err(_) => Schema::Null,
    }
}

/// An Avro `enum`. Written out by hand for each of our enums, because the derive refuses variants that have docs.
/// The symbols stand in the order of the variants, which is what serde writes.
pub(crate) fn enumeration(
    name: &str,
    symbols: &[&str],
    known: &mut HashSet<Name>,
    namespace: NamespaceRef,
) -> Schema {
    let symbols = symbols.iter().map(|symbol| (*symbol).to_owned()).collect();
    named(name, known, namespace, |name| {
        Schema::Enum(EnumSchema::builder().name(name).symbols(symbols).build())
    })
}

/// Unsigned 64-bit counters as Avro `long`, which every Avro library reads. Values above `i64::MAX` are refused.
pub mod long {
    use std::collections::HashSet;

    use apache_avro::{
        Schema,
        schema::{Name, NamespaceRef, RecordField},
    };
    use serde::{Deserialize, Deserializer, Serializer, de, ser};

    /// `long`.
    pub fn get_schema_in_ctxt(_: &mut HashSet<Name>, _: NamespaceRef) -> Schema {
        Schema::Long
    }

    /// Not a record.
    pub fn get_record_fields_in_ctxt(_: &mut HashSet<Name>, _: NamespaceRef) -> Option<Vec<RecordField>> {
        None
    }

    /// Writes the counter as a signed 64-bit integer.
    pub fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(i64::try_from(*value).map_err(ser::Error::custom)?)
    }

    /// Reads the counter; a negative value is an error.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        u64::try_from(i64::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}
