//! Random bytes for records. Each system call fetches many of them.

/// The number of nonces per system call.
const NONCES_AT_ONCE: usize = 256;

/// A supply of nonces.
#[derive(Debug)]
pub(crate) struct Nonces {
    buffer: Vec<[u8; 16]>,
}

impl Nonces {
    pub(crate) fn new() -> Self {
        Self {
            buffer: Vec::with_capacity(NONCES_AT_ONCE),
        }
    }

    /// A nonce that was never returned before. `None` if the operating system has no random bytes.
    pub(crate) fn next(&mut self) -> Option<[u8; 16]> {
        if self.buffer.is_empty() {
            let mut bytes = [0; 16 * NONCES_AT_ONCE];
            if let Err(error) = getrandom::fill(&mut bytes) {
                tracing::error!(%error, "no random bytes: records go without a nonce");
                return None;
            }
            let (nonces, _) = bytes.as_chunks::<16>();
            self.buffer.extend_from_slice(nonces);
        }
        self.buffer.pop()
    }
}
