//! Nonces for records.

use crate::random::RandomBlocks;

/// A supply of nonces.
#[derive(Debug)]
pub(crate) struct Nonces(RandomBlocks);

impl Nonces {
    pub(crate) fn new() -> Self {
        Self(RandomBlocks::new())
    }

    /// A nonce that was never returned before. `None` if the operating system has no random bytes.
    pub(crate) fn next(&mut self) -> Option<[u8; 16]> {
        match self.0.peek() {
            Ok(nonce) => {
                self.0.pop();
                Some(nonce)
            }
            Err(error) => {
                tracing::error!(%error, "no random bytes: records go without a nonce");
                None
            }
        }
    }
}
