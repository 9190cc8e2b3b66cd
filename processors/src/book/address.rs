//! Deposit addresses: one for each payment, derived below the operator's extended public key (BIP-32, not hardened) along
//! `{partition}/{counter}`. The private keys are never here.
//!
//! The counter only ever grows, also when the extended public key changes, so no address is given out twice. The
//! partition's own key is kept in the state, so a payment costs one derivation.

use std::sync::LazyLock;

use alloy_primitives::keccak256;
use bip32::{
    ChildNumber, ExtendedKey, ExtendedKeyAttrs, ExtendedPublicKey, PrivateKeyBytes, PublicKey, PublicKeyBytes,
};
use secp256k1::{Scalar, Secp256k1, VerifyOnly};
use serde::{Deserialize, Serialize};
use streambook_model::{bytes::Address, position::Partition};
use streambook_runtime::processor::{Context, Fault};

use super::tables::ADDRESSES;

/// How many counters in a row may be skipped because they have no key (one does with a probability below 2^-127).
const SKIPS_MAX: u32 = 4;

/// The partition's key and counter.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Addresses {
    key: Option<PartitionKey>,
    next: u32,
}

/// The extended public key at `{partition}`, as BIP-32 serializes its parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct PartitionKey {
    /// SEC1 compressed, 33 bytes.
    public: Vec<u8>,
    chain_code: [u8; 32],
}

/// A new deposit address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Deposit {
    pub(super) address: Address,
    /// Its path below the operator's key.
    pub(super) path: String,
}

/// Puts an extended public key in force, or none.
///
/// # Errors
/// A dead letter where it is not one.
pub(super) fn install(context: &mut Context<'_>, xpub: Option<&str>) -> Result<(), Fault> {
    let key = xpub.map(|xpub| partition_key(xpub, context.partition())).transpose()?;
    let next = ADDRESSES.get(&context.state, ())?.map_or(0, |before| before.next);
    Ok(ADDRESSES.put(&mut context.state, (), &Addresses { key, next })?)
}

/// Whether an extended public key can be used; the reason where it cannot. For those who read a configuration.
///
/// # Errors
/// Why it cannot.
pub fn check_xpub(xpub: &str) -> Result<(), Fault> {
    partition_key(xpub, Partition(0)).map(|_| ())
}

/// The next deposit address; `None` where no extended public key is in force, or its counters are used up.
pub(super) fn next(context: &mut Context<'_>) -> Result<Option<Deposit>, Fault> {
    let Some(mut addresses) = ADDRESSES.get(&context.state, ())? else { return Ok(None) };
    let Some(key) = addresses.key.clone() else { return Ok(None) };
    let key = key
        .open()
        .map_err(|error| Fault::Stop(format!("the partition's key in the state is broken: {error}")))?;
    for counter in (addresses.next..).take(SKIPS_MAX as usize) {
        let Some(address) = child(&key, counter).as_ref().and_then(address_of) else { continue };
        addresses.next = counter.saturating_add(1);
        ADDRESSES.put(&mut context.state, (), &addresses)?;
        let path = format!("{}/{counter}", context.partition());
        return Ok(Some(Deposit { address, path }));
    }
    Ok(None)
}

fn partition_key(xpub: &str, partition: Partition) -> Result<PartitionKey, Fault> {
    let invalid = |reason: String| Fault::dead_letter("invalid_xpub", format!("[wallet] xpub: {reason}"));
    let extended: ExtendedKey = xpub.parse().map_err(|error: bip32::Error| invalid(error.to_string()))?;
    if !extended.prefix.is_public() {
        return Err(invalid("it is a private key; give the public one".into()));
    }
    let root = Extended::try_from(extended).map_err(|error| invalid(error.to_string()))?;
    let key = child(&root, u32::from(partition.0))
        .ok_or_else(|| invalid("it has no child for a partition".into()))?;
    Ok(PartitionKey { public: key.to_bytes().to_vec(), chain_code: key.attrs().chain_code })
}

/// An extended public key of the faster kind of point.
type Extended = ExtendedPublicKey<Point>;

