//! Parameters of a method: by position for the Ethereum methods, one object for the development methods.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::RpcError;

/// Parameters by position. Surplus ones are refused, as a node does: they are a caller's mistake.
pub(crate) struct Positional {
    values: Vec<Value>,
}

impl Positional {
    /// Takes at most `most` values.
    pub(crate) fn of(params: Option<Value>, most: usize) -> Result<Self, RpcError> {
        let values = match params {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(values)) => values,
            Some(_) => return Err(RpcError::invalid_params("params must be an array")),
        };
        if values.len() > most {
            return Err(RpcError::invalid_params(format!("too many params: at most {most} are allowed")));
        }
        Ok(Self { values })
    }

    /// The value at `index`, which must be there.
    pub(crate) fn required<T: DeserializeOwned>(&mut self, index: usize, name: &str) -> Result<T, RpcError> {
        let missing = || RpcError::invalid_params(format!("params[{index}] ({name}) is missing"));
        self.optional(index, name)?.ok_or_else(missing)
    }

    /// The value at `index`, or `None` where it is absent or null.
    pub(crate) fn optional<T: DeserializeOwned>(
        &mut self,
        index: usize,
        name: &str,
    ) -> Result<Option<T>, RpcError> {
        let value = self.values.get_mut(index).map_or(Value::Null, Value::take);
        serde_json::from_value(value)
            .map_err(|cause| RpcError::invalid_params(format!("params[{index}] ({name}): {cause}")))
    }
}

/// The one object of a development method, given alone or as the only element of an array; absent, an
/// empty object.
pub(crate) fn object<T: DeserializeOwned>(params: Option<Value>) -> Result<T, RpcError> {
    let value = match params {
        None | Some(Value::Null) => Value::Object(Default::default()),
        Some(value @ Value::Object(_)) => value,
        Some(array @ Value::Array(_)) => Positional::of(Some(array), 1)?
            .optional::<Value>(0, "object")?
            .unwrap_or_else(|| Value::Object(Default::default())),
        Some(_) => return Err(RpcError::invalid_params("params must be an object")),
    };
    serde_json::from_value(value).map_err(|cause| RpcError::invalid_params(format!("params: {cause}")))
}
