//! A JSON object of Stripe's, read field by field. What is not as Stripe documents it is a dead letter that names the
//! field; nothing is defaulted.

use serde_json::{Map, Value};
use streambook_model::{
    asset::{AssetId, currency_scale},
    money::Amount,
    time::Timestamp,
};
use streambook_runtime::processor::Fault;

/// An object and where in the event it stands.
#[derive(Debug, Clone)]
pub(super) struct Object<'v> {
    fields: &'v Map<String, Value>,
    path: String,
}

impl<'v> Object<'v> {
    pub(super) fn new(value: &'v Value, path: impl Into<String>) -> Result<Self, Fault> {
        let path = path.into();
        match value.as_object() {
            Some(fields) => Ok(Self { fields, path }),
            None => Err(malformed(&path, "an object")),
        }
    }

    /// A dead letter about one of its fields.
    pub(super) fn malformed(&self, name: &str, expected: &str) -> Fault {
        malformed(&format!("{}.{name}", self.path), expected)
    }

    /// The field, unless it is missing or null.
    fn field(&self, name: &str) -> Option<&'v Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    /// Whether the field is there and explicitly null.
    pub(super) fn is_null(&self, name: &str) -> bool {
        self.fields.get(name).is_some_and(Value::is_null)
    }

    pub(super) fn optional_text(&self, name: &str) -> Option<&'v str> {
        self.field(name)?.as_str()
    }

    pub(super) fn text(&self, name: &str) -> Result<&'v str, Fault> {
        let text = self.optional_text(name).filter(|text| !text.is_empty());
        text.ok_or_else(|| self.malformed(name, "a text"))
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, Fault> {
        self.field(name).and_then(Value::as_bool).ok_or_else(|| self.malformed(name, "true or false"))
    }

    /// An amount that may have either sign.
    pub(super) fn signed(&self, name: &str) -> Result<Amount, Fault> {
        let units = self.field(name).and_then(Value::as_i64);
        let units = units.ok_or_else(|| self.malformed(name, "a whole number of smallest units"))?;
        Ok(Amount::new(i128::from(units))?)
    }

    /// An amount that is never negative.
    pub(super) fn amount(&self, name: &str) -> Result<Amount, Fault> {
        let amount = self.signed(name)?;
        if amount < Amount::ZERO { Err(self.malformed(name, "zero or more")) } else { Ok(amount) }
    }

    /// As [`Object::amount`], for a field that older API versions do not send.
    pub(super) fn optional_amount(&self, name: &str) -> Result<Option<Amount>, Fault> {
        self.field(name).map(|_| self.amount(name)).transpose()
    }

    /// A time in Unix seconds, for a field that is not always there.
    pub(super) fn optional_time(&self, name: &str) -> Result<Option<Timestamp>, Fault> {
        let Some(value) = self.field(name) else { return Ok(None) };
        let time = value.as_u64().and_then(Timestamp::from_seconds);
        time.map(Some).ok_or_else(|| self.malformed(name, "a time in Unix seconds"))
    }

    /// The asset that its `currency` is.
    pub(super) fn asset(&self) -> Result<AssetId, Fault> {
        let code = self.text("currency")?;
        let known = currency_scale(code).and_then(|_| code.parse().ok());
        known.ok_or_else(|| self.malformed("currency", "a currency's code in three small letters"))
    }

    /// The id of another object: given as such, or expanded.
    pub(super) fn reference(&self, name: &str) -> Option<&'v str> {
        let value = self.field(name)?;
        value.as_str().or_else(|| value.get("id")?.as_str())
    }

    /// Another object, where it was expanded.
    pub(super) fn expanded(&self, name: &str) -> Result<Option<Self>, Fault> {
        let value = self.field(name).filter(|value| value.is_object());
        value.map(|value| Self::new(value, format!("{}.{name}", self.path))).transpose()
    }

    /// The expanded objects of a list: a plain array, or Stripe's list object with its `data`.
    pub(super) fn list(&self, name: &str) -> Result<Vec<Self>, Fault> {
        let value = self.field(name).map(|value| value.get("data").unwrap_or(value));
        let Some(items) = value.and_then(Value::as_array) else { return Ok(Vec::new()) };
        let items = items.iter().enumerate().filter(|(_, item)| item.is_object());
        items.map(|(index, item)| Self::new(item, format!("{}.{name}[{index}]", self.path))).collect()
    }
}

fn malformed(path: &str, expected: &str) -> Fault {
    Fault::dead_letter("malformed_event", format!("`{path}` must be {expected}"))
}
