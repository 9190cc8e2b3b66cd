//! Opaque cursors: the key of the last row seen, bound to the list it came from. The keys are of columns that never change,
//! so a cursor keeps its place while rows are added.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Serialize, de::DeserializeOwned};

use crate::problem::Problem;

/// Longer text is no cursor of ours.
const MAX_CHARS: usize = 512;

/// The cursor for the row with this key in this list.
pub(crate) fn write<K: Serialize>(list: &'static str, key: &K) -> String {
    // Keys are numbers and ids: there is nothing in them that JSON cannot state.
    let json = serde_json::to_vec(&(list, key)).unwrap_or_default();
    URL_SAFE_NO_PAD.encode(json)
}

/// The key in a cursor of this list.
pub(crate) fn read<K: DeserializeOwned>(list: &'static str, text: &str) -> Result<K, Problem> {
    let json = (text.len() <= MAX_CHARS).then(|| URL_SAFE_NO_PAD.decode(text).ok()).flatten();
    let read = json.and_then(|json| serde_json::from_slice::<(String, K)>(&json).ok());
    let key = read.filter(|(of, _)| of == list).map(|(_, key)| key);
    key.ok_or_else(|| {
        Problem::field("cursor", "not a cursor of this list: use `next_cursor` of an answer as it is")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_belongs_to_its_list() {
        let cursor = write("payments", &7_u64);
        assert_eq!(read::<u64>("payments", &cursor).unwrap(), 7);
        for (list, text) in
            [("refunds", cursor.as_str()), ("payments", "?"), ("payments", ""), ("payments", "AAAA")]
        {
            assert!(read::<u64>(list, text).is_err(), "{list} {text}");
        }
    }
}
