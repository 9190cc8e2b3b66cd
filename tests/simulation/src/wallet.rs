//! The operator's wallet: what address a path below its extended public key is. Computed here on its own, so that the
//! addresses the books give out are checked, and so that a payer can pay an address before the books have given it out.

use std::{collections::BTreeMap, sync::LazyLock};

use alloy_primitives::keccak256;
use bip32::{ChildNumber, XPub};
use parking_lot::Mutex;
use streambook_model::bytes::Address;

/// The account key m/44'/60'/0' of the public test mnemonic "test test test test test test test test test test test
/// junk", whose addresses every Ethereum development chain prints.
pub const XPUB: &str = "xpub6Ce9NcJvTk36xtLSrJLZqE7wtgA5deCeYs7rSQtreh4cj6ByPtrg9sD7V2FNFLPnf8heNP3FGkeV9qwfzvZNSd54JoNXVsXFYSYwHsnJxqP";

/// Addresses follow from the key alone, so all seeds share them.
static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);

/// By partition and counter.
type Known = BTreeMap<(u16, u32), Option<Address>>;

/// The address at `{partition}/{counter}`; `None` where BIP-32 gives none.
pub fn address(partition: u16, counter: u32) -> Option<Address> {
    *KNOWN.lock().entry((partition, counter)).or_insert_with(|| derive(partition, counter))
}

fn derive(partition: u16, counter: u32) -> Option<Address> {
    let root: XPub = XPUB.parse().ok()?;
    let below = root.derive_child(ChildNumber::new(u32::from(partition), false).ok()?).ok()?;
    let key = below.derive_child(ChildNumber::new(counter, false).ok()?).ok()?;
    let point = key.public_key().to_encoded_point(false);
    let digest = keccak256(point.as_bytes().get(1..)?);
    digest.as_slice().last_chunk().map(|bytes| Address::new(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_address_is_the_well_known_one() {
        let address = address(0, 0).unwrap();
        assert_eq!(address.to_checksum(), "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
    }
}
