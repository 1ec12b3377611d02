//! A reader of single bits and Exp-Golomb codes.

use crate::error::{Error, Result};

/// Reads bits from the front of a slice, most significant first.
#[derive(Debug)]
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// The next bit, counted from the first byte's most significant.
    at: usize,
    what: &'static str,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { bytes, at: 0, what }
    }

    pub(super) fn flag(&mut self) -> Result<bool> {
        let byte = self
            .bytes
            .get(self.at / 8)
            .ok_or(Error::Truncated { what: self.what })?;
        let bit = (byte >> 7_usize.saturating_sub(self.at % 8)) & 1;
        self.at = self.at.saturating_add(1);
        Ok(bit == 1)
    }

    /// `count` bits as a number; at most 32.
    pub(super) fn read(&mut self, count: u32) -> Result<u32> {
        let mut value = 0;
        for _ in 0..count {
            value = (value << 1) | u32::from(self.flag()?);
        }
        Ok(value)
    }

    /// Skips `count` bits.
    pub(super) fn skip(&mut self, count: u32) -> Result<()> {
        for _ in 0..count {
            self.flag()?;
        }
        Ok(())
    }

    /// `ue(v)`, H.264 section 9.1.
    pub(super) fn unsigned(&mut self) -> Result<u32> {
        let mut zeros = 0u32;
        while !self.flag()? {
            zeros = zeros.saturating_add(1);
            if zeros > 31 {
                return Err(Error::Config {
                    what: self.what,
                    detail: "an Exp-Golomb code of more than 32 bits",
                });
            }
        }
        let tail = self.read(zeros)?;
        Ok((1u32 << zeros).wrapping_sub(1).saturating_add(tail))
    }

    /// `se(v)`, H.264 section 9.1.1.
    pub(super) fn signed(&mut self) -> Result<i32> {
        let code = i64::from(self.unsigned()?);
        let half = code.saturating_add(1) / 2;
        let value = if code % 2 == 0 {
            half.saturating_neg()
        } else {
            half
        };
        Ok(i32::try_from(value).unwrap_or(i32::MAX))
    }
}