/// What libsecp256k1 asks for. It holds nothing: the tables are part of the program.
static CURVE: LazyLock<Secp256k1<VerifyOnly>> = LazyLock::new(Secp256k1::verification_only);

/// A public key of libsecp256k1, which adds a tweak in a third of the time that Rust's own takes: it was a twentieth of all
/// that a payment costs. Everything else of BIP-32 is the library's.
struct Point(secp256k1::PublicKey);

impl PublicKey for Point {
    fn from_bytes(bytes: PublicKeyBytes) -> Result<Self, bip32::Error> {
        secp256k1::PublicKey::from_slice(&bytes).map(Self).map_err(|_| bip32::Error::Crypto)
    }

    fn to_bytes(&self) -> PublicKeyBytes {
        self.0.serialize()
    }

    /// `point(tweak) + parent` (BIP-32, "Public parent key → public child key").
    fn derive_child(&self, tweak: PrivateKeyBytes) -> Result<Self, bip32::Error> {
        let tweak = Scalar::from_be_bytes(tweak).map_err(|_| bip32::Error::Crypto)?;
        self.0.add_exp_tweak(&CURVE, &tweak).map(Self).map_err(|_| bip32::Error::Crypto)
    }
}

fn child(key: &Extended, number: u32) -> Option<Extended> {
    key.derive_child(ChildNumber::new(number, false).ok()?).ok()
}

/// The last 20 bytes of the Keccak-256 of the uncompressed public key (Ethereum yellow paper, section 4).
fn address_of(key: &Extended) -> Option<Address> {
    let point = key.public_key().0.serialize_uncompressed();
    let digest = keccak256(point.get(1..)?);
    digest.as_slice().last_chunk().map(|bytes| Address::new(*bytes))
}

impl PartitionKey {
    fn open(&self) -> Result<Extended, bip32::Error> {
        let bytes = self.public.as_slice().try_into().map_err(|_| bip32::Error::Decode)?;
        // Depth and fingerprint are for people; a derivation does not use them.
        let attrs = ExtendedKeyAttrs {
            depth: 0,
            parent_fingerprint: [0; 4],
            child_number: ChildNumber(0),
            chain_code: self.chain_code,
        };
        Ok(Extended::new(Point::from_bytes(bytes)?, attrs))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The account key m/44'/60'/0' of the public test mnemonic "test test test test test test test test test test test
    /// junk", whose addresses every Ethereum development chain prints.
    pub(in crate::book) const TEST_XPUB: &str = "xpub6Ce9NcJvTk36xtLSrJLZqE7wtgA5deCeYs7rSQtreh4cj6ByPtrg9sD7V2FNFLPnf8heNP3FGkeV9qwfzvZNSd54JoNXVsXFYSYwHsnJxqP";

    fn check(partition: u16, counter: u32, expect: &str) {
        let key = partition_key(TEST_XPUB, Partition(partition)).unwrap().open().unwrap();
        let address = address_of(&child(&key, counter).unwrap()).unwrap();
        assert_eq!(address.to_checksum(), expect, "{partition}/{counter}");
    }

    #[test]
    fn addresses_are_those_of_the_well_known_test_mnemonic() {
        check(0, 0, "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
        check(0, 1, "0x70997970C51812dc3A010C7d01b50e0d17dc79C8");
        check(0, 2, "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC");
        // These two were computed with the Python package bip_utils.
        check(7, 3, "0xD40390f7F2eca04CC6625677721b06bc75465158");
        check(15, 123_456, "0xeC36a2e3c253b7c8BFdcEF4743200c2596d1db12");
    }

    #[test]
    fn what_is_not_an_extended_public_key_is_refused() {
        for bad in ["", "xpub", "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"] {
            assert!(partition_key(bad, Partition(0)).is_err(), "{bad}");
        }
        // The private master key of BIP-32's first test vector.
        let private = "xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvvNKmPGJxWUtg6LnF5kejMRNNU3TGtRBeJgk33yuGBxrMPHi";
        let error = partition_key(private, Partition(0)).unwrap_err().to_string();
        assert!(error.contains("private key"), "{error}");
    }
}
