//! What a lie makes of an honest answer. Where the answer has nothing to lie about it stays as it is.

use serde_json::{Value, json};

use crate::lie::Lie;

/// Twists a result in place. `other` is the answer about another block, where there is one.
pub(crate) fn twist(lie: Lie, result: &mut Value, other: Option<&Value>) {
    match lie {
        Lie::DropLogs => drop_logs(result),
        Lie::EmptyReceipts => *result = json!([]),
        Lie::NullReceipts | Lie::NullBlock => *result = Value::Null,
        Lie::SwapReceipts => swap(result),
        Lie::ChangeAmount => change_amount(result),
        Lie::ChangeHeader => change(result, "timestamp", json!("0x1")),
        Lie::OtherReceipts | Lie::MixForks | Lie::StaleHead | Lie::HurryFinality => {
            if let Some(other) = other {
                other.clone_into(result);
            }
        }
        Lie::CutConnection
        | Lie::TooManyRequests
        | Lie::RateError
        | Lie::TooLarge
        | Lie::BadGateway
        | Lie::Garbage
        | Lie::Slow => {}
    }
}

fn change(object: &mut Value, field: &str, value: Value) {
    if let Some(slot) = object.get_mut(field) {
        *slot = value;
    }
}

/// The receipts that have events.
fn with_logs(receipts: &mut Value) -> impl Iterator<Item = &mut Value> {
    let receipts = receipts.as_array_mut().into_iter().flatten();
    receipts.filter(|receipt| receipt["logs"].as_array().is_some_and(|logs| !logs.is_empty()))
}

fn drop_logs(receipts: &mut Value) {
    if let Some(receipt) = with_logs(receipts).next() {
        change(receipt, "logs", json!([]));
    }
}

fn swap(receipts: &mut Value) {
    if let Some([first, second, ..]) = receipts.as_array_mut().map(Vec::as_mut_slice) {
        std::mem::swap(first, second);
    }
}

fn change_amount(receipts: &mut Value) {
    let changed = format!("0x{:064x}", 999_999_999);
    let log = with_logs(receipts).next().and_then(|receipt| receipt["logs"].get_mut(0));
    if let Some(log) = log {
        change(log, "data", json!(changed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lie_changes_what_it_says_it_changes() {
        let log = json!({ "data": "0x01" });
        let honest = json!([{ "logs": [] }, { "logs": [log] }]);
        let told = |lie| {
            let mut answer = honest.clone();
            twist(lie, &mut answer, Some(&json!("other")));
            answer
        };
        assert_eq!(told(Lie::DropLogs), json!([{ "logs": [] }, { "logs": [] }]));
        assert_eq!(told(Lie::EmptyReceipts), json!([]));
        assert_eq!(told(Lie::NullReceipts), Value::Null);
        assert_eq!(told(Lie::SwapReceipts), json!([{ "logs": [log] }, { "logs": [] }]));
        assert_eq!(told(Lie::OtherReceipts), json!("other"));
        assert_ne!(told(Lie::ChangeAmount), honest);
        assert_eq!(told(Lie::Slow), honest);
        let mut block = json!({ "timestamp": "0x9", "hash": "0xaa" });
        twist(Lie::ChangeHeader, &mut block, None);
        assert_eq!(block, json!({ "timestamp": "0x1", "hash": "0xaa" }));
    }
}
