//! Seals what must be kept and not be read: the webhook endpoints' signing secrets.
//!
//! XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03) under the operator's key. The owner's id is bound in as associated data,
//! so a sealed secret moved to another owner does not open. The nonce is the caller's to draw at random; its 24 bytes make
//! a repeat as good as impossible.

use std::{fmt, fs, io, path::Path};

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use streambook_model::records::registry::SealedSecret;

/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 24;

/// A secret could not be sealed or opened, or the key not be read. No message holds a part of a secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file with the key cannot be read.
    #[error("cannot read the secret key from {path}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file does not hold a key.
    #[error(
        "{path} does not hold a secret key: write 64 hex digits into it, for example with `openssl rand -hex 32`"
    )]
    Malformed {
        /// The file.
        path: String,
    },
    /// The text is too long for the cipher.
    #[error("the secret is too long to be sealed")]
    Seal,
    /// It was sealed with another key or for another owner, or it was changed.
    #[error(
        "the sealed secret does not open: it was sealed with another key, for another owner, or it was changed"
    )]
    Open,
}

/// The operator's key. Its bytes are never printed.
#[derive(Clone)]
pub struct SecretKey(XChaCha20Poly1305);

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(…)")
    }
}

impl SecretKey {
    /// The key with these bytes.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(XChaCha20Poly1305::new(bytes.into()))
    }

    /// Reads a key from a file of 64 hex digits; white space around them is ignored.
    pub fn from_file(path: &Path) -> Result<Self, SecretError> {
        let name = || path.display().to_string();
        let text = fs::read_to_string(path).map_err(|source| SecretError::Read { path: name(), source })?;
        let mut bytes = [0; 32];
        let decoded = hex::decode_to_slice(text.trim(), &mut bytes);
        decoded.map_err(|_| SecretError::Malformed { path: name() })?;
        Ok(Self::from_bytes(&bytes))
    }

    /// Seals a secret for an owner. A nonce is used once.
    pub fn seal(
        &self,
        nonce: [u8; NONCE_BYTES],
        owner: &[u8],
        plain: &[u8],
    ) -> Result<SealedSecret, SecretError> {
        let sealed = self.0.encrypt(&XNonce::from(nonce), Payload { msg: plain, aad: owner });
        let ciphertext = sealed.map_err(|_| SecretError::Seal)?;
        Ok(SealedSecret { nonce: nonce.to_vec(), ciphertext })
    }

    /// Opens what was sealed for this owner.
    pub fn open(&self, sealed: &SealedSecret, owner: &[u8]) -> Result<Vec<u8>, SecretError> {
        let nonce: [u8; NONCE_BYTES] = sealed.nonce.as_slice().try_into().map_err(|_| SecretError::Open)?;
        let payload = Payload { msg: &sealed.ciphertext, aad: owner };
        self.0.decrypt(&XNonce::from(nonce), payload).map_err(|_| SecretError::Open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> SecretKey {
        SecretKey::from_bytes(&[byte; 32])
    }

    #[test]
    fn a_sealed_secret_opens_with_its_key_for_its_owner_and_unchanged_only() {
        let sealed = key(1).seal([7; NONCE_BYTES], b"we_1", b"whsec_x").unwrap();
        assert_eq!(key(1).open(&sealed, b"we_1").unwrap(), b"whsec_x");
        assert!(!sealed.ciphertext.windows(7).any(|part| part == b"whsec_x"));
        assert!(key(2).open(&sealed, b"we_1").is_err(), "another key");
        assert!(key(1).open(&sealed, b"we_2").is_err(), "another owner");
        let mut changed = sealed.clone();
        changed.ciphertext[0] ^= 1;
        assert!(key(1).open(&changed, b"we_1").is_err(), "changed");
        assert!(
            key(1).open(&SealedSecret { nonce: vec![7; 3], ..sealed }, b"we_1").is_err(),
            "a short nonce"
        );
    }

    #[test]
    fn a_key_file_holds_64_hex_digits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert!(matches!(SecretKey::from_file(&path), Err(SecretError::Read { .. })));
        fs::write(&path, format!("{}\n", "01".repeat(32))).unwrap();
        let sealed = key(1).seal([7; NONCE_BYTES], b"we_1", b"s").unwrap();
        assert_eq!(SecretKey::from_file(&path).unwrap().open(&sealed, b"we_1").unwrap(), b"s");
        fs::write(&path, "short").unwrap();
        assert!(SecretKey::from_file(&path).unwrap_err().to_string().contains("64 hex digits"));
    }
}
