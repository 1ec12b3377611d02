//! Messages between processes that have the vault's key.

use zeroize::Zeroizing;

use crate::{crypt, error::VaultError, vault::Vault};

/// What a message is sealed for.
const MESSAGE: &[u8] = b"livetrail vault message 1";

impl Vault {
    /// Seals a message from one process that has the vault's key to another one. It may contain
    /// names, so it must not be on the disk in clear.
    ///
    /// # Errors
    /// [`VaultError::Randomness`].
    pub fn seal_message(&self, plain: &[u8]) -> Result<Vec<u8>, VaultError> {
        let nonce = crypt::random::<24>()?;
        crypt::seal(&self.state_key, &nonce, MESSAGE, plain)
    }

    /// Opens what [`seal_message`](Self::seal_message) sealed.
    ///
    /// # Errors
    /// [`VaultError::Unsealable`] if this vault did not seal it.
    pub fn open_message(&self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        crypt::open(&self.state_key, MESSAGE, sealed)
    }
}
