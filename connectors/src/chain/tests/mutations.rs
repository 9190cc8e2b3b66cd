//! Every single field of an honest answer changed in turn: the answer is refused, or says the same as before.

use serde_json::{Value, json};

use super::blocks::{CHAIN, SimBlock, block};
use crate::chain::verify::verify_json;

/// The JSON pointers of all values inside `json` that are not containers.
fn leaves(json: &Value, at: &str, found: &mut Vec<String>) {
    match json {
        Value::Object(fields) => {
            fields.iter().for_each(|(key, value)| leaves(value, &format!("{at}/{key}"), found));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| leaves(item, &format!("{at}/{index}"), found));
        }
        _ => found.push(at.to_owned()),
    }
}

/// The same JSON with one value replaced, for each value and each replacement.
fn changed(json: &Value) -> Vec<(String, Value)> {
    let replacements = [
        json!(null),
        json!(""),
        json!("0x"),
        json!("0x0"),
        json!("0x1"),
        json!("0x7"),
        json!("0x7e"),
        json!("zz"),
        json!(5),
        json!(true),
        json!([]),
        json!({}),
        json!("0xffffffffffffffffffffffffffffffff"),
        json!(format!("0x{}", "ab".repeat(32))),
        json!(format!("0x{}", "cd".repeat(20))),
    ];
    let mut paths = Vec::new();
    leaves(json, "", &mut paths);
    let mut all = Vec::new();
    for path in paths {
        for replacement in &replacements {
            let mut copy = json.clone();
            *copy.pointer_mut(&path).unwrap() = replacement.clone();
            all.push((format!("{path} = {replacement}"), copy));
        }
    }
    all
}

#[test]
fn a_changed_answer_is_refused_or_says_the_same() {
    let parent = block(None, 1, &[]);
    let SimBlock { json, receipts, .. } = block(Some(&parent), 1, &[5, 0, 7]);
    let honest = verify_json(CHAIN, &json.to_string(), &receipts.to_string()).unwrap();
    assert_eq!(honest.transfers.len(), 3);
    let blocks = changed(&json).into_iter().map(|(change, json)| (change, json, receipts.clone()));
    let others = changed(&receipts).into_iter().map(|(change, receipts)| (change, json.clone(), receipts));
    let mut refused = 0;
    for (change, block, receipts) in blocks.chain(others) {
        match verify_json(CHAIN, &block.to_string(), &receipts.to_string()) {
            Ok(verified) => assert_eq!(verified, honest, "{change}"),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 1_000, "{refused} changes were refused");
}
