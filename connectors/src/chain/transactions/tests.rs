//! A deposit of the OP stack as it stands on chain.

use serde_json::{Value, json};

use super::check;
use crate::chain::answer::BlockAnswer;
use crate::chain::refusal::Disagreement;
use crate::chain::tests::blocks::block;
use crate::chain::types::TransactionsProof;

/// The first transaction of Base's block 26,293,517.
fn deposit() -> Value {
    json!({
        "type": "0x7e", "hash": "0x096c03d72acb06339c9c7860d1c36b6451932ec0ff16fd34aa9e30a73a245e13",
        "sourceHash": "0x990d7122a1f121f3a6bc45723e28f4921c269037a77e77ffee3c8585136d1a92",
        "from": "0xdeaddeaddeaddeaddeaddeaddeaddeaddead0001",
        "to": "0x4200000000000000000000000000000000000015",
        "mint": "0x0", "value": "0x0", "gas": "0xf4240",
        "input": concat!(
            "0x440a5e20000008dd00101c1200000000000000030000000067acc63f00000000014d1f2d",
            "000000000000000000000000000000000000000000000000000000005ba4c0eb",
            "00000000000000000000000000000000000000000000000000000001ce2291bd",
            "cbb8f62c15343b39cfacdbf81c4747822ebb16c2518126e47d984422a82defc1",
            "0000000000000000000000005050f69a9786f081509234f1a7f4684b5e5b76c9",
        ),
    })
}

fn disagreements(transaction: &Value) -> (TransactionsProof, Vec<Disagreement>) {
    let mut answer = block(None, 1, &[]).json;
    answer["transactions"] = json!([transaction]);
    let answer = BlockAnswer::read(&serde_json::value::to_raw_value(&answer).unwrap()).unwrap();
    let mut found = Vec::new();
    let proof =
        check(&answer.transactions.iter().collect::<Vec<_>>(), answer.header.transactions_root, &mut found);
    (proof, found)
}

#[test]
fn a_deposit_hashes_to_its_hash() {
    // It stands in another block than its own here, so the root is the one thing that disagrees.
    let (_, found) = disagreements(&deposit());
    assert!(matches!(found.as_slice(), [Disagreement::TransactionsRoot { .. }]), "{found:?}");
}

#[test]
fn a_changed_deposit_does_not_and_one_without_source_cannot_be_read() {
    let mut changed = deposit();
    changed["value"] = json!("0x1");
    let (_, found) = disagreements(&changed);
    assert!(matches!(found.as_slice(), [Disagreement::TransactionHash { index: 0, .. }]), "{found:?}");
    changed.as_object_mut().unwrap().remove("sourceHash");
    let (_, found) = disagreements(&changed);
    assert!(
        matches!(found.as_slice(), [Disagreement::TransactionUnreadable { kind: 0x7e, .. }]),
        "{found:?}"
    );
}

#[test]
fn a_type_that_is_not_known_leaves_the_root_unproven() {
    let mut unknown = deposit();
    unknown["type"] = json!("0x6a");
    assert_eq!(disagreements(&unknown), (TransactionsProof::UnknownType(0x6a), vec![]));
}
