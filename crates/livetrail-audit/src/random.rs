//! Random bytes in blocks of 16. Each system call fetches many of them.

/// The number of blocks per system call.
const BLOCKS_AT_ONCE: usize = 256;

/// A supply of random blocks.
#[derive(Debug)]
pub(crate) struct RandomBlocks {
    buffer: Vec<[u8; 16]>,
}

impl RandomBlocks {
    pub(crate) fn new() -> Self {
        Self {
            buffer: Vec::with_capacity(BLOCKS_AT_ONCE),
        }
    }

    /// The next block, which was never returned by [`pop`](Self::pop).
    ///
    /// # Errors
    /// The operating system has no random bytes.
    pub(crate) fn peek(&mut self) -> Result<[u8; 16], getrandom::Error> {
        if let Some(block) = self.buffer.last() {
            return Ok(*block);
        }
        let mut bytes = [0; 16 * BLOCKS_AT_ONCE];
        getrandom::fill(&mut bytes)?;
        let (blocks, _) = bytes.as_chunks::<16>();
        self.buffer.extend_from_slice(blocks);
        Ok(blocks.last().copied().unwrap_or_default())
    }

    /// Takes the block that [`peek`](Self::peek) returned.
    pub(crate) fn pop(&mut self) {
        self.buffer.pop();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_block_is_returned_until_it_is_taken_and_never_again() {
        let mut blocks = RandomBlocks::new();
        let mut seen = HashSet::new();
        for _ in 0..3 * BLOCKS_AT_ONCE {
            let block = blocks.peek().unwrap();
            assert_eq!(blocks.peek().unwrap(), block);
            assert!(seen.insert(block), "a block came twice");
            blocks.pop();
        }
    }
}
