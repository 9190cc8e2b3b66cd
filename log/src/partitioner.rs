//! Which partition a key belongs to. The answer for a key and a number of partitions must never change: a merchant's
//! records would end up in two books. The vectors in the tests hold it.

use sha2::{Digest, Sha256};
use streambook_model::position::Partition;

/// The partition of a key among `partitions`: the first 8 bytes of the key's SHA-256, big-endian, modulo the number of
/// partitions. Anyone can compute it in any language. 0 partitions count as 1.
pub fn partition_of(key: &[u8], partitions: u16) -> Partition {
    let digest = Sha256::digest(key);
    let hash = digest.iter().take(8).fold(0_u64, |hash, byte| (hash << 8) | u64::from(*byte));
    let number = hash % u64::from(partitions.max(1));
    // The remainder is below a `u16`, so the conversion cannot fail.
    Partition(u16::try_from(number).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_never_change() {
        // python3 -c "import hashlib; print(int.from_bytes(hashlib.sha256(KEY).digest()[:8], 'big') % N)"
        for (key, partitions, expected) in VECTORS {
            assert_eq!(
                partition_of(key.as_bytes(), partitions),
                Partition(expected),
                "{key} of {partitions}"
            );
        }
    }

    #[test]
    fn keys_spread_over_all_partitions() {
        let mut counts = [0_u32; 16];
        for number in 0..16_000 {
            let Partition(partition) = partition_of(format!("mer_{number}").as_bytes(), 16);
            counts[usize::from(partition)] += 1;
        }
        assert!(counts.iter().all(|count| (800..1_200).contains(count)), "{counts:?}");
    }

    const VECTORS: [(&str, u16, u16); 6] = [
        ("", 16, 4),
        ("mer_1", 16, 12),
        ("mer_2", 16, 15),
        ("0xabc", 7, 3),
        ("chain:1", 1, 0),
        ("ORDER_1", 65535, 34484),
    ];
}
