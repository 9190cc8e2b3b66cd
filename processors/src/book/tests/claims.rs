//! Claiming a transaction for a payment that shares its merchant's address.

use streambook_model::{
    bytes::{Address, TxHash},
    id::PaymentId,
    records::{
        book::ClaimPayment,
        chain::{ClaimRefused, TransferStatus},
        payment::{ClaimStatus, Matching, PaymentMethod, PaymentStatus},
        registry::{FixedAddress, Merchant},
        reply::CommandOutcome,
    },
};

use super::shop::{CHAIN, Late, SHOP, START, Said, Shop, amount, merchant};

const OWN: Address = Address::new([0x5a; 20]);
const PAYER: Address = Address::new([0x77; 20]);

fn with_address() -> Shop {
    let mut shop = Shop::open();
    let addresses = vec![FixedAddress { chain: CHAIN, address: OWN }];
    shop.put_merchant(Merchant { addresses, ..merchant(SHOP) });
    shop
}

fn create(shop: &mut Shop, number: u8, payer: Option<Address>) -> Said {
    let mut creation = shop.creation(number, PaymentMethod::Chain, 1_000);
    (creation.matching, creation.payer) = (Some(Matching::ExactAmount), payer);
    shop.command(creation)
}

fn claim(shop: &mut Shop, number: u8, tag: u8) -> Said {
    let (meta, caller) = (shop.bench.meta(), shop.caller());
    let (payment, tx_hash) = (PaymentId::from_bits([number; 16]), TxHash::new([tag; 32]));
    shop.command(ClaimPayment { meta, caller, payment, tx_hash })
}

fn refuse(shop: &mut Shop, number: u8, tag: u8) -> Said {
    let (meta, payment) = (shop.bench.meta(), PaymentId::from_bits([number; 16]));
    let tx_hash = TxHash::new([tag; 32]);
    shop.fact(ClaimRefused {
        meta,
        chain: CHAIN,
        merchant: SHOP,
        payment,
        tx_hash,
        reason: "sent by another".into(),
    })
}

fn status(shop: &Shop) -> ClaimStatus {
    shop.last.as_ref().unwrap().claims[0].status
}

#[test]
fn a_claim_asks_the_chain_and_its_transfers_count() {
    let mut shop = with_address();
    create(&mut shop, 1, Some(PAYER));
    let said = claim(&mut shop, 1, 9);
    assert_eq!((said.reply().outcome, said.names()), (CommandOutcome::Accepted, vec!["pending"]));
    let asked = &said.claims[0];
    assert_eq!((asked.address, asked.payer, asked.tx_hash), (OWN, PAYER, TxHash::new([9; 32])));
    assert_eq!(said.reply().payment.as_ref().unwrap().payer, Some(PAYER));
    assert_eq!(status(&shop), ClaimStatus::Waiting);
    let seen = shop.report(1, TransferStatus::Seen, 9, 990, Late::No);
    shop.fact(seen);
    assert_eq!(status(&shop), ClaimStatus::Matched);
    let confirmed = shop.report(1, TransferStatus::Confirmed, 9, 990, Late::No);
    shop.fact(confirmed);
    shop.deadline(1);
    let payment = shop.last.clone().unwrap();
    assert_eq!((payment.status, payment.amount_confirmed), (PaymentStatus::Underpaid, amount(990)));
    let orphaned = shop.report(1, TransferStatus::Orphaned, 9, 990, Late::No);
    shop.fact(orphaned);
    assert_eq!(status(&shop), ClaimStatus::Waiting, "it may come again");
}

#[test]
fn a_refusal_is_shown_and_the_transaction_can_be_claimed_for_another_payment() {
    let mut shop = with_address();
    create(&mut shop, 1, Some(PAYER));
    create(&mut shop, 2, Some(PAYER));
    claim(&mut shop, 1, 9);
    assert_eq!(claim(&mut shop, 2, 9).problem(), "transaction_claimed");
    assert_eq!(refuse(&mut shop, 1, 9).names(), ["pending"]);
    let shown = shop.last.clone().unwrap().claims[0].clone();
    assert_eq!((shown.status, shown.reason.as_deref()), (ClaimStatus::Refused, Some("sent by another")));
    assert_eq!(claim(&mut shop, 2, 9).problem(), "none");
    assert_eq!(claim(&mut shop, 1, 9).problem(), "transaction_claimed");
    assert_eq!(refuse(&mut shop, 1, 8).dead, ["unknown_claim"]);
}

#[test]
fn a_refused_claim_may_be_made_again() {
    let mut shop = with_address();
    create(&mut shop, 1, Some(PAYER));
    claim(&mut shop, 1, 9);
    refuse(&mut shop, 1, 9);
    assert_eq!(claim(&mut shop, 1, 9).claims.len(), 1);
    assert_eq!((shop.last.clone().unwrap().claims.len(), status(&shop)), (1, ClaimStatus::Waiting));
}

#[test]
fn what_cannot_be_claimed_is_refused_and_says_why() {
    let mut shop = with_address();
    shop.create(1, PaymentMethod::Chain, 1_000);
    assert_eq!(claim(&mut shop, 1, 9).problem(), "payment_not_claimable");
    create(&mut shop, 2, None);
    assert_eq!(claim(&mut shop, 2, 9).problem(), "payer_address_missing");
    assert_eq!(claim(&mut shop, 7, 9).problem(), "not_found");
    create(&mut shop, 3, Some(PAYER));
    for tag in 10..20 {
        assert_eq!(claim(&mut shop, 3, tag).problem(), "none");
    }
    assert_eq!(claim(&mut shop, 3, 20).problem(), "too_many_claims");
    create(&mut shop, 4, Some(PAYER));
    shop.bench.at(START + 1_800_000 + 86_400_000);
    assert_eq!(claim(&mut shop, 4, 30).problem(), "none");
    shop.bench.at(START + 1_800_000 + 86_400_001);
    assert_eq!(claim(&mut shop, 4, 31).problem(), "claim_too_late");
    for method in [PaymentMethod::Chain, PaymentMethod::Card] {
        let mut creation = shop.creation(5, method, 1_000);
        creation.payer = Some(PAYER);
        assert_eq!(shop.command(creation).problem(), "payer_not_needed");
    }
}
