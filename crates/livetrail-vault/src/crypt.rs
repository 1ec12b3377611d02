//! Seals bytes: with ChaCha20-Poly1305 under keys that seal once, with XChaCha20-Poly1305 under
//! others.

use chacha20poly1305::{
    ChaCha20Poly1305, KeyInit as _, Nonce, XChaCha20Poly1305, XNonce, aead::AeadInOut as _,
};
use zeroize::Zeroizing;

use crate::error::VaultError;

/// The bytes that sealing adds under a key that seals once.
pub(crate) const TAG_BYTES: usize = 16;

/// The bytes that sealing adds under a key that seals often: a nonce and a tag.
pub(crate) const SEALED_EXTRA_BYTES: usize = 40;

const NONCE_BYTES: usize = 24;

/// Fills the array with random bytes from the system.
pub(crate) fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, VaultError> {
    let mut bytes = Zeroizing::new([0; N]);
    fill(bytes.as_mut())?;
    Ok(bytes)
}

pub(crate) fn fill(bytes: &mut [u8]) -> Result<(), VaultError> {
    getrandom::fill(bytes).map_err(|_| VaultError::Randomness)
}

/// Seals `plain` in place and appends the tag. The key must never seal anything else.
pub(crate) fn seal_once(
    key: &[u8; 32],
    about: &[u8],
    plain: &mut Vec<u8>,
) -> Result<(), VaultError> {
    ChaCha20Poly1305::new(&(*key).into())
        .encrypt_in_place(&Nonce::default(), about, plain)
        .map_err(|_| VaultError::Unsealable)
}

/// Opens what [`seal_once`] sealed.
pub(crate) fn open_once(
    key: &[u8; 32],
    about: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let mut bytes = Zeroizing::new(sealed.to_vec());
    ChaCha20Poly1305::new(&(*key).into())
        .decrypt_in_place(&Nonce::default(), about, &mut *bytes)
        .map_err(|_| VaultError::Unsealable)?;
    Ok(bytes)
}

/// Seals under a key that seals often. The nonce must not repeat under this key; it goes first.
pub(crate) fn seal(
    key: &[u8; 32],
    nonce: &[u8; NONCE_BYTES],
    about: &[u8],
    plain: &[u8],
) -> Result<Vec<u8>, VaultError> {
    let mut bytes = Vec::with_capacity(plain.len().saturating_add(SEALED_EXTRA_BYTES));
    bytes.extend_from_slice(plain);
    XChaCha20Poly1305::new(&(*key).into())
        .encrypt_in_place(&XNonce::from(*nonce), about, &mut bytes)
        .map_err(|_| VaultError::Unsealable)?;
    bytes.splice(0..0, nonce.iter().copied());
    Ok(bytes)
}

/// Opens what [`seal`] sealed.
pub(crate) fn open(
    key: &[u8; 32],
    about: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let (nonce, rest) = sealed
        .split_first_chunk::<NONCE_BYTES>()
        .ok_or(VaultError::Unsealable)?;
    let mut bytes = Zeroizing::new(rest.to_vec());
    XChaCha20Poly1305::new(&(*key).into())
        .decrypt_in_place(&XNonce::from(*nonce), about, &mut *bytes)
        .map_err(|_| VaultError::Unsealable)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_under_the_same_key_in_the_same_place_only() {
        let mut once = b"alice".to_vec();
        seal_once(&[1; 32], b"row 7", &mut once).unwrap();
        assert_eq!(once.len(), 5 + TAG_BYTES);
        assert_eq!(**open_once(&[1; 32], b"row 7", &once).unwrap(), *b"alice");
        assert!(open_once(&[2; 32], b"row 7", &once).is_err());
        assert!(open_once(&[1; 32], b"row 8", &once).is_err());

        let often = seal(&[1; 32], &[9; 24], b"x", b"alice").unwrap();
        assert_eq!(often.len(), 5 + SEALED_EXTRA_BYTES);
        assert_eq!(**open(&[1; 32], b"x", &often).unwrap(), *b"alice");
        for at in 0..often.len() {
            let mut other = often.clone();
            other[at] ^= 1;
            assert!(open(&[1; 32], b"x", &other).is_err());
            assert!(open(&[1; 32], b"x", &often[..at]).is_err());
        }
    }

    #[test]
    fn the_cipher_is_that_of_rfc_8439() {
        // If these bytes changed, rows would no longer open after an upgrade. The value is from
        // another implementation.
        let mut bytes = Vec::new();
        seal_once(&[0; 32], b"", &mut bytes).unwrap();
        let shown: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(shown, "4eb972c9a8fb3a1b382bb4d36f5ffad1");
    }
}
