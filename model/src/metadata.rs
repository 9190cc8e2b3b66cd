//! A merchant's own key-value pairs on a payment, kept in key order so that every output that holds them is the same.

use std::collections::{BTreeMap, HashSet};

use apache_avro::{
    AvroSchemaComponent, Schema,
    schema::{Name, NamespaceRef},
};
use serde::{Deserialize, Serialize};

/// Sorted text pairs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Metadata(pub BTreeMap<String, String>);

impl AvroSchemaComponent for Metadata {
    fn get_schema_in_ctxt(_: &mut HashSet<Name>, _: NamespaceRef) -> Schema {
        Schema::map(Schema::String).build()
    }
}
