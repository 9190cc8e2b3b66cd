use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::{
    bytes::{Address, TxHash},
    chain::{BlockNumber, ChainId, ConfirmationPolicy},
    id::{MerchantId, PaymentId, RefundId},
    time::Timestamp,
};

fn amount(units: i128) -> Amount {
    Amount::new(units).unwrap()
}

fn check(units: i128, scale: u8, expect: &str) {
    assert_eq!(amount_text(amount(units), scale), expect);
    if units >= 0 {
        assert_eq!(Amount::parse_decimal(expect, scale), Ok(amount(units)), "it reads back");
    }
}

#[test]
fn an_amount_has_two_digits_after_the_point_and_more_where_they_say_something() {
    check(12_500_000, 6, "12.50");
    check(12_000_000, 6, "12.00");
    check(12_345_000, 6, "12.345");
    check(1, 6, "0.000001");
    check(0, 6, "0.00");
    check(-62_500, 6, "-0.0625");
    check(1_250, 2, "12.50");
    check(75, 1, "7.5");
    check(70, 1, "7.0");
    check(7, 0, "7");
    check(1_000_000_000_000_000_000, 18, "1.00");
}

fn payment() -> Payment {
    Payment {
        id: PaymentId::from_bits([1; 16]),
        merchant: MerchantId::from_bits([2; 16]),
        livemode: false,
        version: 3,
        status: PaymentStatus::Confirming,
        method: PaymentMethod::Chain,
        asset: "usdc:31337".parse().unwrap(),
        scale: 6,
        amount: amount(12_500_000),
        amount_received: amount(12_500_000),
        amount_confirmed: Amount::ZERO,
        amount_refunded: Amount::ZERO,
        fee: Amount::ZERO,
        chain: Some(ChainId(31337)),
        token: Some(Address::new([0xaa; 20])),
        deposit_address: Some("0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed".parse().unwrap()),
        derivation_path: Some("0/0".into()),
        policy: Some(ConfirmationPolicy { depth: Some(3) }),
        confirmations: 1,
        reference_id: Some("ORDER_1".into()),
        description: None,
        metadata: Metadata(BTreeMap::from([("a".into(), "b".into())])),
        transfers: vec![PaymentTransfer {
            tx_hash: TxHash::new([3; 32]),
            block_number: BlockNumber(9),
            log_index: 2,
            amount: amount(12_500_000),
            status: PaymentTransferStatus::Seen,
        }],
        failure: None,
        created_at: Timestamp::from_millis(1_700_000_000_000),
        expires_at: Timestamp::from_millis(1_700_001_800_000),
        completed_at: None,
        price: None,
        tolerance: None,
        matching: None,
        reserved_until: None,
        payer: None,
        claims: Vec::new(),
    }
}

#[test]
fn a_payment_is_shown_as_the_api_documents_it() {
    let expect = json!({
        "id": format!("pay_{}", "01".repeat(16)),
        "object": "payment",
        "merchant": format!("mer_{}", "02".repeat(16)),
        "livemode": false,
        "status": "confirming",
        "method": "chain",
        "amount": "12.50",
        "price": "12.50",
        "tolerance": "0.00",
        "asset": "usdc:31337",
        "amount_received": "12.50",
        "amount_refunded": "0.00",
        "fee": "0.00",
        "matching": "deposit_address",
        "deposit_address": "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "payment_uri": "ethereum:0xaAaAaAaaAaAaAaaAaAAAAAAAAaaaAaAaAaaAaaAa@31337/transfer\
            ?address=0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed&uint256=12500000",
        "confirmed_by": "confirmations",
        "confirmations": 1,
        "confirmations_required": 3,
        "transactions": [{
            "tx_hash": format!("0x{}", "03".repeat(32)),
            "block_number": 9,
            "log_index": 2,
            "amount": "12.50",
            "status": "seen",
        }],
        "payer_address": null,
        "claims": [],
        "reference_id": "ORDER_1",
        "description": null,
        "metadata": {"a": "b"},
        "failure": null,
        "created_at": "2023-11-14T22:13:20Z",
        "expires_at": "2023-11-14T22:43:20Z",
        "reserved_until": null,
        "completed_at": null,
    });
    assert_eq!(payment_json(&payment()), expect);
}

#[test]
fn a_card_payment_has_no_address_to_pay_to() {
    let card = Payment { chain: None, token: None, deposit_address: None, policy: None, ..payment() };
    let json = payment_json(&card);
    for field in ["payment_uri", "deposit_address", "matching", "confirmed_by", "confirmations_required"] {
        assert_eq!(json[field], Value::Null, "{field}");
    }
}

#[test]
fn where_the_tag_decides_there_is_no_number_to_wait_for_and_it_is_said() {
    let by_tag = Payment { policy: Some(ConfirmationPolicy { depth: None }), ..payment() };
    let json = payment_json(&by_tag);
    assert_eq!(
        (&json["confirmed_by"], &json["confirmations_required"], &json["confirmations"]),
        (&json!("finalized"), &Value::Null, &json!(1))
    );
}

#[test]
fn an_exact_amount_is_shown_apart_from_the_price() {
    let exact = Payment {
        amount: amount(12_500_003),
        price: Some(amount(12_500_000)),
        tolerance: Some(amount(10_000)),
        matching: Some(Matching::ExactAmount),
        reserved_until: Some(Timestamp::from_millis(1_700_088_200_000)),
        ..payment()
    };
    let json = payment_json(&exact);
    assert_eq!(
        [&json["amount"], &json["price"], &json["tolerance"], &json["matching"], &json["reserved_until"]],
        ["12.500003", "12.50", "0.01", "exact_amount", "2023-11-15T22:43:20Z"]
    );
    assert!(json["payment_uri"].as_str().unwrap().ends_with("&uint256=12500003"), "{json}");
}

/// The request of ERC-681, taken apart by its own grammar, not by the function that made it.
#[test]
fn a_payment_uri_says_chain_token_receiver_and_every_unit() {
    let check = |units: i128, scale: u8, chain: u64| {
        let of = Payment { amount: amount(units), scale, chain: Some(ChainId(chain)), ..payment() };
        let uri = payment_uri(&of).unwrap();
        let rest = uri.strip_prefix("ethereum:").unwrap();
        let (target, parameters) = rest.split_once('?').unwrap();
        let (target, function) = target.split_once('/').unwrap();
        let (token, id) = target.split_once('@').unwrap();
        assert_eq!(
            (token.parse(), id, function),
            (Ok(Address::new([0xaa; 20])), &*chain.to_string(), "transfer")
        );
        let parameters: Vec<_> = parameters.split('&').map(|pair| pair.split_once('=').unwrap()).collect();
        let units = units.to_string();
        assert_eq!(
            parameters,
            [("address", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"), ("uint256", &units)]
        );
    };
    check(12_500_000, 6, 1);
    check(1, 18, 56);
    check(10_i128.pow(38) - 1, 18, 42_161);
}

#[test]
fn a_refund_is_shown_with_its_amount_as_text() {
    let payment = payment();
    let refund = Refund {
        id: RefundId::from_bits([4; 16]),
        payment: payment.id,
        merchant: payment.merchant,
        livemode: false,
        asset: payment.asset.clone(),
        scale: 6,
        amount: amount(500_000),
        destination: Some("0xabc".into()),
        reference: None,
        reason: None,
        created_at: payment.created_at,
    };
    let json = refund_json(&refund);
    assert_eq!(
        (&json["amount"], &json["object"], &json["destination"]),
        (&json!("0.50"), &json!("refund"), &json!("0xabc"))
    );
}
